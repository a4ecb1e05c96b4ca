"""Rows with named columns: TSV, CSV, JSONL, JSON, Parquet and Hugging Face sets, read once and in bounded memory.

A table of tabs or commas may have a row of names above it or not; without one its columns are called 1, 2, 3 …
With tabs a quote is a character like any other.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from regard.data import formats
from regard.data.formats import Reading, extra, format_of, lines, short
from regard.data.hub import hugging_face, reading_set
from regard.settings import RegardError, nearest

PEEK = 200
"""Rows that are looked at before it is said what the columns hold."""

SHOWN = 20
"""Names of columns that a message lists."""

Cells = list[str]
Headed = Callable[[list[Cells]], bool]
"""Told the first rows of a table of tabs or commas: whether the first of them holds names."""


Choose = Callable[[tuple[str, ...], tuple[str, ...]], Sequence[str]]
"""Told all columns, and those that hold text: the columns that are wanted, where reading fewer costs less."""


def every_column(columns: tuple[str, ...], texts: tuple[str, ...]) -> tuple[str, ...]:
    return columns


class Row(NamedTuple):
    """What stands in a row, by the name of the column, and where: "dev.tsv, line 12"."""

    where: str
    cells: Mapping[str, Any]
    width: int | None = None
    """How many cells a row of this table has; None where each row names its own."""


class Table(NamedTuple):
    """The columns of a table and its rows, which may be read once.

    named: whether the file itself names them. texts: those that hold text, as far as the first row or a schema says.
    peek: the first rows; they come again in `rows`.
    """

    name: str
    columns: tuple[str, ...]
    named: bool
    texts: tuple[str, ...]
    peek: list[Row]
    rows: Iterator[Row]

    def has(self, wanted: str) -> bool:
        """Whether there is a column of this name, or of this number from 1."""
        return wanted in self.columns or (wanted.isdecimal() and 1 <= int(wanted) <= len(self.columns))

    def column(self, wanted: str, setting: str) -> str:
        """The column of this name, or of this number from 1. Raises `RegardError` with the nearest name."""
        if wanted in self.columns:
            return wanted
        if wanted.isdecimal() and 1 <= int(wanted) <= len(self.columns):
            return self.columns[int(wanted) - 1]
        if wanted == "0":
            raise RegardError(f"columns are counted from 1, and {setting} is 0.")
        raise RegardError(f"{self.name} has no column {wanted!r}{nearest(wanted, self.columns[:PEEK])}")

    def listed(self) -> str:
        """The names of the columns, for a message."""
        more = len(self.columns) - SHOWN
        return (", ".join(self.columns[:SHOWN]) or "none") + (f" and {more} more" if more > 0 else "")


def table(path: Path | None, how: Reading, headed: Headed = lambda rows: True, even: bool = False) -> Table | None:
    """The table in a file, or in standard input where `path` is None; None where it has no row.

    even: whether a row of tabs or commas with more cells than the first, or fewer, is refused; else what is too much is
    passed by, and what lacks is not there. A plain text file is taken to hold columns with tabs between them.
    Raises `RegardError`, also while rows are read.
    """
    name = formats.described(path)
    format = format_of(path, how)
    if format == "parquet":
        return parquet(path, how)
    if format == "jsonl":
        return table_of_json(lines(path, how), name)
    if path is not None and format == "text" and how.format == "auto" and formats.suffix(path) == ".json":
        return _of_records(_json(path, how), name)
    return table_of_lines(lines(path, how), name, headed, even, commas=format == "csv")


def table_of_lines(
    every: Iterator[str], name: str, headed: Headed, even: bool = False, commas: bool = False
) -> Table | None:
    """The table in lines with tabs or commas between cells."""
    return _of_cells(_cells(every, name, commas), name, headed, even)


def table_of_json(every: Iterator[str], name: str) -> Table | None:
    """The table in lines of JSON objects."""
    return _of_records(json_rows(every, name), name)


def hub_table(source: str, choose: Choose = every_column) -> Table | None:
    """The rows of a Hugging Face set; where a column has names for its numbers, the names stand in the rows."""
    rows = hugging_face(source)
    features = rows.features or {}
    names = {column: found for column, kind in features.items() if (found := _names(kind))}
    if features:
        texts = [column for column, kind in features.items() if getattr(kind, "dtype", "").endswith("string")]
        rows = rows.select_columns(list(choose(tuple(features), tuple(texts))))

    def records() -> Iterator[Row]:
        with reading_set(source):
            for number, row in enumerate(rows, start=1):
                labels = {column: _label(names[column], row[column]) for column in names.keys() & row}
                yield Row(f"{source}, row {number}", {**row, **labels})

    return _of_records(records(), source)


def _names(kind: Any) -> list[str] | None:
    """The names of a column's numbers, or of those in its lists."""
    found = getattr(kind, "names", None) or getattr(getattr(kind, "feature", None), "names", None)
    return found if isinstance(found, list) else None


