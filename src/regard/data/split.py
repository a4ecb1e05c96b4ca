"""Which documents, or which part of the text, are kept apart for validation, and the settings that say so."""

from __future__ import annotations

import bisect
import itertools
import math
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Literal, NamedTuple

from pydantic import Field

from regard.data.base import Data
from regard.data.charset import Encoding
from regard.data.formats import Format, Piece, Reading
from regard.data.sources import each, pieces
from regard.seeds import derive_seed

Say = Callable[[str], None]

FEW = 10
"""Documents of which a validation part consists at least; else it is the last part of the text, wherever it is cut."""


class TextData(Data, kind="text"):
    """Where the text comes from and how it is cut."""

    source: tuple[str, ...] = ("builtin:python-docs",)
    """Files, folders, `-`, `hf:…` or `builtin:…` (see `regard.data.sources`)."""
    validation_fraction: float = Field(default=0.1, ge=0, lt=1)
    """The part that is kept apart: one document of every 1/fraction, drawn by `split_seed`. Where that would be fewer
    than ten documents, the last part of the text."""
    split_seed: int = 0
    column: str = "auto"
    """Where the text stands in JSONL, CSV, TSV, Parquet and Hugging Face sets."""
    format: Format = "auto"
    """How files are read; `auto` goes by their names."""
    separator: str = "none"
    """What stands between documents in plain text: `none` (a file is one document), `line`, `paragraph`, any text."""
    encoding: Encoding = "auto"
    """How letters are written as bytes, such as `gb18030`; `auto` is UTF-8, else what the file itself suggests."""
    on_invalid: Literal["error", "replace"] = "error"
    """Invalid bytes: stop with its place, or read it as U+FFFD and say how often."""
    separate_documents: bool = True
    """Whether documents that share a window are kept apart in attention and positions."""

    def reading(self, say: Say = lambda message: None) -> Reading:
        return Reading(self.column, self.format, self.separator, self.on_invalid, say, self.encoding)


class Stretch(NamedTuple):
    """A document, or what of it belongs to one part. `opens`, `closes`: whether its ends are the document's own."""

    part: int
    opens: bool
    closes: bool
    text: Iterator[str]


def kept_apart(fraction: Fraction, seed: int) -> Iterator[int]:
    """The numbers, from 0, of the documents for validation: by lot, one of each run of about 1/fraction documents."""
    for run in itertools.count():
        start = -(-run * fraction.denominator // fraction.numerator)
        end = -(-(run + 1) * fraction.denominator // fraction.numerator)
        yield start + derive_seed(seed, "validation", run) % (end - start)


def stretches(config: TextData, say: Say) -> Iterator[Stretch]:
    """The documents of a source in order, each with the part that it belongs to. Raises `RegardError`."""
    if config.validation:
        for part, source in enumerate((config.source, config.validation)):
            for text in each(pieces(source, config.reading(say))):
                yield Stretch(part, True, True, text)
        return
    fraction = Fraction(config.validation_fraction).limit_denominator(10**6)
    ends = _ends_if_few(config, fraction)
    if not ends:
        apart = kept_apart(fraction, config.split_seed) if fraction else iter(())
        drawn = next(apart, -1)
        for number, text in enumerate(each(pieces(config.source, config.reading(say)))):
            yield Stretch(int(number == drawn), True, True, text)
            if number == drawn:
                drawn = next(apart)
        return
    cut = math.floor(ends[-1] * (1 - fraction))
    last = bisect.bisect_left(ends, cut)  # the document that the train part ends with, or in
    whole = ends[last] == cut
    for number, text in enumerate(each(_characters(pieces(config.source, config.reading()), 0, cut))):
        yield Stretch(0, True, number < last or whole, text)
    for number, text in enumerate(each(_characters(pieces(config.source, config.reading(say)), cut))):
        yield Stretch(1, number > 0 or whole, True, text)


def _ends_if_few(config: TextData, fraction: Fraction) -> list[int]:
    """Where each document ends, in characters, if fewer than `FEW` would be kept apart; else nothing.

    So much is read ahead only: many documents are recognised early, and few are read twice.
    """
    ends: list[int] = []
    total = 0
    for piece in pieces(config.source, config.reading()):
        if len(ends) * fraction >= FEW or not fraction:
            return []
        total += len(piece.text)
        if piece.last:
            ends.append(total)
    return ends if len(ends) * fraction < FEW else []


def _characters(stream: Iterator[Piece], start: int, end: int = sys.maxsize) -> Iterator[Piece]:
    """The characters from `start` to `end` of a stream of documents; the document at hand ends there, too."""
    at = 0
    for text, last in stream:
        after = at + len(text)
        kept = text[max(0, start - at) : end - at]
        if kept or (at > start and text == ""):
            yield Piece(kept, last or after >= end)
        if after >= end:
            return
        at = after
