"""Sources → questions about a context, and where in it their answers stand.

    train.json       as SQuAD 1.1 and 2.0 have it: articles of paragraphs, each a context with its questions
    rows.jsonl       {"question": "…", "context": "…", "answers": [{"text": "…", "start": 17}]}; also Parquet and
                     hf:OWNER/NAME, whose answers are {"text": […], "answer_start": […]}

`start` counts characters. A wrong one is mended where the answer occurs once nearby, or once in the whole context; an
answer that cannot be found is left out; both are counted. No answers at all say that the context has none. All
questions of an article stand on one side of a split.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from regard.data.base import Data
from regard.data.charset import Encoding
from regard.data.examples import AnswerSpan, Question
from regard.data.formats import Format, Reading, characters, described, format_of, suffix
from regard.data.sources import source_files, tables
from regard.data.split import kept_apart
from regard.data.tables import Row, json_rows, parsed, whole_text
from regard.seeds import derive_seed
from regard.settings import RegardError

Say = Callable[[str], None]

CONTEXTS = ("context", "passage", "paragraph", "document", "text")
ANSWERS = ("answers", "answer")
STARTS = ("answer_start", "start")

NEAR = 100
"""Characters before and after `start` in which an answer is looked for first."""


class QuestionData(Data, kind="questions"):
    """Where questions, contexts and answers come from."""

    validation_fraction: float = Field(default=0.1, ge=0, lt=1)
    """The part that is kept apart, drawn by the article and `split_seed`."""
    split_seed: int = 0
    format: Format = "auto"
    encoding: Encoding = "auto"
    """How letters are written as bytes, such as `gb18030`; `auto` is UTF-8, else what the file itself suggests."""
    on_invalid: Literal["error", "replace"] = "error"

    def reading(self, say: Say = lambda message: None) -> Reading:
        return Reading("auto", self.format, "line", self.on_invalid, say, self.encoding)


@dataclass
class Counts:
    """What had to be mended."""

    mended: int = 0
    lost: int = 0
    unasked: int = 0
    example: str = ""

    def say(self, how: Reading) -> None:
        if self.mended:
            how.note(f"Mended where {self.mended} answer(s) start, which stand elsewhere in their context.")
        if self.lost:
            how.note(f"Left out {self.lost} answer(s) that do not stand in their context, such as in {self.example}.")
        if self.unasked:
            how.note(f"Left out {self.unasked} question(s) without an answer that could be found, a text or a context.")


class Asked(NamedTuple):
    """A question, and the article that it belongs to."""

    article: str
    question: Question


def read_questions(config: QuestionData, say: Say = lambda message: None) -> Iterator[tuple[int, Question]]:
    """All questions in order, each with its part: 0 train, 1 validation.

    Raises `RegardError` where a source is missing or damaged, holds nothing, or lacks answers.
    """
    how = config.reading(say)
    if not config.source:
        raise RegardError("no source of questions was given: name a file with data.source=….")
    counts = Counts()
    apart = _Apart(config)
    for part, source in enumerate((config.source, config.validation)):
        for name in source:
            empty = True
            for article, question in asked(name, how, counts):
                empty = False
                yield part or int(apart(article)), question
            if empty:
                raise RegardError(f"{name!r} holds no questions with answers.")
    counts.say(how)
    how.summary()


class _Apart:
    """Which articles are for validation: one of each run of about 1/fraction, for there may be few of them."""

    def __init__(self, config: QuestionData) -> None:
        fraction = Fraction(0 if config.validation else config.validation_fraction).limit_denominator(10**6)
        self._drawn = kept_apart(fraction, config.split_seed) if fraction else itertools.repeat(-1)
        self._next = next(self._drawn)
        self._known: dict[int, bool] = {}

    def __call__(self, article: str) -> bool:
        key = derive_seed(0, "article", article)
        if key not in self._known:
            self._known[key] = len(self._known) == self._next
            if self._known[key]:
                self._next = next(self._drawn)
        return self._known[key]


def asked(name: str, how: Reading, counts: Counts, answered: bool = True) -> Iterator[Asked]:
    """The questions of one source. answered: whether each must have answers that stand in its context, or be known to
    have none; else none is left out. Raises `RegardError`.
    """
    if name.startswith("hf:"):
        found = (_of_row(row, how, counts, answered) for table in tables(name, how, _named) for row in table.rows)
    else:
        found = (one for path in source_files(name) for one in _of_file(path, how, counts, answered))
    for one in found:
        if not answered:
            yield one
        elif one.question.answers is None or not one.question.question.strip() or not one.question.context.strip():
            counts.unasked += 1
        else:
            yield one


def _named(rows: list[list[str]]) -> bool:
    return True


def _of_file(path: Path | None, how: Reading, counts: Counts, answered: bool) -> Iterator[Asked]:
    if format_of(path, how) != "text":
        for table in tables(str(path or "-"), how, _named):
            for row in table.rows:
                yield _of_row(row, how, counts, answered)
        return
    name = described(path)
    text = whole_text(path, how)
    if suffix(path) != ".json" and "\n" in text.strip() and _is_json(text.strip().split("\n", 1)[0]):
        for row in json_rows(iter(text.split("\n")), name):
            yield _of_row(row, how, counts, answered)
        return
    held = parsed(text, name)
    if isinstance(held, dict) and "data" not in held:
        held = [held]  # one question
    rows = held["data"] if isinstance(held, dict) else held
    if not isinstance(rows, list):
        raise RegardError(f"{name} holds no list of questions, nor articles as SQuAD has them.")
    for number, row in enumerate(rows, start=1):
        where = (
            f"{name}, article {number}" if isinstance(row, dict) and "paragraphs" in row else f"{name}, row {number}"
        )
        if not isinstance(row, dict):
            raise RegardError(f"{where}, is no JSON object.")
        if "paragraphs" in row:
            yield from _of_article(row, where, how, counts, answered)
        else:
            yield _of_row(Row(where, row), how, counts, answered)


def _is_json(line: str) -> bool:
    try:
        parsed(line, "")
    except RegardError:
        return False
    return True


def _of_article(article: dict[str, Any], where: str, how: Reading, counts: Counts, answered: bool) -> Iterator[Asked]:
    first = ""
    for n, paragraph in enumerate(_objects(article, "paragraphs", where), start=1):
        place = f"{where}, paragraph {n}"
        context = _string(paragraph, "context", place, how)
        first = first or context
        for m, question in enumerate(_objects(paragraph, "qas", place), start=1):
            at = f"{place}, question {m}"
            row = Row(at, {**question, "context": context})
            yield Asked(str(article.get("title") or first), _of_row(row, how, counts, answered).question)


def _of_row(row: Row, how: Reading, counts: Counts, answered: bool) -> Asked:
    where, cells = row.where, row.cells
    column = next((name for name in CONTEXTS if name in cells), None)
    if column is None:
        raise RegardError(f"{where}, has no context; it has {', '.join(list(cells)[:20])}.")
    context = _string(cells, column, where, how)
    question = _string(cells, "question", where, how)
    spans = _spans(cells, where)
    if spans is None and answered:
        raise RegardError(
            f"{where}, has no answers, and each question needs them to learn from; [] says that it has none."
        )
    answers = None if spans is None else tuple(_found(spans, context, where, counts))
    if spans and not answers:
        answers = None
    return Asked(context, Question(str(cells.get("id") or where), question, context, answers, where))


def _spans(cells: Any, where: str) -> list[tuple[str, int | None]] | None:
    """The answers as they are written: texts and where they start, None where that is not said."""
    if cells.get("is_impossible") is True:
        return []
    column = next((name for name in ANSWERS if cells.get(name) is not None), None)
    if column is None:
        return None
    value = cells[column]
    start = next((cells[name] for name in STARTS if cells.get(name) is not None), None)
    if isinstance(value, str):
        value = [{"text": value, "start": start}] if value else []
    if isinstance(value, dict) and isinstance(value.get("text"), (list, tuple)):  # as `datasets` keeps them
        texts = value["text"]
        starts = next((value[name] for name in STARTS if name in value), [None] * len(texts))
        if not isinstance(starts, (list, tuple)) or len(starts) != len(texts):
            raise RegardError(f"{where}, has {len(texts)} answers, and where they start is not said of each.")
        value = [{"text": text, "start": start} for text, start in zip(texts, starts, strict=True)]
    elif isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise RegardError(f"{where}, has the answers {value!r:.40}, and a list was expected.")
    spans = []
    for one in value:
        one = {"text": one} if isinstance(one, str) else one
        if not isinstance(one, dict) or not isinstance(one.get("text"), str):
            raise RegardError(f"{where}, has the answer {one!r:.40}, and a text with its start was expected.")
        at = next((one[name] for name in STARTS if one.get(name) is not None), None)
        if at is not None and (not isinstance(at, (int, str)) or not str(at).strip().isdecimal()):
            raise RegardError(f"{where}, has an answer that starts at {at!r:.40}, and a number from 0 was expected.")
        spans.append((one["text"], None if at is None else int(at)))
    return spans


def _found(spans: list[tuple[str, int | None]], context: str, where: str, counts: Counts) -> Iterator[AnswerSpan]:
    for text, start in spans:
        at = start
        if not text or start is None or context[start : start + len(text)] != text:
            at = _elsewhere(text, start, context)
            if at is None:
                counts.lost += 1
                counts.example = counts.example or where
                continue
            counts.mended += start is not None
        assert at is not None
        yield AnswerSpan(text, at)


def _elsewhere(text: str, start: int | None, context: str) -> int | None:
    """Where an answer stands if it occurs once near `start`, else once in the context."""
    if not text.strip():
        return None
    if start is not None:
        low = max(0, start - NEAR)
        if (near := _once(text, context[low : start + len(text) + NEAR])) is not None:
            return low + near
    return _once(text, context)


def _once(text: str, context: str) -> int | None:
    at = context.find(text)
    return at if at >= 0 and context.find(text, at + 1) < 0 else None


def _objects(cells: dict[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    found = cells.get(key)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise RegardError(f"{where}, has no {key!r}, a list of JSON objects as SQuAD has it.")
    return found


def _string(cells: Any, key: str, where: str, how: Reading) -> str:
    if not isinstance(cells.get(key), str):
        raise RegardError(f"{where}, has no text under {key!r}.")
    return characters(cells[key], where, how)
