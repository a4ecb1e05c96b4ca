"""Where a long document may be cut so that its ids stay the same: places where every pre-tokenizer splits.

A document is encoded segment by segment. A segment ends at the first safe place after `TARGET` characters; where
none comes within `LIMIT`, it ends there, so that a word of a gigabyte costs bounded memory. The places depend on
the document alone, not on how it arrives, so encoding its parts as they come equals encoding it whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

TARGET = 1 << 16
LIMIT = 1 << 20

ANYWHERE = re.compile("")

# No pre-token of BERT, Metaspace, GPT-2, cl100k or o200k holds a character followed by a space,
# and none of them looks behind itself.
SPACES = re.compile(r"(?<=\S)(?= )")

# The patterns of the byte-level tokenizers also end a run of letters or digits at these marks (Chinese has no
# spaces), and a run of letters at a digit (base64 has none either).
CLASSES = re.compile(r"(?<=\S)(?= )|(?<=[^\W_])(?=[，。、！？；：「」（）])|(?<=[A-Za-z])(?=[0-9])")


def segments(pieces: Iterable[str], boundary: re.Pattern[str] | None) -> Iterator[str]:
    """The document that the `pieces` spell, cut at safe places; `boundary` None means that no place is known to be."""
    if boundary is None:
        whole = "".join(pieces)
        if whole:
            yield whole
        return
    held, position = "", 0
    for piece in _grouped(pieces):
        held, position = held[position:] + piece, 0
        while (cut := _cut(held, position, boundary)) is not None:
            yield held[position:cut]
            position = cut
    if position < len(held):
        yield held[position:]


def _cut(text: str, start: int, boundary: re.Pattern[str]) -> int | None:
    """Where the segment that begins at `start` ends, or None if that depends on what comes after `text`."""
    if len(text) - start <= TARGET:
        return None
    found = boundary.search(text, start + TARGET, start + LIMIT + 1)
    if found is not None and found.start() <= start + LIMIT and found.start() < len(text):
        return found.start()
    return start + LIMIT if len(text) - start > LIMIT else None


def _grouped(pieces: Iterable[str]) -> Iterator[str]:
    """The same text in pieces of at least `TARGET` characters, so that a thousand tiny ones are joined once."""
    group: list[str] = []
    size = 0
    for piece in pieces:
        group.append(piece)
        size += len(piece)
        if size >= TARGET:
            yield "".join(group)
            group, size = [], 0
    if size:
        yield "".join(group)
