"""Reading word vectors that others have trained: word2vec's text and binary files, and GloVe's.

    word2vec, text      N D⏎ then N lines          word x₁ x₂ … x_D⏎
    word2vec, binary    N D⏎ then N times          word␣ and D little-endian float32
    GloVe               no first line, then        word x₁ x₂ … x_D⏎

A first line of two whole numbers says word2vec, and the first record after it says which; `.gz` is unpacked. A file is
read once, a piece at a time, and only the words asked for are kept, so its size is no matter.

Source   Mikolov et al. 2013, arXiv:1301.3781 (word2vec); Pennington, Socher & Manning 2014,
         aclanthology.org/D14-1162 (GloVe).
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from regard.settings import RegardError
from regard.text.tokenizer import Tokenizer

LONGEST_LINE = 1 << 20
LONGEST_WORD = 1 << 12
WIDEST = 1 << 16
PIECE = 1 << 20

_HEADER = re.compile(rb"\s*(\d{1,18}) +(\d{1,9})\s*")


class Vectors(NamedTuple):
    """The vectors found: number i is that of `words[i]`."""

    words: list[str]
    numbers: np.ndarray
    """[n width], float32."""


class Head(NamedTuple):
    """What the beginning of a file says: how many words (None: it does not say), their width, and the format."""

    promised: int | None
    width: int
    binary: bool


def width_of(path: str | os.PathLike[str]) -> int:
    """How many numbers a vector of this file has. Raises `RegardError` if it is no file of vectors."""
    with _opened(path) as file:
        return _head(file, Path(path)).width


def read_vectors(path: str | os.PathLike[str], words: Iterable[str], width: int) -> Vectors:
    """The vectors of those of the `words` that the file has, in its order; where it repeats a word, the first counts.

    Memory is that of the words asked for, whatever the file holds. Raises `RegardError` where the file is damaged or
    its vectors are of another width.
    """
    path = Path(path)
    wanted = {word.encode() for word in words}
    numbers = np.empty((len(wanted), width), np.float32)
    found: list[str] = []
    with _opened(path) as file:
        head = _head(file, path)
        if head.width != width:
            raise RegardError(
                f"{path} holds vectors of {head.width} numbers, not of {width}: use another file or width."
            )
        for word, vector in (_binary if head.binary else _text)(file, head, wanted, path):
            if not np.isfinite(vector).all():
                raise RegardError(
                    f"{path} is damaged: the vector of {word.decode()!r} has numbers that are not finite."
                )
            numbers[len(found)] = vector
            found.append(word.decode())
            wanted.remove(word)
    return Vectors(found, numbers[: len(found)])


def words_of(tokenizer: Tokenizer) -> dict[str, list[int]]:
    """The words that single tokens stand for, and their ids.

    A token stands for a word if it begins one, as the space before it shows, or is punctuation. A piece from within
    words is none, though it may be spelled like one.
    """
    words: dict[str, list[int]] = {}
    for token in range(tokenizer.vocab_size):
        if token in tokenizer.byte_table.special:
            continue
        try:
            text = tokenizer.token_bytes(token).decode()
        except UnicodeDecodeError:
            continue
        word = text.removeprefix(" ")
        begins = text.startswith(" ") or not any(map(str.isalnum, word))
        if word and begins and not any(map(str.isspace, word)):
            words.setdefault(word, []).append(token)
    return words


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    try:
        with (gzip.open if str(path).endswith(".gz") else open)(path, "rb") as file:
            yield file  # type: ignore[misc]
    except (OSError, EOFError, zlib.error) as error:
        raise RegardError(f"the vectors {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def _head(file: BinaryIO, path: Path) -> Head:
    """Reads the first line, and goes back to the first word."""
    line = _line(file, 1, path)
    if (header := _HEADER.fullmatch(line)) is None:
        file.seek(0)
        return Head(None, _width(len(line.split()) - 1, path), binary=False)
    count, width = int(header[1]), _width(int(header[2]), path)
    start = file.tell()
    first = file.read(LONGEST_WORD + 32 * width)
    file.seek(start)
    return Head(count, width, binary=not _is_text(first, width))


def _width(width: int, path: Path) -> int:
    if not 1 <= width <= WIDEST:
        raise RegardError(f"{path} is no file of word vectors: expected a word and its numbers in a line.")
    return width


def _is_text(first: bytes, width: int) -> bool:
    """Whether a file that begins so, after its header, has its vectors in letters."""
    fields = first.split(b"\n", 1)[0].split()
    return len(fields) > width and _numbers(fields[-width:]) is not None


def _numbers(fields: list[bytes]) -> np.ndarray | None:
    """float32, those too large for it infinite; None where a field is no number."""
    try:
        with np.errstate(over="ignore"):
            return np.array([float(field) for field in fields]).astype(np.float32)
    except ValueError:
        return None


def _line(file: BinaryIO, number: int, path: Path) -> bytes:
    line = file.readline(LONGEST_LINE)
    if len(line) == LONGEST_LINE:
        raise RegardError(f"{path} is no file of word vectors: its line {number:,} is longer than a million bytes.")
    return line


def _text(file: BinaryIO, head: Head, wanted: set[bytes], path: Path) -> Iterator[tuple[bytes, np.ndarray]]:
    """The wanted words of a text file. A word with spaces in it, which GloVe has, is none that is asked for."""
    number = 1 if head.promised is None else 2
    lines = 0
    while line := _line(file, number, path):
        word = line.partition(b" ")[0]
        if word in wanted:
            fields = line.split()
            if len(fields) <= head.width:
                raise RegardError(f"{path} is damaged: line {number:,} has fewer than {head.width} numbers.")
            if len(fields) == head.width + 1:
                vector = _numbers(fields[1:])
                if vector is None:
                    raise RegardError(f"{path} is damaged: line {number:,} has something that is no number.")
                yield word, vector
        number += 1
        lines += bool(line.strip())
    if head.promised is not None and lines < head.promised:
        raise RegardError(f"{path} ends after {lines:,} of {head.promised:,} words: get it again.")


def _binary(file: BinaryIO, head: Head, wanted: set[bytes], path: Path) -> Iterator[tuple[bytes, np.ndarray]]:
    """The wanted words of a binary file."""
    assert head.promised is not None
    size = 4 * head.width
    buffer, at = b"", 0
    for number in range(head.promised):
        space = buffer.find(b" ", at)
        if space < 0 or len(buffer) < space + 1 + size:
            buffer, at = buffer[at:] + file.read(PIECE + size), 0
            space = buffer.find(b" ", at)
        if space - at > LONGEST_WORD or (space < 0 and len(buffer) > LONGEST_WORD):
            raise RegardError(f"{path} is damaged: word number {number + 1:,} is longer than {LONGEST_WORD:,} bytes.")
        if space < 0 or len(buffer) < space + 1 + size:
            raise RegardError(f"{path} ends after {number:,} of {head.promised:,} words: get it again.")
        word, at = buffer[at:space].lstrip(b"\n"), space + 1 + size
        if word in wanted:
            yield word, np.frombuffer(buffer, "<f4", head.width, space + 1)
