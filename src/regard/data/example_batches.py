"""Examples → batches for an encoder: rows of about equal length, so that little is padded.

An epoch draws an order of all examples, cuts it into pools of `POOL` batches, sorts each pool by length, and cuts it
into batches, which come in a random order. So an epoch shows every example once, the batches of an epoch differ in size
by one at most, and which examples meet is drawn anew each time. A batch is a pure function of (seed, step).

For pairs (`together=2`) the batch holds the first text of each example and then all second ones, and the target of
row n is the row of its second text: what others of the batch hold is what it is told apart from.

Source   bucketing by length: Sutskever, Vinyals & Le 2014, arXiv:1409.3215, §3.4.
Cost     8 bytes a row for the order of the epoch at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from regard.data.batches import IGNORE, Batch
from regard.data.example_store import ExamplePart
from regard.data.pair_batches import padded
from regard.seeds import derive_seed
from regard.settings import RegardError

POOL = 32
"""Batches that are sorted together: of fewer, more is padding; of many, lengths and not chance choose who meets."""


def example_batch(part: ExamplePart, rows: np.ndarray, segments: bool, together: int = 1) -> Batch:
    """The batch of these rows; with `together` 2, of these examples of two rows each."""
    count = len(rows)
    if together > 1:
        rows = np.concatenate([rows * together + place for place in range(together)])
    inputs = [part.row(n) for n in rows]
    lengths = torch.tensor([len(row) for row in inputs])
    if together > 1:
        targets = torch.full((len(rows),), IGNORE)
        targets[:count] = torch.arange(count, 2 * count)
        real = count
    elif part.shape.width < 0:
        targets = padded([part.target(n) for n in rows], IGNORE)
        real = int((targets != IGNORE).sum())
    else:
        targets = torch.from_numpy(np.stack([part.target(n) for n in rows]))
        real = count
    ids = padded(inputs, 0)
    return Batch(
        ids,
        targets,
        real,
        lengths=None if bool((lengths == ids.shape[1]).all()) else lengths,
        segments=padded([part.segments_of(n) for n in rows], 0) if segments else None,
    )


@dataclass(frozen=True)
class ExampleBatches:
    """Endless training batches from one part of a store of examples.

    batch_size: examples of a step, of all its micro-batches and processes together. segments: whether the model is
    told them. together: rows of an example. Raises `RegardError` where there are no examples.
    """

    part: ExamplePart
    batch_size: int
    seed: int = 0
    accumulate: int = 1
    segments: bool = False
    together: int = 1

    def __post_init__(self) -> None:
        if not len(self.part):
            raise RegardError(f"there are no examples in the {self.part.name} part.")

    @property
    def examples(self) -> int:
        """Examples in an epoch."""
        return len(self.part) // self.together

    @property
    def batches(self) -> int:
        """Batches in an epoch."""
        return -(-self.examples // self.batch_size)

    def epochs(self, steps: float) -> float:
        """How many epochs so many steps are."""
        return steps / self.batches

    def at(self, step: int, micro: int = 0, rank: int = 0, world: int = 1) -> Batch:
        """Every n-th example of the step's batch, of n micro-batches and ranks together: parts of about equal work."""
        epoch, at = divmod(step, self.batches)
        order, cuts, turns = self._order(epoch)
        which = int(turns[at])
        chosen = order[cuts[which] : cuts[which + 1]]
        own = chosen[micro * world + rank :: self.accumulate * world]
        if len(own):
            return example_batch(self.part, own, self.segments, self.together)
        # Fewer examples than parts: a part with nothing to learn from.
        batch = example_batch(self.part, chosen[:1], self.segments, self.together)
        nothing = float("nan") if batch.targets.is_floating_point() else IGNORE
        empty = torch.full_like(batch.targets, nothing)
        return Batch(batch.inputs, empty, 0, lengths=batch.lengths, segments=batch.segments)

    def _order(self, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The examples of an epoch, sorted by length within pools; where batches begin in it; and the order of these.

        The last epoch's is kept at hand.
        """
        kept = self.__dict__.get("_kept")
        if kept is not None and kept[0] == epoch:
            return kept[1]
        random = np.random.default_rng(derive_seed(self.seed, "examples", epoch))
        cuts = np.linspace(0, self.examples, self.batches + 1).astype(np.int64)
        order = random.permutation(self.examples)
        for first in range(0, self.batches, POOL):
            pool = slice(cuts[first], cuts[min(first + POOL, self.batches)])
            order[pool] = order[pool][np.argsort(self._longest[order[pool]], kind="stable")]
        found = (order, cuts, random.permutation(self.batches))
        self.__dict__["_kept"] = (epoch, found)
        return found

    @cached_property
    def _longest(self) -> np.ndarray:
        """[examples] tokens of the longest row of each."""
        return self.part.lengths.reshape(-1, self.together).max(1)


@dataclass(frozen=True)
class EvaluationExamples:
    """One part from end to end, each example once, sorted by length so that little is padded.

    limit: if given, only so many examples, spread evenly over the part: always the same ones.
    """

    part: ExamplePart
    batch_size: int = 32
    segments: bool = False
    together: int = 1
    limit: int | None = None

    @cached_property
    def rows(self) -> list[np.ndarray]:
        """The examples of each batch, by their number."""
        count = len(self.part) // self.together
        taken = count if self.limit is None else min(self.limit, count)
        chosen = np.arange(taken) * count // max(1, taken)
        longest = self.part.lengths.reshape(-1, self.together).max(1)[chosen]
        order = chosen[np.argsort(longest, kind="stable")]
        return [order[first : first + self.batch_size] for first in range(0, taken, self.batch_size)]

    def __len__(self) -> int:
        """Batches in all."""
        return len(self.rows)

    def __iter__(self) -> Iterator[Batch]:
        return (self.at(index) for index in range(len(self)))

    def at(self, index: int) -> Batch:
        return example_batch(self.part, self.rows[index], self.segments, self.together)
