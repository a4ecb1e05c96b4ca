"""Ids → batches of tensors. A batch is a pure function of (seed, step): no state, no order in which to ask.

The n ids of a part give n − 1 pairs (input, next id), which stand in a circle. An epoch turns the circle by a random
offset and cuts it into windows of `context_length` pairs, taken in a random order; so an epoch shows every pair once
(but for fewer than a window's length of them), and no two epochs cut alike. Row r of step s is window number
s · batch_size + r of the endless row of epochs. The order is a keyed bijection, computed for the rows at hand alone.

Source   the bijection is a Feistel network over a · b ≥ windows, walked in cycles: Black & Rogaway 2002, "Ciphers with
         arbitrary finite domains", §4–5.
Cost     O(batch) time and memory whatever the size of the text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from regard.data.store import Part
from regard.seeds import derive_seed
from regard.settings import RegardError

IGNORE = -100
"""The target of a place where nothing is to be predicted."""


@dataclass(frozen=True)
class Batch:
    """Rows of ids and what comes next.

    inputs: [b t]. targets: [b t], `IGNORE` where nothing is to be predicted; or as the model's head asks.
    documents: [b t], the number of each input's document within its row, or None where rows are not divided;
    positions start anew where it changes. lengths: [b], the real length of each row, or None where all are full.
    target_count: how many targets are real, by which the sum of the losses is divided.
    source, source_lengths: what an encoder reads, ids [b s] or features [b s f], and the real length of each row.
    prefix: [b], how many words of each row a decoder sees from everywhere; None: it looks back only.
    segments: [b t], which of two texts each input belongs to. order: [b], what is to be said of their order.
    """

    inputs: Int64[Tensor, "b t"]
    targets: Tensor
    target_count: int
    documents: Int64[Tensor, "b t"] | None = None
    lengths: Int64[Tensor, " b"] | None = None
    source: Tensor | None = None
    source_lengths: Int64[Tensor, " b"] | None = None
    prefix: Int64[Tensor, " b"] | None = None
    segments: Int64[Tensor, "b t"] | None = None
    order: Int64[Tensor, " b"] | None = None

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device; the copy does not wait where memory is pinned."""

        def moved(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.to(device, non_blocking=True)

        inputs, targets = self.inputs.to(device, non_blocking=True), self.targets.to(device, non_blocking=True)
        rest = (self.documents, self.lengths, self.source, self.source_lengths, self.prefix, self.segments, self.order)
        return Batch(inputs, targets, self.target_count, *map(moved, rest))


class BatchSource(Protocol):
    """Where training takes its batches from."""

    def at(self, step: int, micro: int = 0, rank: int = 0, world: int = 1) -> Batch: ...


class EvaluationSource(Protocol):
    """What a model is evaluated on: so many batches, each by its number."""

    def __len__(self) -> int: ...

    def at(self, index: int) -> Batch: ...


@dataclass(frozen=True)
class Batches:
    """Endless training batches from one part of a store.

    batch_size: rows of a step, of all its micro-batches and ranks together. accumulate: micro-batches of a step.
    Raises `RegardError` where the text is shorter than one window or the rows do not divide evenly.
    """

    part: Part
    batch_size: int
    context_length: int
    seed: int = 0
    accumulate: int = 1
    separate_documents: bool = True

    def __post_init__(self) -> None:
        if self.pairs < self.context_length:
            raise RegardError(
                f"the {self.part.name} text has {len(self.part):,} tokens, and one window of context_length="
                f"{self.context_length} needs {self.context_length + 1:,}: give more text or a shorter context."
            )
        rows_of(self.batch_size, self.accumulate, 0, 0, 1)

    @property
    def pairs(self) -> int:
        return len(self.part) - 1

    @property
    def windows(self) -> int:
        """Windows in an epoch."""
        return self.pairs // self.context_length

    def epochs(self, steps: float) -> float:
        """How many epochs so many steps are."""
        return steps * self.batch_size / self.windows

    def at(self, step: int, micro: int = 0, rank: int = 0, world: int = 1) -> Batch:
        """The rows of micro-batch `micro` and of one of `world` ranks; together they are the step's batch."""
        rows = rows_of(self.batch_size, self.accumulate, micro, rank, world)
        return self._batch(self.starts(step * self.batch_size + rows.start, len(rows)))

    def starts(self, first: int, count: int) -> np.ndarray:
        """[count] the first pair of each of `count` windows of the endless row, from window number `first`."""
        starts = np.empty(count, dtype=np.int64)
        done = 0
        while done < count:
            epoch, at = divmod(first + done, self.windows)
            here = min(count - done, self.windows - at)
            offset = derive_seed(self.seed, "offset", epoch) % self.pairs
            order = permuted(
                np.arange(at, at + here, dtype=np.uint64), self.windows, derive_seed(self.seed, "order", epoch)
            )
            starts[done : done + here] = (order.astype(np.int64) * self.context_length + offset) % self.pairs
            done += here
        return starts

    def _batch(self, starts: np.ndarray) -> Batch:
        places = starts[:, None] + np.arange(self.context_length)
        if starts.max() + self.context_length > self.pairs:
            places %= self.pairs
        ids = self.part.ids
        documents = None
        if self.separate_documents and self.part.documents > 1:
            documents = torch.from_numpy(
                documents_of(self.part.starts, starts, self.context_length, self.pairs, turns=2)
            )
        inputs, targets = (torch.from_numpy(ids[places + shift].astype(np.int64)) for shift in (0, 1))
        return Batch(inputs, targets, targets.numel(), documents)


@dataclass(frozen=True)
class EvaluationBatches:
    """One part of a store from end to end: each token but the first is predicted exactly once, in windows that
    follow each other without overlap. The last row may be shorter; it is padded, with its length in `lengths`.

    limit: if given, only so many windows, spread evenly over the part: always the same ones.
    """

    part: Part
    batch_size: int
    context_length: int
    separate_documents: bool = True
    limit: int | None = None

    @property
    def windows(self) -> int:
        every = math.ceil((len(self.part) - 1) / self.context_length)
        return every if self.limit is None else min(every, self.limit)

    def __len__(self) -> int:
        """Batches in all."""
        return math.ceil(self.windows / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return (self.at(index) for index in range(len(self)))

    def at(self, index: int) -> Batch:
        """Batch number `index`; ranks may share them out as they like."""
        pairs, length = len(self.part) - 1, self.context_length
        every = math.ceil(pairs / length)
        chosen = np.arange(index * self.batch_size, min((index + 1) * self.batch_size, self.windows))
        starts = chosen * every // self.windows * length
        lengths = np.minimum(length, pairs - starts)
        places = starts[:, None] + np.arange(length)
        real = np.arange(length) < lengths[:, None]
        places[~real] = 0
        inputs = np.where(real, self.part.ids[places].astype(np.int64), 0)
        targets = np.where(real, self.part.ids[places + 1].astype(np.int64), IGNORE)
        documents = None
        if self.separate_documents and self.part.documents > 1:
            documents = torch.from_numpy(documents_of(self.part.starts, starts, length, pairs, turns=1))
        return Batch(
            torch.from_numpy(inputs),
            torch.from_numpy(targets),
            int(lengths.sum()),
            documents,
            None if real.all() else torch.from_numpy(lengths),
        )


def rows_of(batch_size: int, accumulate: int, micro: int, rank: int, world: int) -> range:
    """The rows of the step's batch that belong to one micro-batch and rank."""
    size, left = divmod(batch_size, accumulate * world)
    if left or size == 0:
        raise RegardError(
            f"a batch of {batch_size} rows does not divide evenly into {accumulate} micro-batches on {world} "
            f"process(es): take a multiple of {accumulate * world}."
        )
    first = (micro * world + rank) * size
    return range(first, first + size)


def documents_of(openings: np.ndarray, starts: np.ndarray, length: int, pairs: int, turns: int) -> np.ndarray:
    """[b t] number of the document that each place of each window lies in, counted from 0 in each row.

    openings: [documents] where documents start, increasing. starts: [b]. turns: 2 where windows may pass the end and
    go on at the beginning, in a new document; else 1.
    """
    marks = np.zeros((len(starts), length), dtype=np.int64)
    for turn in range(turns):
        first = starts - turn * pairs
        low = np.searchsorted(openings, first, side="right")  # at its own first place a window opens nothing
        high = np.searchsorted(openings, np.minimum(first + length, pairs), side="left")
        counts = high - low
        if counts.any():
            rows = np.repeat(np.arange(len(starts)), counts)
            which = np.arange(len(rows)) + np.repeat(low - np.cumsum(counts) + counts, counts)
            np.add.at(marks, (rows, openings[which] - first[rows]), 1)
    return np.cumsum(marks, axis=1)


def permuted(index: np.ndarray, size: int, key: int) -> np.ndarray:
    """Where a keyed random order of 0 … size − 1 puts each index: [n] uint64 → [n] uint64, without making the order."""
    a = np.uint64(math.isqrt(size - 1) + 1)
    b = np.uint64(-(-size // int(a)))  # a · b is at least `size`, and hardly more
    result = index.astype(np.uint64)
    outside = np.arange(len(index))
    while len(outside):  # what falls outside is sent on, until it falls inside: still a bijection
        left, right = result[outside] // b, result[outside] % b
        for turn in range(0, 6, 2):
            left = (left + _mix(right, key + turn)) % a
            right = (right + _mix(left, key + turn + 1)) % b
        result[outside] = left * b + right
        outside = outside[result[outside] >= size]
    return result


def _mix(x: np.ndarray, key: int) -> np.ndarray:
    """A 64-bit hash of each x: the output function of splitmix64 (Steele, Lea & Flood 2014), kept to 32 bits."""
    x = x + np.uint64((key * 0x9E3779B97F4A7C15) % 2**64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x ^ (x >> np.uint64(31))) >> np.uint64(32)
