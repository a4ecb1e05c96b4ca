"""Where in a context the answer to a question stands: the best spans, in characters of the context as it was given.

    score(i, j) = start_i + end_j        i ≤ j < i + longest, both in the context
    p(i, j) = exp score(i, j) / Σ exp score, over all such spans, and "no answer" where the head knows it

A context of any length is read in overlapping windows, each with the whole question; a span that several windows see
has its highest score. "No answer" has the score of place 0, in the window where it is least likely.

Source   Devlin et al. 2018, arXiv:1810.04805, §4.2 and §4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from regard.prediction.base import Long, Reader, windows
from regard.settings import RegardError
from regard.text import Token
from regard.text.frame import Framed
from regard.text.words import joined

LONGEST = 30
"""Pieces that an answer has, at most."""
OVERLAP = 128
"""Pieces of the context that two windows share; half of a window where that is less."""
TOGETHER = 16
"""Questions that are read at once."""
SPARE = 8
"""Spans that are looked at for each answer that is wanted, as several may be of the same characters."""


@dataclass(frozen=True)
class Answer:
    """`context[start:end]`. score: the sum of two logits."""

    text: str
    start: int
    end: int
    score: float
    probability: float

    def __str__(self) -> str:
        return f"{self.text!r} {self.probability:.1%} [{self.start}:{self.end}]"


@dataclass(frozen=True)
class Answered:
    """The best answers to a question, best first; none where there is nothing to read.

    no_answer   how much rather there is no answer: its score less the best span's; None where the head cannot tell
    silence     the probability that there is none; 0 where the head cannot tell
    threshold   of `no_answer`, above which nothing is answered
    """

    answers: tuple[Answer, ...]
    no_answer: float | None = None
    silence: float = 0.0
    threshold: float = 0.0

    @property
    def best(self) -> Answer | None:
        """The answer; None where there is none."""
        silent = self.no_answer is not None and self.no_answer > self.threshold
        return None if silent or not self.answers else self.answers[0]

    @property
    def text(self) -> str:
        """The answer's text, "" where there is none."""
        return self.best.text if self.best is not None else ""

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """Plain values that JSON can hold; with `top` so many answers, and not the best alone."""
        best = {"text": "", "start": None, "end": None, "score": None, "probability": self.silence or None}
        found: dict[str, Any] = best if self.best is None else asdict(self.best)
        found = {"answer": found.pop("text"), **found}
        if self.no_answer is not None:
            found |= {"no_answer": self.no_answer}
        if top is not None:
            found["answers"] = [asdict(answer) for answer in self.answers[:top]]
        return found

    def __str__(self) -> str:
        lines = list(map(str, self.answers))
        if self.no_answer is not None:
            lines.insert(0 if self.best is None else len(lines), f"no answer {self.silence:.1%}")
        return "\n".join(lines) or "–"


class Answerer(Reader):
    """Answers from a context, `longest` pieces long at most."""

    usual: ClassVar[Long] = "windows"

    def predict(
        self,
        asked: Sequence[tuple[str, str]],
        n_best: int = 1,
        longest: int = LONGEST,
        overlap: int = OVERLAP,
        threshold: float = 0.0,
    ) -> list[Answered]:
        """The `n_best` answers to each (question, context). Raises `RegardError`."""
        if min(n_best, longest) < 1 or overlap < 0:
            raise RegardError("the number of answers and the longest answer are 1 or more, and the overlap 0 or more.")
        found: list[Answered] = []
        for start in range(0, len(asked), TOGETHER):
            found += self._together(asked[start : start + TOGETHER], n_best, longest, overlap, threshold)
        return found

    def _together(
        self, asked: Sequence[tuple[str, str]], n_best: int, longest: int, overlap: int, threshold: float
    ) -> list[Answered]:
        tokens = {context: self.tokenizer.tokens(context) for context in {context for _, context in asked}}
        rows: list[Framed] = []
        places: list[tuple[int, range]] = []  # the question of each row, and which pieces of the context it holds
        for number, (question, context) in enumerate(asked):
            ids = self.tokenizer.encode(question)
            pieces = [token.id for token in tokens[context]]
            if ids and pieces and question.strip() and context.strip():
                room = self.longest - self.frame.added(two=True)
                if len(ids) > room // 2:
                    self.say(
                        f"question {self.first} is {len(ids):,} tokens long, and its first {room // 2:,} are read."
                    )
                    ids = ids[: room // 2]
                if len(pieces) > room - len(ids):
                    self.overlong(len(pieces), room - len(ids))
                for window in windows(len(pieces), room - len(ids), min(overlap, (room - len(ids)) // 2)):
                    rows.append(self.frame.join(ids, pieces[window.start : window.stop], self.longest))
                    places.append((number, window))
            self.first += 1
        sums = [torch.full((len(tokens[context]), longest), -torch.inf, dtype=torch.float64) for _, context in asked]
        none = [torch.inf] * len(asked)
        for batch, made in self.outputs(rows):
            for row, logits in zip(batch, made.double(), strict=True):
                number, window = places[row]
                own = rows[row].second
                assert own is not None
                here = sums[number][window.start : window.stop]
                torch.maximum(here, spans(logits[own.start : own.stop], longest), out=here)
                none[number] = min(none[number], float(logits[0].sum()))
        silent = none if self.head.no_answer else [None] * len(asked)
        return [
            _answered(context, tokens[context], table, score, n_best, threshold)
            for (_, context), table, score in zip(asked, sums, silent, strict=True)
        ]


def spans(logits: Tensor, longest: int) -> Tensor:
    """From the logits [t 2] of start and end the score of each span: of `length + 1` places from `start` on it is
    [start length]; −∞ past the last place."""
    ends = torch.cat([logits[:, 1], logits.new_full((longest - 1,), -torch.inf)])
    return logits[:, :1] + ends.unfold(0, longest, 1)


def _answered(
    context: str, tokens: Sequence[Token], sums: Tensor, none: float | None, n_best: int, threshold: float
) -> Answered:
    if not sums.isfinite().any():
        return Answered(())
    scores, places = sums.flatten().topk(min(sums.numel(), n_best * SPARE))
    total = sums.flatten().logsumexp(0)
    if none is not None:
        total = torch.logaddexp(total, torch.tensor(none, dtype=total.dtype))
    answers: dict[tuple[int, int], Answer] = {}
    for score, place in zip(scores.tolist(), places.tolist(), strict=True):
        first, length = divmod(place, sums.shape[1])
        if score == -torch.inf or len(answers) == n_best:
            break
        start, end = whole(context, tokens[first].start, tokens[first + length].end)
        answer = Answer(context[start:end], start, end, score, float((score - total).exp()))
        if answer.text:
            answers.setdefault((start, end), answer)
    if none is None:
        return Answered(tuple(answers.values()))
    return Answered(tuple(answers.values()), none - scores[0].item(), float((none - total).exp()), threshold)


def whole(text: str, start: int, end: int) -> tuple[int, int]:
    """The characters from `start` to `end` without white space around them, and with the marks, joiners and skin tones
    that a reader takes for a part of them, which tokenizers drop or split off."""
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    while 0 < start < end and joined(text, start):
        start -= 1
    while start < end < len(text) and joined(text, end):
        end += 1
    return start, end
