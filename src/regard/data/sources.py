"""Sources → documents: files, folders, standard input, Hugging Face data sets and built-in texts, as streams.

A source is written as one string:

    tales.txt            a text file: one document, or several where `separator` says what stands between them
    rows.jsonl           JSONL, CSV, TSV, Parquet: each row is a document, its text in `column`
    texts/               a folder: every file in it and below, in the order of their names; hidden ones are left out
    -                    standard input
    hf:OWNER/NAME        a Hugging Face data set: hf:OWNER/NAME/CONFIG:SPLIT; the split is `train` where none is named
    builtin:python-docs  a built-in text (see `builtin.py`)

Files may end in .gz or .zst. A document may be larger than the memory: it comes as pieces of about a million
characters. Line ends become `\\n`, a byte order mark is dropped, blank documents are left out.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from regard.data import builtin
from regard.data.formats import Binary, Piece, Reading, characters, format_of, text_of, text_pieces, whole
from regard.data.hub import hugging_face_name
from regard.data.tables import Choose, Headed, Row, Table, cell, hub_table, parquet, table
from regard.settings import RegardError, nearest

COLUMNS = ("text", "content", "document", "body", "article", "story", "sentence", "review")
"""Columns that are taken, in this order, when none is named."""

Document = Iterator[str]
"""The pieces of one document, to be read before the next document is asked for."""


def pieces(source: str | Path | Iterable[str | Path], how: Reading | None = None) -> Iterator[Piece]:
    """The documents of a source, or of several after another, as one flat stream of pieces.

    Raises `RegardError` where a source is missing, is no text, or holds nothing at all.
    """
    how = how or Reading()
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    if not sources:
        raise RegardError("no source of text was given: name a file, a folder, hf:OWNER/NAME or builtin:python-docs.")
    for one in sources:
        empty = True
        for piece in _read(one, how):
            empty = False
            yield piece
        if empty:
            raise RegardError(f"{_described(one)} holds no text.")
    how.summary()


def documents(
    source: str | Path | Iterable[str | Path],
    column: str = "auto",
    on_invalid: str = "error",
    separator: str = "none",
    format: str = "auto",
    say: Callable[[str], None] = lambda message: None,
) -> Iterator[Document]:
    """The documents of a source, each an iterator of its pieces; unread pieces are skipped.

    column: where the text stands in JSONL, CSV, TSV, Parquet and Hugging Face sets; `auto` looks for usual names.
    on_invalid: `error`, or `replace` to read invalid UTF-8 as U+FFFD and say how often.
    separator: what stands between documents in plain text: `none`, `line`, `paragraph`, or any text.
    Raises `RegardError`.
    """
    return each(pieces(source, Reading(column, format, separator, on_invalid, say)))  # type: ignore[arg-type]


def each(stream: Iterator[Piece]) -> Iterator[Document]:
    """A flat stream of pieces as one iterator a document."""
    for first in stream:
        document = _until_last(first, stream)
        yield document
        for _ in document:
            pass


def texts(source: str | Path | Iterable[str | Path], how: Reading | None = None) -> Iterator[str]:
    """The text alone, in pieces, as one learns a tokenizer from it."""
    return (piece.text for piece in pieces(source, how) if piece.text)


def _until_last(piece: Piece, stream: Iterator[Piece]) -> Document:
    while not piece.last:
        yield piece.text
        piece = next(stream)
    if piece.text:
        yield piece.text


def _read(source: str | Path, how: Reading) -> Iterator[Piece]:
    name = str(source)
    if name == "-":
        yield from read_file(None, how)
    elif name.startswith("builtin:"):
        yield from builtin.pieces(name.removeprefix("builtin:"))
    elif name.startswith("hf:"):
        yield from _of_table(hub_table(name, _only_text(name, how)), how)
    else:
        path = existing(name)
        if not path.is_dir():
            yield from read_file(path, how)
            return
        for file in files(path):
            try:
                yield from read_file(file, how)
            except Binary:
                how.binary.append(str(file))


def read_file(path: Path | None, how: Reading) -> Iterator[Piece]:
    """The pieces of a file's documents, or of standard input's where `path` is None. Raises `RegardError`."""
    format = format_of(path, how)
    if format == "text":
        yield from text_pieces(text_of(path, how), how)
    elif format == "parquet":
        yield from _of_table(parquet(path, how, _only_text(str(path), how)), how)
    else:
        yield from _of_table(table(path, how), how)


def _only_text(name: str, how: Reading) -> Choose:
    return lambda columns, texts: [choose_column(columns, texts, name, how)]


def _of_table(table: Table | None, how: Reading) -> Iterator[Piece]:
    """A document of each row."""
    if table is not None:
        column = choose_column(table.columns, table.texts, table.name, how)
        for row in table.rows:
            yield from row_text(row, column, how)


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


def row_text(row: Row, column: str, how: Reading) -> Iterator[Piece]:
    """The document in one row; a row whose text is null or blank is counted and left out."""
    text = cell(row, column)
    if text is None or (isinstance(text, str) and (not text or text.isspace())):
        how.left_out += 1
        return
    if not isinstance(text, str):
        raise RegardError(f"{row.where}: the column {column!r} holds {text!r:.40}, and text was expected.")
    yield from whole(characters(text, row.where, how))


def source_files(name: str) -> Iterator[Path | None]:
    """The files that a source names, None for standard input. Raises `RegardError` where there is none."""
    path = None if name == "-" else existing(name)
    yield from files(path) if path is not None and path.is_dir() else iter([path])


def tables(name: str, how: Reading, headed: Headed, even: bool = False) -> Iterator[Table]:
    """The tables of a source: of each file, or of a Hugging Face set. Raises `RegardError`."""
    if name.startswith("hf:"):
        found = iter([hub_table(name)])
    else:
        found = (table(path, how, headed, even) for path in source_files(name))
    yield from (one for one in found if one is not None)


def existing(name: str) -> Path:
    """The path of a file or folder that exists. Raises `RegardError`, with the nearest name beside it."""
    path = Path(name).expanduser()
    if path.is_file() or path.is_dir():
        return path
    if path.exists():
        raise RegardError(f"{name!r} is a pipe or a device, which can be read once only: pipe it in and name it '-'.")
    try:
        beside = difflib.get_close_matches(path.name, os.listdir(path.parent), n=1)
    except OSError:
        beside = []
    hint = f"did you mean {str(path.parent / beside[0])!r}?" if beside else "give a path that exists."
    raise RegardError(f"there is no file or folder {name!r}; {hint}")


def files(folder: Path) -> Iterator[Path]:
    """The files in a folder and below it, in the order of their names, without hidden ones."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # links may lead in a circle
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(place, name)
            if not name.startswith(".") and file.is_file():  # no pipe, no socket, no broken link
                yield file


def identity(source: str | Path) -> list[Any]:
    """What tells whether a source has changed: name, size and time of each file, or a built-in text's own hash.

    A Hugging Face set is taken to stay the same under its name, unless it is a folder on this machine.
    """
    name = str(source)
    if name.startswith("builtin:"):
        return [name, builtin.identity(name.removeprefix("builtin:"))]
    place = hugging_face_name(name)[0] if name.startswith("hf:") else name
    if name == "-" or (name.startswith("hf:") and not Path(place).is_dir()):
        return [name]
    path = existing(place)
    every = files(path) if path.is_dir() else iter([path])
    stats = ((str(file.resolve()), file.stat()) for file in every)
    return [name, *([file, stat.st_size, stat.st_mtime_ns] for file, stat in stats)]


def _described(source: str | Path) -> str:
    name = str(source)
    if name == "-":
        return "standard input"
    path = Path(name).expanduser()
    return f"the folder {name!r}" if path.is_dir() else f"the file {name!r}" if path.exists() else repr(name)
