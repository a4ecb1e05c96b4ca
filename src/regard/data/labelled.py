"""Sources → texts with a label: one class each, several labels, or a number.

    train.tsv                 sentence TAB label, under a row of names or not; also CSV, JSON, JSONL, Parquet, .gz
    hf:OWNER/NAME             a Hugging Face data set
    builtin:names             names of countries and languages, and the language that they are written in (`names.py`)

A row may have two texts. Several labels stand in one cell (`red|blue`, or a list in JSON), or each has a column of 0
and 1. All rows with the same text stand on one side of a split, so that validation never sees a text again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

from pydantic import Field, field_validator

from regard.data import columns, names
from regard.data.base import Data
from regard.data.charset import Encoding
from regard.data.columns import Chosen, Columns, Task
from regard.data.examples import Example, Label
from regard.data.formats import Format, Reading, characters
from regard.data.sources import tables
from regard.data.tables import Row, Table, cell
from regard.seeds import derive_seed
from regard.settings import RegardError, nearest

Say = Callable[[str], None]


class LabelledData(Data, kind="labelled"):
    """Where texts and their labels come from."""

    source: tuple[str, ...] = ("builtin:names",)
    """Files, folders, `-`, `hf:…` or `builtin:names`."""
    validation_fraction: float = Field(default=0.1, ge=0, lt=1)
    """The part that is kept apart, drawn by the text and `split_seed`."""
    split_seed: int = 0
    text: str = "auto"
    """The column of the text: its name, or its number from 1."""
    second: str = "auto"
    """The column of a second text; `none` where there is none."""
    label: str | tuple[str, ...] = "auto"
    """The column of the label; or one column of 0 and 1 for each of several labels."""
    separator: str = "auto"
    """What stands between several labels in one cell: `|`, `;`, `,` or any text."""
    format: Format = "auto"
    encoding: Encoding = "auto"
    """How letters are written as bytes, such as `gb18030`; `auto` is UTF-8, else what the file itself suggests."""
    on_invalid: Literal["error", "replace"] = "error"

    @field_validator("text", "second", "label", mode="before")
    @classmethod
    def _number_or_name(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("label", mode="before")
    @classmethod
    def _columns(cls, value: Any) -> Any:
        return tuple(value.split(",")) if isinstance(value, str) and "," in value else value

    def reading(self, say: Say = lambda message: None) -> Reading:
        return Reading("auto", self.format, "line", self.on_invalid, say, self.encoding)

    def columns(self) -> Columns:
        return Columns(self.text, self.second, self.label)


def read_labelled(
    config: LabelledData, task: Task = "classify", say: Say = lambda message: None
) -> Iterator[tuple[int, Example]]:
    """All examples in order, each with its part: 0 train, 1 validation. Rows without text are left out and counted.

    Raises `RegardError` where a source is missing or damaged, holds nothing, or lacks a label.
    """
    how = config.reading(say)
    most = config.validation_fraction * 2**63
    for name in config.source:
        if name.startswith("builtin:"):
            yield from _built_in(name, task, (0,) if config.validation else (0, 1))
            continue
        for example in _of_source(name, config, task, how):
            apart = derive_seed(config.split_seed, "example", example.text.strip()) < most
            yield int(apart and not config.validation), example
    for name in config.validation:
        if name.startswith("builtin:"):
            yield from _built_in(name, task, (1,))
            continue
        for example in _of_source(name, config, task, how):
            yield 1, example
    how.summary()


def _built_in(name: str, task: Task, parts: tuple[int, ...]) -> Iterator[tuple[int, Example]]:
    if name != "builtin:names":
        raise RegardError(f"there is no built-in set of labelled texts {name!r}{nearest(name, ['builtin:names'])}")
    if task == "regress":
        raise RegardError("builtin:names holds classes, and numbers were expected; name a file with data.source=….")
    for part in parts:
        for number, (text, label) in enumerate(names.names("validation" if part else "train"), start=1):
            yield part, Example(text, None, (label,) if task == "multilabel" else label, f"{name}, row {number}")


def _of_source(name: str, config: LabelledData, task: Task, how: Reading) -> Iterator[Example]:
    empty = True
    for table in tables(name, how, config.columns().head, even=True):
        for example in examples(table, config, task, how):
            empty = False
            if (
                example.text.isspace()
                or not example.text
                or (example.second is not None and not example.second.strip())
            ):
                how.left_out += 1
            else:
                yield example
    if empty:
        raise RegardError(f"{name!r} holds no labelled texts.")


def examples(table: Table, config: LabelledData, task: Task, how: Reading, labelled: bool = True) -> Iterator[Example]:
    """The rows of a table, blank ones too. labelled: whether each must have its label. Raises `RegardError`."""
    chosen = columns.choose(table, config.columns(), task, how, labelled)
    separator: str | None = config.separator
    if config.separator == "auto" and task == "multilabel" and len(chosen.label) == 1:
        values = [row.cells.get(chosen.label[0]) for row in table.peek]
        separator = columns.separator_of([value for value in values if isinstance(value, str) and value[:1] != "["])
        if separator is not None:
            how.note(f"{table.name}: labels are separated by {separator!r}; choose another with data.separator=….")
    for row in table.rows:
        text = _text(row, chosen.text, how)
        second = None if chosen.second is None else _text(row, chosen.second, how)
        told = labelled or all(column in row.cells for column in chosen.label)
        label = _label(row, chosen, task, separator) if told else None
        if label is None and labelled and text.strip():
            raise RegardError(
                f"{row.where}, has no label in the column {chosen.label[0]!r}, and each text needs one to learn from."
            )
        yield Example(text, second, label, row.where)


def _text(row: Row, column: str, how: Reading) -> str:
    text = cell(row, column)
    if text is not None and not isinstance(text, str):
        raise RegardError(f"{row.where}, holds {text!r:.40} in the column {column!r}, and text was expected.")
    return characters(text or "", row.where, how)


def _label(row: Row, chosen: Chosen, task: Task, separator: str | None) -> Label | None:
    if not chosen.label:
        return None
    if task == "multilabel" and len(chosen.label) > 1:
        return tuple(column for column in chosen.label if _marked(row, column))
    if len(chosen.label) > 1:
        raise RegardError(f"{len(chosen.label)} columns of labels were given, and a text has one label here: name one.")
    value = cell(row, chosen.label[0])
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if task == "multilabel":
        return _several(value, row.where, separator)
    if isinstance(value, (list, tuple, dict)):
        raise RegardError(
            f"{row.where}, holds {value!r:.40} in the column {chosen.label[0]!r}, and one label was expected."
        )
    if isinstance(value, str) and not value.strip():
        return None
    return _number(value, row.where) if task == "regress" else name_of(value)


def name_of(value: Any) -> str:
    """The name of a label: text as it stands, 1 and 1.0 as 1, true and false as JSON has them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _number(value: Any, where: str) -> float:
    try:
        number = float("" if isinstance(value, bool) else value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RegardError(f"{where}, has the label {value!r:.40}, which is no number to learn.")
    return number


def _several(value: Any, where: str, separator: str | None) -> tuple[str, ...]:
    if isinstance(value, str):
        listed = value.strip().startswith("[")
        try:
            value = json.loads(value) if listed else value.split(separator) if separator else [value]
        except (ValueError, RecursionError):
            raise RegardError(f"{where}, has the labels {value!r:.40}, which are no list in JSON.") from None
    elif not isinstance(value, (list, tuple)):
        value = [value]
    if any(isinstance(one, (list, tuple, dict)) or one is None for one in value):
        raise RegardError(f"{where}, has the labels {value!r:.40}, and a list of names was expected.")
    return tuple(dict.fromkeys(name for one in value if (name := name_of(one))))


def _marked(row: Row, column: str) -> bool:
    value = name_of(cell(row, column) or 0)
    if value not in ("0", "1", "true", "false"):
        raise RegardError(f"{row.where}, holds {value!r:.40} in the column {column!r}, and 0 or 1 was expected.")
    return value in ("1", "true")
