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

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, field_validator

from regard.data import dates
from regard.data.base import Data
from regard.data.formats import LONGEST_ROW, Format, Reading, characters, extra, format_of, lines
from regard.data.sources import existing, files, hugging_face, reading_set
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
        return Reading("auto", self.format, "line", self.on_invalid, say)


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
    if name.startswith("hf:"):
        with reading_set(name):
            rows = ((f"{name}, row {n},", row) for n, row in enumerate(hugging_face(name), 1))
            yield from _named(rows, name, config, how)
        return
    path = None if name == "-" else existing(name)
    every: Iterable[Path | None] = files(path) if path is not None and path.is_dir() else [path]
    empty = True
    for file in every:
        for pair in _of_file(file, config, how):
            empty = False
            yield pair
    if empty:
        raise RegardError(f"{name!r} holds no pairs.")


# ---- one file ----


def _of_file(path: Path | None, config: PairsData, how: Reading) -> Iterator[tuple[str, str]]:
    name = "standard input" if path is None else str(path)
    format = format_of(path, how)
    if format == "parquet":
        yield from _named(_parquet_rows(name), name, config, how)
    elif format == "jsonl":
        yield from _named(_json_rows(lines(path, how), name), name, config, how)
    else:
        yield from _cells(lines(path, how), name, config, how, commas=format == "csv")


def _json_rows(every: Iterator[str], name: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(every, start=1):
        if line and not line.isspace():
            where = f"{name}, line {number},"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise RegardError(f"{where} is not JSON: {str(error).splitlines()[0]}.") from None
            if not isinstance(row, dict):
                raise RegardError(f'{where} is no JSON object, such as {{"source": "…", "target": "…"}}.')
            yield where, row


def _parquet_rows(name: str) -> Iterator[tuple[str, Any]]:
    arrow = extra("pyarrow", f"reading {name}")
    import pyarrow.parquet as parquet

    try:
        with parquet.ParquetFile(name) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{name}, row {number},", row
    except (arrow.ArrowException, OSError) as error:
        raise RegardError(f"{name} is damaged or no Parquet file: {str(error).splitlines()[0]}.") from None


def _named(rows: Iterator[tuple[str, Any]], name: str, config: PairsData, how: Reading) -> Iterator[tuple[str, str]]:
    """Pairs of rows with names, also where they stand in a nested `translation`."""
    columns: tuple[str, str] | None = None
    for where, row in rows:
        if isinstance(row.get("translation"), dict):
            row = row["translation"]
        if columns is None:
            columns = _choose(list(row), [key for key, value in row.items() if isinstance(value, str)], name, config)
        yield _text(row, columns[0], where, how), _text(row, columns[1], where, how)


def _text(row: dict[str, Any], column: str, where: str, how: Reading) -> str:
    if column not in row:
        raise RegardError(f"{where} has no column {column!r}{nearest(column, row)}")
    text = row[column]
    if text is not None and not isinstance(text, str):
        raise RegardError(f"{where} holds {text!r:.40} in the column {column!r}, and text was expected.")
    return characters(text or "", where, how)


def _cells(every: Iterator[str], name: str, config: PairsData, how: Reading, commas: bool) -> Iterator[tuple[str, str]]:
    """Pairs of a table: tabs between cells (a quote is a character like any other), or commas."""
    rows = _rows(every, name) if commas else (line.split("\t") for line in every)
    at: tuple[int, int] | None = None
    for number, row in enumerate(rows, start=1):
        if not any(cell.strip() for cell in row):
            continue
        where = f"{name}, line {number},"
        if at is None:
            at, header = _places([cell.strip() for cell in row], name, config, how)
            if header:
                continue
        if max(at) >= len(row):
            raise RegardError(
                f"{where} has {len(row)} column(s), and {max(at) + 1} were expected"
                f"{'' if commas else ', with a tab between them'}."
            )
        yield row[at[0]], row[at[1]]


def _rows(every: Iterator[str], name: str) -> Iterator[list[str]]:
    csv.field_size_limit(LONGEST_ROW)
    rows = csv.reader(line + "\n" for line in every)
    try:
        yield from rows
    except csv.Error as error:
        raise RegardError(f"{name}, line {rows.line_num}, is not CSV: {error}.") from None


def _places(first: list[str], name: str, config: PairsData, how: Reading) -> tuple[tuple[int, int], bool]:
    """Where the two sides stand in a row, and whether the first row holds names."""
    if config.columns != "auto" and all(column.isdigit() for column in config.columns):
        source, target = (int(column) - 1 for column in config.columns)
        if min(source, target) < 0:
            raise RegardError(f"columns are counted from 1, and data.columns names {','.join(config.columns)}.")
        return (source, target), False
    lower = [cell.lower() for cell in first]
    if config.columns != "auto" or any(set(names) <= set(lower) for names in NAMES):
        columns = _choose(first, first, name, config)
        return (first.index(columns[0]), first.index(columns[1])), True
    if len(first) < 2:
        raise RegardError(
            f"{name} has one column, and pairs were expected, with a tab between the two texts; name the file of "
            "the other side with data.target=…"
        )
    how.note(f"{name}: the first column is the source, the second the target; choose others with data.columns=….")
    return (0, 1), False


def _choose(columns: list[str], texts: list[str], name: str, config: PairsData) -> tuple[str, str]:
    if config.columns != "auto":
        for column in config.columns:
            if column not in columns:
                raise RegardError(f"{name} has no column {column!r}{nearest(column, columns)}")
        return config.columns
    lower = {column.lower(): column for column in columns}
    found = next((names for names in NAMES if set(names) <= set(lower)), None)
    if found:
        return lower[found[0]], lower[found[1]]
    if len(texts) == 2:
        return texts[0], texts[1]
    raise RegardError(
        f"{name}: name the two columns with data.columns=source,target; it has {', '.join(columns) or 'none'}."
    )


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
