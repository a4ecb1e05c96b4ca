"""One file → pieces of its documents: plain text, JSONL, CSV/TSV and Parquet, also compressed, in bounded memory."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

from regard.settings import RegardError, nearest

CHUNK = 1 << 20
"""Bytes that are read at once; no piece has many more characters than that."""

LONGEST_ROW = 64 << 20
"""Characters that one row of JSONL or CSV may have: such a row must be held in memory as a whole."""

FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}
"""The format that a file's suffix stands for; any other file is plain text."""

SEPARATORS = {"none": None, "line": "\n", "paragraph": "\n\n"}
"""Names for what stands between two documents of a plain text file; any other text stands for itself."""

COLUMNS = ("text", "content", "document", "body", "article", "story", "sentence", "review")
"""Columns that are taken, in this order, when none is named."""

Format = Literal["auto", "text", "jsonl", "csv", "tsv", "parquet"]


class Piece(NamedTuple):
    """A piece of a document; `last` says that the document ends with it. A last piece may be empty."""

    text: str
    last: bool


class Binary(RegardError):
    """The file holds no text."""


@dataclass
class Reading:
    """How files are read, and what was met on the way.

    say: receives each message once.
    replaced: invalid bytes that became U+FFFD. left_out: rows without text. binary: files without text.
    """

    column: str = "auto"
    format: Format = "auto"
    separator: str = "none"
    on_invalid: Literal["error", "replace"] = "error"
    say: Callable[[str], None] = lambda message: None
    replaced: int = 0
    left_out: int = 0
    binary: list[str] = field(default_factory=list)
    _said: set[str] = field(default_factory=set)

    def note(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self.say(message)

    def summary(self) -> None:
        """Says what was counted while reading."""
        if self.replaced:
            self.note(f"Replaced {self.replaced} invalid byte sequence(s) by U+FFFD.")
        if self.left_out:
            self.note(f"Left out {self.left_out} row(s) without text.")
        if self.binary:
            self.note(f"Left out {len(self.binary)} file(s) that hold no text, such as {self.binary[0]}.")


def read_file(path: Path | None, how: Reading) -> Iterator[Piece]:
    """The pieces of a file's documents, or of standard input's where `path` is None. Raises `RegardError`."""
    name = "standard input" if path is None else str(path)
    compressed = path.suffix.lower() if path and path.suffix.lower() in (".gz", ".zst") else ""
    format = format_of(path, how)
    if format == "parquet":
        if path is None or compressed:
            raise RegardError(f"{name}: Parquet is read from a plain file, not from a pipe or a compressed file.")
        yield from _parquet(path, how)
        return
    try:
        with _open(path, compressed) as stream:
            yield from _READERS[format](decode(stream, name, how), name, how)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RegardError(f"{name} is damaged or no {compressed} file: {_short(error)}.") from None
    except OSError as error:
        raise RegardError(f"{name} cannot be read: {error.strerror or error}.") from None


def lines(path: Path | None, how: Reading) -> Iterator[str]:
    """The lines of a file, or of standard input where `path` is None, blank ones too. Raises `RegardError`."""
    name = "standard input" if path is None else str(path)
    compressed = path.suffix.lower() if path and path.suffix.lower() in (".gz", ".zst") else ""
    try:
        with _open(path, compressed) as stream:
            yield from _lines(decode(stream, name, how), name)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RegardError(f"{name} is damaged or no {compressed} file: {_short(error)}.") from None
    except OSError as error:
        raise RegardError(f"{name} cannot be read: {error.strerror or error}.") from None


def format_of(path: Path | None, how: Reading) -> str:
    """text, jsonl, csv, tsv or parquet: as asked, else as the file's name says."""
    suffixes = [suffix.lower() for suffix in path.suffixes] if path else []
    if suffixes and suffixes[-1] in (".gz", ".zst"):
        suffixes.pop()
    return how.format if how.format != "auto" else FORMATS.get(suffixes[-1] if suffixes else "", "text")


def _open(path: Path | None, compressed: str) -> AbstractContextManager[Any]:
    if path is None:
        return nullcontext(sys.stdin.buffer)
    if compressed == ".gz":
        return gzip.open(path, "rb")
    if compressed == ".zst":
        return extra("pyarrow", f"reading {path}").input_stream(str(path), compression="zstd")
    return open(path, "rb")


def extra(module: str, purpose: str, group: str = "data") -> Any:
    """An optional package. Raises `RegardError` with how to install it."""
    try:
        return __import__(module)
    except ImportError:
        raise RegardError(
            f"{purpose} needs the package {module!r}, which is not installed: pip install 'regard[{group}]'."
        ) from None


def decode(stream: BinaryIO, name: str, how: Reading) -> Iterator[str]:
    """UTF-8 as pieces of text, with `\\n` for every kind of line end and without a byte order mark.

    Invalid bytes are an error that names their place, or are replaced and counted.
    """
    line_ends = io.IncrementalNewlineDecoder(None, translate=True)
    offset, rest, final = 0, b"", False
    while not final:
        chunk = stream.read(CHUNK)
        final = not chunk
        data = rest + chunk
        if offset == 0:
            _refuse_binary(data, name)
            if data.startswith(codecs.BOM_UTF8):
                offset, data = 3, data[3:]
        try:
            text, used = codecs.utf_8_decode(data, "strict" if how.on_invalid == "error" else "replace", final)
        except UnicodeDecodeError as error:
            raise RegardError(
                f"{name} is not UTF-8: byte {offset + error.start} (0x{data[error.start]:02X}) fits no character; "
                "convert the file (such as with iconv -f GBK -t UTF-8) or set data.on_invalid=replace."
            ) from None
        if how.on_invalid == "replace":
            replaced = text.count("\ufffd") - data[:used].count(b"\xef\xbf\xbd")
            if offset <= 3 and replaced > 0.1 * len(text):
                raise Binary(f"{name} is no text in UTF-8: {replaced} of its first {len(text)} characters are invalid.")
            how.replaced += replaced
        offset, rest = offset + used, data[used:]
        if text := line_ends.decode(text, final):
            yield text


def _refuse_binary(data: bytes, name: str) -> None:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Binary(f"{name} is UTF-16: convert it first, such as with iconv -f UTF-16 -t UTF-8.")
    zero = data.find(b"\0", 0, 1 << 16)
    if zero >= 0:
        raise Binary(f"{name} is a binary file (byte {zero} is zero), and text was expected.")


def whole(text: str) -> Iterator[Piece]:
    """A document that is in memory, as pieces; nothing where it is blank."""
    if len(text) <= CHUNK:
        if text and not text.isspace():
            yield Piece(text, True)
        return
    for start in range(0, len(text), CHUNK):
        yield Piece(text[start : start + CHUNK], start + CHUNK >= len(text))


def _text(chunks: Iterable[str], name: str, how: Reading) -> Iterator[Piece]:
    separator = SEPARATORS.get(how.separator, how.separator)
    open_ = False  # whether the document at hand has given a piece already
    rest = ""
    for chunk in chunks:
        if separator:
            *complete, rest = (rest + chunk).split(separator)
            for text in complete:
                if open_ or (text and not text.isspace()):
                    yield Piece(text, True)
                open_ = False
        elif rest:  # one behind, so that the last piece is known
            yield Piece(rest, False)
            open_, rest = True, chunk
        else:
            rest = chunk
        if separator and len(rest) > CHUNK:
            keep = len(separator) - 1  # a separator may straddle two pieces
            yield Piece(rest[: len(rest) - keep], False)
            open_, rest = True, rest[len(rest) - keep :]
    if open_ or (rest and not rest.isspace()):
        yield Piece(rest, True)


def _lines(chunks: Iterable[str], name: str) -> Iterator[str]:
    parts: list[str] = []  # of the line at hand
    size = 0
    number = 1
    for chunk in chunks:
        first, *more = chunk.split("\n")
        parts.append(first)
        size += len(first)
        if size > LONGEST_ROW:
            raise RegardError(
                f"{name}: row {number} is longer than {LONGEST_ROW >> 20} million characters; cut it into several rows "
                "or give it as plain text, which is read in pieces."
            )
        if more:
            yield "".join(parts)
            yield from more[:-1]
            number += len(more)
            parts, size = [more[-1]], len(more[-1])
    if size:
        yield "".join(parts)


def choose_column(columns: Iterable[str], texts: Iterable[str], name: str, how: Reading) -> str:
    """The column that holds the text: the one that was asked for, else a usual name, else the only text column."""
    columns, texts = list(columns), list(texts)
    if how.column != "auto":
        if how.column not in columns:
            raise RegardError(f"{name} has no column {how.column!r}{nearest(how.column, columns)}")
        return how.column
    guess = next((column for column in COLUMNS if column in texts), texts[0] if len(texts) == 1 else None)
    if guess is None:
        raise RegardError(
            f"{name} has no column 'text': name the one to read with data.column=…; it has {', '.join(columns)}."
        )
    if guess != "text":
        how.note(f"The text is taken from the column {guess!r}; choose another with data.column=….")
    return guess


def row_text(row: dict[str, Any], column: str, where: str, how: Reading) -> Iterator[Piece]:
    """The document in one row; a row whose text is null or blank is counted and left out."""
    if column not in row:
        raise RegardError(f"{where} has no column {column!r}{nearest(column, row)}")
    text = row[column]
    if text is None or (isinstance(text, str) and (not text or text.isspace())):
        how.left_out += 1
        return
    if not isinstance(text, str):
        raise RegardError(f"{where}: the column {column!r} holds {text!r:.40}, and text was expected.")
    yield from whole(characters(text, where, how))


def characters(text: str, where: str, how: Reading) -> str:
    """A text without halves of surrogate pairs, which JSON can hold: refused, or replaced and counted."""
    lone = len(_SURROGATE.findall(text))
    if lone and how.on_invalid == "error":
        raise RegardError(
            f"{where} holds half a surrogate pair, which is no character; mend it or set data.on_invalid=replace."
        )
    if lone:
        how.replaced += lone
        text = _SURROGATE.sub("\ufffd", text)
    return text


_SURROGATE = re.compile("[\ud800-\udfff]")


def _jsonl(chunks: Iterable[str], name: str, how: Reading) -> Iterator[Piece]:
    column = None
    for number, line in enumerate(_lines(chunks, name), start=1):
        if not line or line.isspace():
            continue
        where = f"{name}, line {number},"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RegardError(f"{where} is not JSON: {_short(error)}.") from None
        if not isinstance(row, dict):
            raise RegardError(f'{where} is no JSON object: each line is expected to be one, such as {{"text": "…"}}.')
        if column is None:
            column = choose_column(row, (key for key, value in row.items() if isinstance(value, str)), name, how)
        yield from row_text(row, column, where, how)


def _csv(chunks: Iterable[str], name: str, how: Reading, tabs: bool = False) -> Iterator[Piece]:
    """Rows under a row of names. With tabs a quote is a character like any other, as is usual."""
    csv.field_size_limit(LONGEST_ROW)
    lines = (line + "\n" for line in _lines(chunks, name))
    rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(lines)
    try:
        header = next(rows, None)
        if header is None:
            return
        column = choose_column(header, header, name, how)
        at = header.index(column)
        for row in rows:
            if not row:
                continue
            if at >= len(row):
                raise RegardError(
                    f"{name}, line {rows.line_num}, has {len(row)} columns and {len(header)} were expected."
                )
            yield from row_text({column: row[at]}, column, f"{name}, line {rows.line_num},", how)
    except csv.Error as error:
        raise RegardError(f"{name}, line {rows.line_num}, is not CSV: {_short(error)}.") from None


_READERS: dict[str, Callable[[Iterator[str], str, Reading], Iterator[Piece]]] = {
    "text": _text,
    "jsonl": _jsonl,
    "csv": _csv,
    "tsv": partial(_csv, tabs=True),
}


def _parquet(path: Path, how: Reading) -> Iterator[Piece]:
    extra("pyarrow", f"reading {path}")
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    try:
        with parquet.ParquetFile(path, buffer_size=CHUNK) as file:
            schema = file.schema_arrow
            texts = [field.name for field in schema if _holds_text(arrow, field.type)]
            column = choose_column(schema.names, texts, str(path), how)
            if column not in texts:
                raise RegardError(
                    f"{path}: the column {column!r} holds {schema.field(column).type}, and text was expected."
                )
            number = 0
            for batch in file.iter_batches(batch_size=64, columns=[column]):
                values = batch.column(0)
                if arrow.types.is_dictionary(values.type):
                    values = values.dictionary_decode()
                for value in values.cast(arrow.large_binary()).to_pylist():
                    number += 1
                    where = f"{path}, row {number},"
                    yield from row_text({column: _decode_value(value, where, how)}, column, where, how)
    except arrow.ArrowException as error:
        raise RegardError(f"{path} is damaged or no Parquet file: {_short(error)}.") from None
    except OSError as error:
        raise RegardError(f"{path} cannot be read: {_short(error)}.") from None


def _decode_value(value: bytes | None, where: str, how: Reading) -> str | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        if how.on_invalid == "error":
            raise RegardError(
                f"{where} is not UTF-8 (byte {error.start} of the text); mend it or set data.on_invalid=replace."
            ) from None
        text = value.decode(errors="replace")
        how.replaced += text.count("\ufffd") - value.count(b"\xef\xbf\xbd")
        return text


def _holds_text(arrow: Any, kind: Any) -> bool:
    if arrow.types.is_dictionary(kind):
        kind = kind.value_type
    types = arrow.types
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _short(error: BaseException) -> str:
    """The first line of another library's message."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return text[:200]
