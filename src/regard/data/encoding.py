"""Documents → blocks of ids, by threads, in the order of the text and in bounded memory.

A document is cut into segments where this changes no id; segments are gathered into batches of about equal work, and
each batch is encoded by a thread, since tokenizers let go of Python's lock.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from regard.data.split import Say, TextData, stretches
from regard.settings import RegardError

PARTS = ("train", "validation")
BATCH = 1 << 18
"""Characters that are handed to a thread at once."""


class Encoder(Protocol):
    """What a store needs of a tokenizer.

    opening: the id that a document starts with: a begin token, or the end token of the one before it; None where there
    is neither. end: the id that ends a document, or None. segments: cuts a document, given in pieces, where this
    changes no id.
    """

    @property
    def vocab_size(self) -> int: ...
    @property
    def opening(self) -> int | None: ...
    @property
    def end(self) -> int | None: ...
    @property
    def fingerprint(self) -> str: ...
    def segments(self, pieces: Iterable[str]) -> Iterator[str]: ...
    def encode_batch(self, texts: list[str]) -> list[np.ndarray]: ...


class Segment(NamedTuple):
    """Text that is encoded on its own."""

    part: int
    text: str
    opens: bool
    closes: bool


@dataclass
class Block:
    """What a batch of segments gives one part. openings: offsets in `ids` of documents' first ids."""

    ids: list[np.ndarray] = field(default_factory=list)
    openings: list[int] = field(default_factory=list)
    size: int = 0
    bytes: int = 0
    characters: int = 0

    def add(self, ids: np.ndarray) -> None:
        self.ids.append(ids)
        self.size += len(ids)


def width(vocab_size: int) -> str:
    """The kind of integer that holds every id: uint16, or uint32. Raises `RegardError`."""
    if not 0 < vocab_size <= 2**32:
        raise RegardError(f"a vocabulary of {vocab_size} ids does not fit the store's integers (at most 2³²).")
    return "uint16" if vocab_size <= 2**16 else "uint32"


def blocks(config: TextData, tokenizer: Encoder, workers: int, say: Say) -> Iterator[list[Block]]:
    """The ids of a text, a block for each part at a time, in order; the same for any number of threads."""
    batches = _batches(_segments(config, tokenizer, say))
    if workers == 1:
        yield from (_encode(batch, tokenizer) for batch in batches)
        return
    under_way: deque[Future[list[Block]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="encode")
    try:
        for batch in batches:
            under_way.append(pool.submit(_encode, batch, tokenizer))
            if len(under_way) >= 2 * workers:  # two a thread at most, so that memory is bounded
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _segments(config: TextData, tokenizer: Encoder, say: Say) -> Iterator[Segment]:
    for part, opens, closes, text in stretches(config, say):
        held, after = next(text, ""), next(text, None)
        if after is not None:  # a long document; `encode_batch` cuts the others itself
            segments = tokenizer.segments(itertools.chain([held, after], text))
            held = next(segments)
            for segment in segments:  # one behind, so that the last segment is known
                yield Segment(part, held, opens, False)
                held, opens = segment, False
        yield Segment(part, held, opens, closes)


def _batches(segments: Iterator[Segment]) -> Iterator[list[Segment]]:
    batch: list[Segment] = []
    size = 0
    for segment in segments:
        batch.append(segment)
        size += len(segment.text) + 64  # a thousand empty lines are work, too
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _encode(batch: list[Segment], tokenizer: Encoder) -> list[Block]:
    encoded = tokenizer.encode_batch([segment.text for segment in batch])
    own = tokenizer.opening if tokenizer.opening != tokenizer.end else None  # else an end token opens what follows it
    begin, end = (np.array([] if one is None else [one], dtype=np.uint32) for one in (own, tokenizer.end))
    made = [Block() for _ in PARTS]
    for (part, text, opens, closes), ids in zip(batch, encoded, strict=True):
        block = made[part]
        if opens:
            block.openings.append(block.size)
            block.add(begin)
        block.add(ids)
        if closes:
            block.add(end)
        block.bytes += len(text) if text.isascii() else len(text.encode())
        block.characters += len(text)
    kind = np.dtype(width(tokenizer.vocab_size)).newbyteorder("<")
    for block in made:
        if block.ids:
            ids = np.concatenate(block.ids)
            if len(ids) and ids.max() >= tokenizer.vocab_size:
                raise RegardError(
                    f"the tokenizer gave the id {ids.max()}, but its vocabulary has only {tokenizer.vocab_size}: "
                    "it is damaged; learn or load it again."
                )
            block.ids = [ids.astype(kind)]
    return made
