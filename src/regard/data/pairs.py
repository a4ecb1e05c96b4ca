"""Sources → pairs of texts: what is read, and what is to be written.

    pairs.tsv                 two columns, under a row of names or not; also CSV, JSONL, Parquet, compressed
    train.de + train.en       two files of as many lines: `source` and `target`
    hf:OWNER/NAME             a Hugging Face data set, also with a nested `translation`
    builtin:dates             dates as people write them → ISO (`dates.py`); dates-en, dates-zh, dates-de
    builtin:copy|reverse|sort rows of letters (`synthetic.py`)

A pair whose one side is blank, too long, or out of all proportion is left out and counted, and the counts are said.
All pairs with the same source stand on one side of a split, so that validation never sees a sentence again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, NamedTuple

from pydantic import Field, field_validator

from regard.data import dates
from regard.data.base import Data
from regard.data.charset import Encoding
from regard.data.formats import Format, Reading, characters, lines
from regard.data.sources import existing, tables
from regard.data.tables import Row, Table, cell
from regard.seeds import derive_seed
from regard.settings import RegardError, nearest

NAMES = (
    ("source", "target"),
    ("src", "tgt"),
    ("src", "trg"),
    ("input", "output"),
    ("question", "answer"),
    ("instruction", "output"),
    ("document", "summary"),
)
"""Columns that are taken, in this order, when none are named."""


Which = Literal["train", "validation"]
"""A part of a built-in set."""


class PairsData(Data, kind="pairs"):
    """Where pairs come from, and which are left out."""

    source: tuple[str, ...] = ("builtin:dates",)
    """Files, folders, `-`, `hf:…` or `builtin:…`, with both sides in each row; or the sources' side alone."""
    target: tuple[str, ...] = ()
    """Files with the other sides, line by line, where `source` names the one."""
    validation_target: tuple[str, ...] = ()
    validation_fraction: float = Field(default=0.05, ge=0, lt=1)
    """The part that is kept apart, drawn by the source sentence and `split_seed`."""
    split_seed: int = 0
    columns: Literal["auto"] | tuple[str, str] = "auto"
    """The names of the columns, or their numbers from 1."""
    swap: bool = False
    """Whether to learn the other direction."""
    format: Format = "auto"
    encoding: Encoding = "auto"
    """How letters are written as bytes, such as `gb18030`; `auto` is UTF-8, else what the file itself suggests."""
    on_invalid: Literal["error", "replace"] = "error"
    max_length: int = Field(256, ge=1)
    """Pairs with more tokens than this on either side are left out."""
    max_ratio: float | None = Field(None, ge=1)
    """Pairs whose longer side has more than so many times the tokens of the shorter one are left out."""

    @field_validator("columns", mode="before")
    @classmethod
    def _two_names(cls, value: Any) -> Any:
        return tuple(value.split(",")) if isinstance(value, str) and "," in value else value

    def reading(self, say: Callable[[str], None] = lambda message: None) -> Reading:
        return Reading("auto", self.format, "line", self.on_invalid, say, self.encoding)


class Pair(NamedTuple):
    """Two texts, and the part that they belong to: 0 train, 1 validation."""

    part: int
    source: str
    target: str


def pairs(config: PairsData, say: Callable[[str], None] = lambda message: None) -> Iterator[Pair]:
    """All pairs in order. Raises `RegardError` where a source is missing, is damaged, or holds no pair."""
    how = config.reading(say)
    given = bool(config.validation)
    if (bool(config.target) != bool(config.validation_target)) and given:
        raise RegardError("give data.validation_target with data.validation, or neither, as data.target is given.")
    most = config.validation_fraction * 2**63
    for source, target in _of_sources(config.source, config.target, config, how, "train"):
        part = 0 if given or splits_itself(config) else int(derive_seed(config.split_seed, "pair", source) < most)
        yield Pair(part, source, target)
    if given or splits_itself(config):
        for source, target in _of_sources(
            config.validation or config.source, config.validation_target, config, how, "validation"
        ):
            yield Pair(1, source, target)
    how.summary()


def splits_itself(config: PairsData) -> bool:
    """Whether all sources are built-in sets, which have a validation part of their own."""
    return all(name.startswith("builtin:") for name in config.source)


def _of_sources(
    sources: tuple[str, ...], targets: tuple[str, ...], config: PairsData, how: Reading, part: Which
) -> Iterator[tuple[str, str]]:
    if targets:
        found = _parallel(sources, targets, how)
    else:
        found = (pair for name in sources for pair in _of_source(name, config, how, part))
    for first, second in found:
        yield (second, first) if config.swap else (first, second)


