"""Rows of text for an encoder: [CLS] … [SEP], or [CLS] first [SEP] second [SEP] with what is to be said of their order.

A row is a window of the text, drawn as in `batches.py`: a function of (seed, step) alone. Documents in one window do
not see each other. A row of two texts stays within one document: it is cut at the end of a sentence or a line where
there is one, and then

    next     in half of the rows the second part comes from elsewhere; of another document where there are several
    order    in half of the rows the two parts change places

Source   Devlin et al. 2018, arXiv:1810.04805, §3.1 (next); Lan et al. 2019, arXiv:1909.11942, §3.1 (order).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from regard.data.batches import IGNORE, Batch, Batches, documents_of, rows_of
from regard.data.masks import Pieces
from regard.data.store import Part
from regard.seeds import derive_seed
from regard.settings import RegardError
from regard.text.frame import Frame, Framed

Second = Literal["none", "next", "order"]


@dataclass(frozen=True)
class Rows:
    """Windows of a part of a store, framed.

    context_length: of a row, all that stands around the text included. pad: the id that fills up short rows.
    """

    part: Part
    frame: Frame
    pieces: Pieces
    context_length: int
    second: Second = "none"
    pad: int = 0
    separate_documents: bool = True

    @property
    def room(self) -> int:
        """Pieces of text in a row."""
        room = self.context_length - self.frame.added(self.second != "none")
        if room < 2:
            raise RegardError(f"rows of {self.context_length} tokens have no room for text: raise context_length.")
        return room

    def batch(self, starts: np.ndarray, keys: np.ndarray) -> Batch:
        """A row from each place of the text [b]; its own draws are a function of its key [b]."""
        made = [self._row(int(start), int(key)) for start, key in zip(starts, keys, strict=True)]
        lengths = np.array([len(row.ids) for row, _, _ in made])
        inputs = np.full((len(made), self.context_length), self.pad, np.int64)
        segments = np.zeros_like(inputs)
        documents = np.zeros_like(inputs)
        for at, (row, own, _) in enumerate(made):
            inputs[at, : len(row.ids)], segments[at, : len(row.ids)] = row.ids, row.segments
            documents[at, row.first.start : row.first.start + len(own)] = own
            documents[at, row.first.start + len(own) :] = own[-1] if len(own) else 0
        real = np.arange(self.context_length) < lengths[:, None]
        order = None if self.second == "none" else torch.tensor([order for _, _, order in made])
        return Batch(
            torch.from_numpy(inputs),
            torch.from_numpy(np.where(real, inputs, IGNORE)),
            int(lengths.sum()),
            torch.from_numpy(documents) if documents.any() else None,
            None if real.all() and self.second == "none" else torch.from_numpy(lengths),
            segments=torch.from_numpy(segments),
            order=order,
        )

    def _row(self, start: int, key: int) -> tuple[Framed, np.ndarray, int]:
        """A row, the document of each of its pieces where there may be several, and its order (−100: not known)."""
        nothing = np.zeros(0, np.int64)
        if self.second == "none":
            ids = self._from(start, len(self.part))
            if not self.separate_documents or self.part.documents < 2:
                return self.frame.join(ids), nothing, IGNORE
            own = documents_of(self.part.starts, np.array([start]), len(ids), len(self.part), turns=1)[0]
            return self.frame.join(ids), own, IGNORE
        random = np.random.default_rng(key)
        number, end = self._document(start)
        ids = self._from(start, end)
        if len(ids) < 2:
            return self.frame.join(ids), nothing, IGNORE
        cut = self._cut(ids, random)
        first, second, turned = ids[:cut], ids[cut:], int(random.random() < 0.5)
        if turned and self.second == "order":
            first, second = second, first
        elif turned:
            second = self._elsewhere(number, start, len(second), random)
        return self.frame.join(first, second, self.context_length), nothing, turned

    def _from(self, start: int, end: int) -> np.ndarray:
        return self.part.ids[start : min(start + self.room, end)].astype(np.int64)

    def _document(self, place: int) -> tuple[int, int]:
        """The number of the document that a place is in, and where that ends."""
        number = max(0, int(np.searchsorted(self.part.starts, place, side="right")) - 1)
        return number, int(self.part.starts[number + 1]) if number + 1 < self.part.documents else len(self.part)

    def _cut(self, ids: np.ndarray, random: np.random.Generator) -> int:
        """Behind the end of a sentence or of a line; anywhere where there is none."""
        ends = np.flatnonzero(self.pieces.ends[ids[:-1]]) + 1
        return int(random.choice(ends)) if len(ends) else int(random.integers(1, len(ids)))

    def _elsewhere(self, number: int, start: int, length: int, random: np.random.Generator) -> np.ndarray:
        """About as many pieces from another document; of a single document, from beyond the window."""
        if self.part.documents > 1:
            other = int(random.integers(self.part.documents - 1))
            other += other >= number
            begin = int(self.part.starts[other])
            end = self._document(begin)[1]
            place = int(random.integers(begin, max(begin + 1, end - length)))
        else:
            away = max(1, len(self.part) - 2 * self.room)
            place = (start + self.room + int(random.integers(away))) % len(self.part)
            end = len(self.part)
            if end - place < length:
                place = max(0, end - length)
        return self.part.ids[place : min(place + length, end)].astype(np.int64)


@dataclass(frozen=True)
class MaskedBatches:
    """Endless training batches. batch_size: rows of a step, of all its micro-batches and ranks together."""

    rows: Rows
    batch_size: int
    seed: int = 0
    accumulate: int = 1
    _windows: Batches = field(init=False, repr=False)

    def __post_init__(self) -> None:
        room = min(self.rows.room, max(1, len(self.rows.part) - 1))
        windows = Batches(self.rows.part, self.batch_size, room, self.seed, self.accumulate)
        object.__setattr__(self, "_windows", windows)

    @property
    def context_length(self) -> int:
        return self.rows.context_length

    def epochs(self, steps: float) -> float:
        """How many epochs so many steps are."""
        return self._windows.epochs(steps)

    def at(self, step: int, micro: int = 0, rank: int = 0, world: int = 1) -> Batch:
        own = rows_of(self.batch_size, self.accumulate, micro, rank, world)
        first = step * self.batch_size + own.start
        keys = np.array([derive_seed(self.seed, "row", first + row) for row in range(len(own))])
        return self.rows.batch(self._windows.starts(first, len(own)), keys)


@dataclass(frozen=True)
class MaskedEvaluation:
    """A part from end to end, in rows that follow each other; always the same. limit: only so many, spread evenly."""

    rows: Rows
    batch_size: int
    limit: int | None = None

    @property
    def windows(self) -> int:
        every = math.ceil(len(self.rows.part) / self.rows.room)
        return every if self.limit is None else min(every, self.limit)

    def __len__(self) -> int:
        return math.ceil(self.windows / self.batch_size)

    def at(self, index: int) -> Batch:
        every = math.ceil(len(self.rows.part) / self.rows.room)
        chosen = np.arange(index * self.batch_size, min((index + 1) * self.batch_size, self.windows))
        keys = np.array([derive_seed(0, "row of evaluation", int(row)) for row in chosen])
        return self.rows.batch(chosen * every // self.windows * self.rows.room, keys)
