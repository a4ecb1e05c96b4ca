"""Questions about contexts → where the answer starts and ends.

A long context is read in windows that share `training.overlap` tokens, each with the whole question; a window that does
not hold all of an answer learns to point at place 0, as does a question without an answer.

Source   Devlin et al. 2018, arXiv:1810.04805, §4.2 and §4.3.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from regard.data.example_batches import EvaluationExamples
from regard.data.example_store import Encoded, ExampleStore, Row, Targets
from regard.data.examples import Question
from regard.data.questions import QuestionData, read_questions
from regard.evaluation.answers import exact_match, f1
from regard.heads import Head
from regard.model import Transformer
from regard.prediction.answer import Answerer
from regard.prediction.base import windows
from regard.settings import RegardError
from regard.text import Tokenizer
from regard.text.frame import Frame
from regard.training.config import RunConfig
from regard.training.tasks.base import Say
from regard.training.tasks.examples import ExampleTask


class AnswerTask(ExampleTask):
    heads: ClassVar[tuple[str, ...]] = ("answer",)
    recipes: ClassVar[str] = "answer"

    def _read(self, config: RunConfig, say: Say = lambda message: None) -> Iterator[tuple[int, Question]]:
        assert isinstance(config.data, QuestionData)
        return read_questions(config.data, say)

    def texts(self, config: RunConfig) -> Iterator[str]:
        before = None
        for part, question in self._read(config):
            if part == 0:
                yield question.question
                if question.context != before:
                    yield question.context
                before = question.context

    def facts(self, config: RunConfig, say: Say) -> dict[str, Any]:
        silent = sum(part == 0 and not question.answers for part, question in self._read(config, say))
        return {"no_answer": silent}

    def targets(self, config: RunConfig, facts: dict[str, Any]) -> Targets:
        return Targets("int64", 2)

    def head(self, config: RunConfig, facts: dict[str, Any]) -> Head:
        """It may keep silent where some questions have no answer."""
        head: Any = config.model.head
        return head.replace(no_answer=head.no_answer or bool(facts["no_answer"]))

    def examples(
        self, config: RunConfig, facts: dict[str, Any], tokenizer: Tokenizer, length: int, say: Say
    ) -> Iterator[Encoded]:
        frame = Frame.of(tokenizer)
        around = frame.added(two=True)
        overlap = config.training.overlap

        @lru_cache(maxsize=64)  # questions about a context stand together
        def pieces(context: str) -> tuple[np.ndarray, list[int], list[int]]:
            tokens = tokenizer.tokens(context)
            ids = np.array([token.id for token in tokens], np.int64)
            return ids, [token.start for token in tokens], [token.end for token in tokens]

        lost = 0
        for part, question in self._read(config):
            ids, starts, ends = pieces(question.context)
            asked = tokenizer.encode(question.question)[: (length - around) // 2]
            span = None
            if question.answers:
                first = question.answers[0]
                # The first piece that ends after the answer starts, and the last that starts before it ends.
                span = bisect_right(ends, first.start), bisect_left(starts, first.start + len(first.text)) - 1
                span = span if span[0] <= span[1] else None
                lost += span is None
            room = length - around - len(asked)
            if room < 1:
                raise RegardError(f"a length of {length} tokens has no room for a context: raise training.max_length.")
            rows = []
            for window in windows(len(ids), room, min(overlap, room // 2)):
                framed = frame.join(asked, ids[window.start : window.stop], length)
                assert framed.second is not None
                target = (0, 0)
                if span is not None and window.start <= span[0] and span[1] < window.stop:
                    shift = framed.second.start - window.start
                    target = (span[0] + shift, span[1] + shift)
                rows.append(Row(framed.ids, framed.segments, target))
            answers = None if question.answers is None else [list(answer) for answer in question.answers]
            yield Encoded(part, rows, [question.id, question.question, question.context, answers])
        if lost:
            say(f"{lost:,} answers are of no tokens, and count as questions without one.")

    def measure(
        self, config: RunConfig, tokenizer: Tokenizer, store: ExampleStore, validation: EvaluationExamples
    ) -> Callable[[Transformer], dict[str, float]]:
        """Of the answers as texts: how much of a right one they share (F1), and how often they are one."""
        every = store.validation_read()
        count = min(len(every), config.training.evaluate_windows or len(every))
        asked = [every[n * len(every) // count] for n in range(count)]

        def measure(model: Transformer) -> dict[str, float]:
            answerer = Answerer(model, tokenizer, "windows", lambda message: None)
            found = answerer.predict([(question, context) for _, question, context, _ in asked])
            right = [[text for text, _ in answers or ()] for *_, answers in asked]
            given = list(zip((answered.text for answered in found), right, strict=True))
            return {
                "f1": sum(f1(text, true) for text, true in given) / count,
                "exact_match": sum(exact_match(text, true) for text, true in given) / count,
            }

        return measure

    def sample(self, model: Transformer, tokenizer: Tokenizer, store: ExampleStore, number: int) -> str:
        _, question, context, answers = store.validation_read()[number]
        [found] = Answerer(model, tokenizer, "windows", lambda message: None).predict([(question, context)])
        return f"{question} → {found.text or 'no answer'}   ({answers[0][0] if answers else 'no answer'})"
