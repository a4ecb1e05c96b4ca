"""Pairs → batches for an encoder–decoder: rows of about equal length, counted in tokens, not in sentences.

    source    x1 … xm end
    inputs    begin y1 … yn           the right shift: what the decoder has seen
    targets   y1 … yn end             what it is to write next (teacher forcing)

An epoch sorts the pairs by their longer side, in a random order among equals, and cuts them where `batch_tokens` are
full: that many tokens on the longer side, padding included. The cuts depend on the lengths alone, so every epoch has as
many batches; they come in a random order. A batch is a pure function of (seed, step).

Source   bucketing by length: Sutskever, Vinyals & Le 2014, arXiv:1409.3215, §3.4; batches of about as many tokens:
         Vaswani et al. 2017, arXiv:1706.03762, §5.1.
Cost     8 bytes a pair for the order of the epoch at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from regard.data.batches import IGNORE, Batch, permuted
from regard.data.pair_store import PairPart
from regard.seeds import derive_seed
from regard.settings import RegardError


def pair_batch(
    sources: Sequence[np.ndarray], targets: Sequence[np.ndarray], begin: int, end: int, width: int = 0
) -> Batch:
    """The batch of these rows: sources [m] with their end token, targets [n] without. `width`: at least so wide."""
    inputs = padded([np.concatenate([[begin], target]) for target in targets], 0, width)
    expected = padded([np.concatenate([target, [end]]) for target in targets], IGNORE, width)
    lengths = torch.tensor([len(target) + 1 for target in targets])
    return Batch(
        inputs,
        expected,
        int(lengths.sum()),
        lengths=None if bool((lengths == inputs.shape[1]).all()) else lengths,
        **source_rows(sources),
    )


def source_rows(sources: Sequence[np.ndarray]) -> dict[str, Tensor | None]:
    """`source` and `source_lengths` of a batch; None where no row is padded."""
    source = padded(sources, 0)
    lengths = torch.tensor([len(row) for row in sources])
    return {"source": source, "source_lengths": None if bool((lengths == source.shape[1]).all()) else lengths}


def padded(rows: Sequence[np.ndarray], value: int, width: int = 0) -> Tensor:
    """Rows of ids as one tensor [b t], padded on the right."""
    result = np.full((len(rows), max(width, max(map(len, rows), default=0))), value, dtype=np.int64)
    for place, row in enumerate(rows):
        result[place, : len(row)] = row
    return torch.from_numpy(result)


@dataclass(frozen=True)
class PairBatches:
    """Endless training batches from one part of a store of pairs.

    batch_tokens: of a step, of all its micro-batches and processes together, on the longer side; a pair that is longer
    than that makes a batch of its own. batch_size: or about so many pairs a step, never fewer where there are as many
    (give one of the two). begin, end: the tokens that a target begins and ends with. Raises `RegardError` where there
    are no pairs.
    """

    part: PairPart
    begin: int
    end: int
    batch_tokens: int | None = None
    batch_size: int = 64
    seed: int = 0
    accumulate: int = 1

    def __post_init__(self) -> None:
        if not len(self.part):
            raise RegardError(f"there are no pairs in the {self.part.name} part.")

    @cached_property
    def _longer(self) -> np.ndarray:
        """[pairs] tokens of the longer side, with the end token."""
        return np.maximum(self.part.source.lengths, self.part.target.lengths + 1)

    @cached_property
    def cuts(self) -> np.ndarray:
        """[batches + 1] where batches begin in the sorted row of pairs."""
        if self.batch_tokens is None:
            return np.linspace(0, len(self.part), max(1, len(self.part) // self.batch_size) + 1).astype(np.int64)
        cuts, start = [0], 0
        lengths = np.sort(self._longer)
        while start < len(lengths):
            # As many rows as fit: rows × the longest of them, which is the last.
            tokens = lengths[start : start + self.batch_tokens] * np.arange(
                1, min(self.batch_tokens, len(lengths) - start) + 1
            )
            start += max(1, int(np.searchsorted(tokens, self.batch_tokens, side="right")))
            cuts.append(start)
        return np.array(cuts)

    @property
    def batches(self) -> int:
        """Batches in an epoch."""
        return len(self.cuts) - 1

    def epochs(self, steps: float) -> float:
        """How many epochs so many steps are."""
        return steps / self.batches

    def at(self, step: int, micro: int = 0, rank: int = 0, world: int = 1) -> Batch:
        """Every n-th row of the step's batch, of n micro-batches and ranks together: parts of about equal work."""
        epoch, at = divmod(step, self.batches)
        which = int(permuted(np.array([at], dtype=np.uint64), self.batches, derive_seed(self.seed, "batch", epoch))[0])
        rows = self._order(epoch)[self.cuts[which] : self.cuts[which + 1]]
        first, every = micro * world + rank, self.accumulate * world
        chosen = rows[first::every]
        empty = len(chosen) == 0  # fewer pairs than parts: a part with nothing to predict
        chosen = rows[:1] if empty else chosen
        batch = pair_batch(*self._rows(chosen), self.begin, self.end)
        if empty:
            batch = Batch(
                batch.inputs, torch.full_like(batch.targets, IGNORE), 0, None, torch.zeros(1, dtype=torch.int64),
                batch.source, batch.source_lengths,
            )  # fmt: skip
        return batch

    def _rows(self, chosen: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        return [self.part.source.row(n) for n in chosen], [self.part.target.row(n) for n in chosen]

    def _order(self, epoch: int) -> np.ndarray:
        """[pairs] the pairs of an epoch, sorted by length, with the last order kept at hand."""
        kept = self.__dict__.get("_kept")
        if kept is not None and kept[0] == epoch:
            return np.asarray(kept[1])
        random = np.random.default_rng(derive_seed(self.seed, "order", epoch))
        if self.batch_tokens is None:
            order = random.permutation(len(self.part))
        else:
            # Among equals, those whose other side is about as long stand together, to within two tokens.
            shorter = np.minimum(self.part.source.lengths, self.part.target.lengths + 1)
            order = np.lexsort((shorter + random.uniform(-2, 2, len(self.part)), self._longer))
        self.__dict__["_kept"] = (epoch, order)
        return order


@dataclass(frozen=True)
class EvaluationPairs:
    """One part from end to end, each pair once, sorted by length so that little is padded.

    limit: if given, only so many pairs, spread evenly over the part: always the same ones.
    """

    part: PairPart
    begin: int
    end: int
    batch_tokens: int = 4096
    limit: int | None = None

    @cached_property
    def _batches(self) -> list[np.ndarray]:
        count = len(self.part) if self.limit is None else min(self.limit, len(self.part))
        chosen = np.arange(count) * len(self.part) // max(1, count)
        longer = np.maximum(self.part.source.lengths, self.part.target.lengths + 1)[chosen]
        order = np.argsort(longer, kind="stable")
        batches, start = [], 0
        for place in range(1, count + 1):
            if place == count or (place + 1 - start) * longer[order[place]] > self.batch_tokens:
                batches.append(chosen[order[start:place]])
                start = place
        return batches

    def __len__(self) -> int:
        """Batches in all."""
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        return (self.at(index) for index in range(len(self)))

    def at(self, index: int) -> Batch:
        rows = self._batches[index]
        sources = [self.part.source.row(n) for n in rows]
        return pair_batch(sources, [self.part.target.row(n) for n in rows], self.begin, self.end)
