"""One file → its text, in pieces or in lines: plain or compressed, in UTF-8 or another encoding, in bounded memory."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

from regard.data import charset
from regard.settings import RegardError

CHUNK = 1 << 20
"""Bytes that are read at once; no piece has many more characters than that."""

LONGEST_ROW = 64 << 20
"""Characters that one row of JSONL or CSV may have: such a row must be held in memory as a whole."""

FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}
"""The format that a file's suffix stands for; any other file is plain text."""

SEPARATORS = {"none": None, "line": "\n", "paragraph": "\n\n"}
"""Names for what stands between two documents of a plain text file; any other text stands for itself."""

COMPRESSED = (".gz", ".zst")

LONGEST_JSON = 512 << 20
"""Characters that a JSON file may have, which must be held in memory as a whole."""

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
    encoding: str = "auto"
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


def described(path: Path | None) -> str:
    return "standard input" if path is None else str(path)


def suffix(path: Path | None) -> str:
    """The ending of a file's name that tells its format, in small letters, before that of its compression."""
    suffixes = [part.lower() for part in path.suffixes] if path else []
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def format_of(path: Path | None, how: Reading) -> str:
    """text, jsonl, csv, tsv or parquet: as asked, else as the file's name says."""
    return how.format if how.format != "auto" else FORMATS.get(suffix(path), "text")


def text_of(path: Path | None, how: Reading) -> Iterator[str]:
    """The text of a file, or of standard input where `path` is None, in pieces. Raises `RegardError`."""
    name = described(path)
    compressed = path.suffix.lower() if path and path.suffix.lower() in COMPRESSED else ""
    try:
        with _open(path, compressed) as stream:
            yield from decode(stream, name, how)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RegardError(f"{name} is damaged or no {compressed} file: {short(error)}.") from None
    except OSError as error:
        raise RegardError(f"{name} cannot be read: {error.strerror or error}.") from None


def lines(path: Path | None, how: Reading) -> Iterator[str]:
    """The lines of a file, or of standard input where `path` is None, blank ones too. Raises `RegardError`."""
    return _lines(text_of(path, how), described(path))


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
    """Bytes as pieces of text, with `\\n` for every kind of line end and without a byte order mark.

    They are in the encoding that was asked for, or that a byte order mark names, else in UTF-8. Where they are no UTF-8
    from the first letter on, their encoding is guessed and said. Invalid bytes are an error that names their place, or
    are replaced and counted.
    """
    line_ends = io.IncrementalNewlineDecoder(None, translate=True)
    errors = "strict" if how.on_invalid == "error" else "replace"
    encoding = ""
    decoder: codecs.IncrementalDecoder = codecs.getincrementaldecoder("utf-8")(errors)
    read, waiting, ascii, final = 0, b"", True, False
    while not final:
        chunk = stream.read(CHUNK)
        final = not chunk
        first = not encoding
        if first:
            encoding = _encoding(chunk, name, how)
            decoder = codecs.getincrementaldecoder(encoding)(errors)
        data = waiting + chunk
        while True:
            try:
                text = decoder.decode(chunk, final)
                break
            except UnicodeDecodeError as error:
                place, byte, guess = read + error.start, data[error.start], charset.NONE
                if how.encoding == "auto" and encoding == "utf-8" and ascii:
                    more = stream.read(CHUNK)
                    data, final = data + more, not more
                    guess = charset.guess(data)
                if not guess.certain:
                    marked = first and how.encoding == "auto" and encoding != "utf-8"
                    raise (Binary if marked else RegardError)(_invalid(name, encoding, place, byte, guess)) from None
                encoding, chunk = guess.names[0], data
                decoder = codecs.getincrementaldecoder(encoding)(errors)
                how.note(f"{name} is {encoding}, not UTF-8: it is read as such; set data.encoding=… if that is wrong.")
        waiting = decoder.getstate()[0]
        used = len(data) - len(waiting)
        if first:
            text = text.removeprefix("\ufeff")
        if errors == "replace":
            mark = "\ufffd".encode(encoding, errors="ignore")
            replaced = text.count("\ufffd") - (data[:used].count(mark) if mark else 0)
            if first and replaced > 0.1 * len(text):
                raise Binary(
                    f"{name} is no text: {replaced} of its first {len(text)} characters are invalid {encoding}."
                )
            how.replaced += replaced
        read += used
        ascii = ascii and text.isascii()
        if text := line_ends.decode(text, final):
            yield text


def _encoding(start: bytes, name: str, how: Reading) -> str:
    """What a file is taken to be written in. Raises `Binary` where it is no text at all."""
    if how.encoding != "auto":
        return how.encoding
    marked = charset.by_mark(start)
    zero = start.find(b"\0", 0, 1 << 16)
    if zero >= 0 and marked is None:
        raise Binary(f"{name} is a binary file (byte {zero} is zero), and text was expected.")
    return marked or "utf-8"


def _invalid(name: str, encoding: str, place: int, byte: int, guess: charset.Guess) -> str:
    told = "data.encoding=… (predict, embed: --encoding)"
    told += f", likely {' or '.join(guess.names[:3])}," if guess.names else ""
    return (
        f"{name} is not {encoding.upper()}: byte {place} (0x{byte:02X}) fits no character; name what it is written in "
        f"with {told} or set data.on_invalid=replace."
    )


def whole(text: str) -> Iterator[Piece]:
    """A document that is in memory, as pieces; nothing where it is blank."""
    if len(text) <= CHUNK:
        if text and not text.isspace():
            yield Piece(text, True)
        return
    for start in range(0, len(text), CHUNK):
        yield Piece(text[start : start + CHUNK], start + CHUNK >= len(text))


def text_pieces(chunks: Iterable[str], how: Reading) -> Iterator[Piece]:
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


def characters(text: str, where: str, how: Reading) -> str:
    """A text without halves of surrogate pairs, which JSON can hold: refused, or replaced and counted."""
    lone = len(_SURROGATE.findall(text))
    if lone and how.on_invalid == "error":
        raise RegardError(
            f"{where}, holds half a surrogate pair, which is no character; mend it or set data.on_invalid=replace."
        )
    if lone:
        how.replaced += lone
        text = _SURROGATE.sub("\ufffd", text)
    return text


_SURROGATE = re.compile("[\ud800-\udfff]")


def short(error: BaseException) -> str:
    """The first line of another library's message."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return text[:200]