def _of_source(name: str, config: PairsData, how: Reading, part: Which) -> Iterator[tuple[str, str]]:
    if name.startswith("builtin:"):
        yield from builtin_pairs(name.removeprefix("builtin:"), part)
        return
    empty = True
    for table in tables(name, how, lambda rows: _has_names(rows[0], config)):
        for pair in _of_table(table, config, how):
            empty = False
            yield pair
    if empty:
        raise RegardError(f"{name!r} holds no pairs.")


def _of_table(table: Table, config: PairsData, how: Reading) -> Iterator[tuple[str, str]]:
    """Pairs of rows, also where they stand in a nested `translation`."""
    nested = isinstance(table.peek[0].cells.get("translation"), dict) if table.peek else False
    if nested:
        first = table.peek[0].cells["translation"]
        texts = tuple(key for key, value in first.items() if isinstance(value, str))
        table = table._replace(columns=tuple(first), texts=texts, rows=(_inner(row) for row in table.rows))
    columns = _choose(table, config, how)
    for row in table.rows:
        yield _text(row, columns[0], how), _text(row, columns[1], how)


def _inner(row: Row) -> Row:
    inner = row.cells.get("translation")
    if not isinstance(inner, dict):
        raise RegardError(f"{row.where}, has no translation, and other rows have one.")
    return row._replace(cells=inner)


def _text(row: Row, column: str, how: Reading) -> str:
    text = cell(row, column)
    if text is not None and not isinstance(text, str):
        raise RegardError(f"{row.where}, holds {text!r:.40} in the column {column!r}, and text was expected.")
    return characters(text or "", row.where, how)


def _has_names(first: list[str], config: PairsData) -> bool:
    """Whether the first row of a table holds the names of its columns."""
    if config.columns != "auto":
        return not all(column.isdigit() for column in config.columns)
    lower = {cell.strip().lower() for cell in first}
    return any(set(names) <= lower for names in NAMES)


def _choose(table: Table, config: PairsData, how: Reading) -> tuple[str, str]:
    """The names of the columns that hold the two sides."""
    if config.columns != "auto":
        source, target = (table.column(column, "data.columns") for column in config.columns)
        return source, target
    lower = {column.lower(): column for column in table.columns}
    for source, target in NAMES:
        if {source, target} <= lower.keys():
            return lower[source], lower[target]
    if not table.named:
        if len(table.columns) < 2:
            raise RegardError(
                f"{table.name} has one column, and pairs were expected, with a tab between the two texts; name the "
                "file of the other side with data.target=…"
            )
        how.note(
            f"{table.name}: the first column is the source, the second the target; choose others with data.columns=…."
        )
        return table.columns[0], table.columns[1]
    if len(table.texts) == 2:
        return table.texts[0], table.texts[1]
    raise RegardError(f"{table.name}: name the two columns with data.columns=source,target; it has {table.listed()}.")


def _parallel(sources: tuple[str, ...], targets: tuple[str, ...], how: Reading) -> Iterator[tuple[str, str]]:
    if len(sources) != len(targets):
        raise RegardError(f"{len(sources)} file(s) of sources and {len(targets)} of targets were given: pair them.")
    for first, second in zip(sources, targets, strict=True):
        sides = [lines(existing(side), how) for side in (first, second)]
        number = 0
        while True:
            row = [next(side, None) for side in sides]
            if row[0] is None or row[1] is None:
                break
            number += 1
            yield row[0], row[1]
        if row != [None, None]:
            more, fewer = (first, second) if row[1] is None else (second, first)
            raise RegardError(f"{fewer!r} has {number} lines and {more!r} has more: line n of both must be a pair.")
        if number == 0:
            raise RegardError(f"{first!r} and {second!r} hold no lines.")


# ---- built in ----

PAIRS = {"train": 50_000, "validation": 1_000}
"""How many pairs a built-in set has."""


def _dates(languages: tuple[str, ...], part: Which) -> Iterator[tuple[str, str]]:
    return dates.pairs(PAIRS[part], part=part, languages=languages)


def _task(name: str, part: Which) -> Iterator[tuple[str, str]]:
    from regard.data.synthetic import rows

    for row in rows(name, PAIRS[part], seed=int(part == "validation")):
        source, _, target = row.partition("=")
        yield source, target


BUILTIN: dict[str, Callable[[Which], Iterator[tuple[str, str]]]] = {
    **{name: partial(_dates, languages) for name, languages in dates.NAMES.items()},
    **{name: partial(_task, name) for name in ("copy", "reverse", "sort")},
}
"""Name → the pairs of a part."""


def builtin_pairs(name: str, part: Which) -> Iterator[tuple[str, str]]:
    """The pairs of a built-in set. Raises `RegardError` for a name that there is not."""
    if name not in BUILTIN:
        raise RegardError(f"there are no built-in pairs {name!r}{nearest(name, BUILTIN)}")
    return BUILTIN[name](part)