def _label(names: Sequence[str], number: Any) -> Any:
    if isinstance(number, list):
        return [_label(names, one) for one in number]
    known = isinstance(number, int) and 0 <= number < len(names)  # -1 stands for none
    return names[number] if known else None


def _of_records(rows: Iterator[Row], name: str) -> Table | None:
    """A table of rows that name their columns; those of the first rows are its columns."""
    peek = _ahead(rows)
    if not peek:
        return None
    columns = tuple(dict.fromkeys(key for row in peek for key in row.cells))
    texts = tuple(key for key in columns if any(isinstance(row.cells.get(key), str) for row in peek))
    return Table(name, columns, True, texts, peek, itertools.chain(peek, rows))


def _of_cells(rows: Iterator[tuple[str, Cells]], name: str, headed: Headed, even: bool) -> Table | None:
    rows = itertools.dropwhile(lambda row: not any(map(str.strip, row[1])), rows)
    first = _ahead(rows)
    if not first:
        return None
    named = headed([cells for _, cells in first])
    names = first[0][1] if named else list(map(str, range(1, len(first[0][1]) + 1)))
    columns = tuple(cell.strip() for cell in names)

    def records(rows: Iterator[tuple[str, Cells]]) -> Iterator[Row]:
        for where, cells in rows:
            if len(cells) != len(columns):
                if not any(map(str.strip, cells)):  # a blank line
                    continue
                if even:
                    raise ragged(where, len(cells), len(columns))
            yield Row(where, dict(zip(columns, cells, strict=False)), len(columns))

    peek = list(records(iter(first[named:])))
    return Table(name, columns, named, columns, peek, itertools.chain(peek, records(rows)))


def cell(row: Row, column: str) -> Any:
    """What stands in a column. Raises `RegardError` where the row lacks it."""
    if column in row.cells:
        return row.cells[column]
    if row.width is not None:
        raise ragged(row.where, len(row.cells), row.width)
    raise RegardError(f"{row.where}, has no column {column!r}{nearest(column, list(row.cells)[:PEEK])}")


def ragged(where: str, found: int, expected: int) -> RegardError:
    return RegardError(f"{where}, has {found} column(s), and {expected} were expected.")


def _ahead(rows: Iterator[Any]) -> list[Any]:
    """The first rows: `PEEK` at most, and fewer where they are long."""
    found: list[Any] = []
    size = 0
    while len(found) < PEEK and size < formats.CHUNK and (row := next(rows, None)) is not None:
        found.append(row)
        size += _long(row[1])
    return found


def _long(cells: Any) -> int:
    values = cells if isinstance(cells, list) else cells.values()
    return sum(len(value) for value in values if isinstance(value, str))


# ---- formats ----


def _cells(every: Iterator[str], name: str, commas: bool) -> Iterator[tuple[str, Cells]]:
    if not commas:
        yield from ((f"{name}, line {number}", line.split("\t")) for number, line in enumerate(every, start=1))
        return
    csv.field_size_limit(formats.LONGEST_ROW)
    rows = csv.reader((line + "\n" for line in every), strict=True)
    try:
        for row in rows:
            if row:
                yield f"{name}, line {rows.line_num}", row
    except csv.Error as error:
        open_ = "a quote that opens before it is never closed" if "end of data" in str(error) else short(error)
        raise RegardError(f"{name}, line {rows.line_num}, is not CSV: {open_}.") from None


