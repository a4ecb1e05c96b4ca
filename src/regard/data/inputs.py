"""A file to predict from: as the training files are, but labels, tags and answers may be missing.

Nothing is left out, so that the n-th answer belongs to the n-th text: blank texts keep their place.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar, overload

from regard.data.columns import Task
from regard.data.examples import Example, Question, Sentence
from regard.data.formats import Reading, characters, described, format_of, lines, suffix
from regard.data.labelled import LabelledData, examples
from regard.data.questions import Counts, QuestionData, asked
from regard.data.sources import source_files
from regard.data.tables import PEEK, Headed, Table, hub_table, table, table_of_json, table_of_lines
from regard.data.tagged import TaggedData, sentences
from regard.settings import RegardError

Say = Callable[[str], None]
T = TypeVar("T")


@overload
def read_inputs(source: str, data: LabelledData, task: Task = ..., say: Say = ...) -> Iterator[Example]: ...
@overload
def read_inputs(source: str, data: TaggedData, task: Task = ..., say: Say = ...) -> Iterator[Sentence]: ...
@overload
def read_inputs(source: str, data: QuestionData, task: Task = ..., say: Say = ...) -> Iterator[Question]: ...


def read_inputs(
    source: str,
    data: LabelledData | TaggedData | QuestionData,
    task: Task = "classify",
    say: Say = lambda message: None,
) -> Iterator[Example] | Iterator[Sentence] | Iterator[Question]:
    """What a file, a folder, `-` or `hf:…` holds, in order. `data` says how, as in training; its column of labels need
    not be there. A plain text file without tabs holds a text a line, for tags a sentence a line.

    Raises `RegardError` where the source is missing, is damaged, or holds nothing.
    """
    how = data.reading(say)
    if isinstance(data, LabelledData):
        return _all(_examples(source, data, task, how), source, how)
    if isinstance(data, TaggedData):
        return _all(sentences(source, data, how, tagged=False), source, how)
    return _all(_questions(source, how), source, how)


def _all(found: Iterator[T], source: str, how: Reading) -> Iterator[T]:
    empty = True
    for one in found:
        empty = False
        yield one
    if empty:
        raise RegardError(f"{'standard input' if source == '-' else repr(source)} holds nothing to predict from.")
    how.summary()


def _examples(source: str, data: LabelledData, task: Task, how: Reading) -> Iterator[Example]:
    if source.startswith("hf:"):
        yield from _of_table(hub_table(source), data, task, how)
        return
    for path in source_files(source):
        if format_of(path, how) == "text" and suffix(path) != ".json":
            yield from _of_text(path, data, task, how)
        else:
            yield from _of_table(table(path, how, _headed(data), even=True), data, task, how)


def _of_text(path: Path | None, data: LabelledData, task: Task, how: Reading) -> Iterator[Example]:
    every = lines(path, how)
    peek = list(itertools.islice(every, PEEK))
    name = described(path)
    every = itertools.chain(peek, every)
    filled = [line for line in peek if line.strip()]
    if path is None and filled and all(line.startswith("{") and line.rstrip().endswith("}") for line in filled):
        yield from _of_table(table_of_json(every, name), data, task, how)
    elif filled and (data.text != "auto" or all("\t" in line for line in filled)):
        yield from _of_table(table_of_lines(every, name, _headed(data), even=True), data, task, how)
    else:
        for number, line in enumerate(every, start=1):
            where = f"{name}, line {number}"
            yield Example(characters(line, where, how), None, None, where)


def _headed(data: LabelledData) -> Headed:
    return lambda rows: data.columns().head(rows, surely=False)


def _of_table(table: Table | None, data: LabelledData, task: Task, how: Reading) -> Iterator[Example]:
    if table is not None:
        labels = (data.label,) if isinstance(data.label, str) else data.label
        if not all(label in ("auto", "none") or table.has(label) for label in labels):
            data = data.replace(label="none" if table.named else "auto")
        yield from examples(table, data, task, how, labelled=False)


def _questions(source: str, how: Reading) -> Iterator[Question]:
    counts = Counts()
    for one in asked(source, how, counts, answered=False):
        yield one.question
    counts.say(how)