def json_rows(every: Iterator[str], name: str) -> Iterator[Row]:
    for number, line in enumerate(every, start=1):
        if line and not line.isspace():
            where = f"{name}, line {number}"
            yield Row(where, _record(parsed(line, where), where))


def _json(path: Path, how: Reading) -> Iterator[Row]:
    rows = parsed(whole_text(path, how), str(path))
    rows = rows["data"] if isinstance(rows, dict) and isinstance(rows.get("data"), list) else rows
    if not isinstance(rows, list):
        raise RegardError(f'{path} is no list of JSON objects, such as [{{"text": "…"}}].')
    for number, row in enumerate(rows, start=1):
        yield Row(f"{path}, row {number}", _record(row, f"{path}, row {number}"))


def whole_text(path: Path | None, how: Reading) -> str:
    """The text of a JSON file. It stands in memory as a whole, so its size is bounded. Raises `RegardError`."""
    parts: list[str] = []
    size = 0
    for text in formats.text_of(path, how):
        parts.append(text)
        size += len(text)
        if size > formats.LONGEST_JSON:
            raise RegardError(
                f"{formats.described(path)} is longer than {formats.LONGEST_JSON >> 20} million characters, which JSON "
                "is read up to; write it as JSONL, one object a line."
            )
    return "".join(parts)


def parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RegardError(f"{where}, is not JSON: {short(error)}.") from None


def _record(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise RegardError(f'{where}, is no JSON object: each row is expected to be one, such as {{"text": "…"}}.')
    return row


def parquet(path: Path | None, how: Reading, choose: Choose = every_column) -> Table:
    """The table in a Parquet file; only the columns that are chosen are read."""
    if path is None or path.suffix.lower() in formats.COMPRESSED:
        raise RegardError(
            f"{formats.described(path)}: Parquet is read from a plain file, not from a pipe or a compressed file."
        )
    arrow = extra("pyarrow", f"reading {path}")
    import pyarrow.parquet

    def guarded(rows: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from rows
        except arrow.ArrowException as error:
            raise RegardError(f"{path} is damaged or no Parquet file: {short(error)}.") from None
        except OSError as error:
            raise RegardError(f"{path} cannot be read: {short(error)}.") from None

    def schema() -> Iterator[Any]:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file.schema_arrow

    def rows(columns: Sequence[str]) -> Iterator[Row]:
        number = 0
        with pyarrow.parquet.ParquetFile(path, buffer_size=formats.CHUNK) as file:
            for batch in file.iter_batches(batch_size=64, columns=list(columns)):
                values = [_values(arrow, batch.column(column)) for column in columns]
                for row in zip(*values, strict=True):
                    number += 1
                    where = f"{path}, row {number}"
                    yield Row(where, dict(zip(columns, (_decoded(value, where, how) for value in row), strict=True)))

    found = next(guarded(schema()))
    columns = tuple(found.names)
    texts = tuple(field.name for field in found if _holds_text(arrow, field.type))
    every = guarded(rows(choose(columns, texts)))
    peek = _ahead(every)
    return Table(str(path), columns, True, texts, peek, itertools.chain(peek, every))


def _values(arrow: Any, values: Any) -> list[Any]:
    """A column's values; text as bytes, for it may be no UTF-8."""
    if arrow.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return (values.cast(arrow.large_binary()) if _holds_text(arrow, values.type) else values).to_pylist()


def _decoded(value: Any, where: str, how: Reading) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        if how.on_invalid == "error":
            raise RegardError(
                f"{where}, is not UTF-8 (byte {error.start} of the text); mend it or set data.on_invalid=replace."
            ) from None
        text = value.decode(errors="replace")
        how.replaced += text.count("\ufffd") - value.count(b"\xef\xbf\xbd")
        return text


def _holds_text(arrow: Any, kind: Any) -> bool:
    if arrow.types.is_dictionary(kind):
        kind = kind.value_type
    types = arrow.types
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
