"""Caches: what was seen so far, as an object that is passed, never hidden in a layer.

A `Cache` has one entry a layer (two where a decoder also reads an encoder) and the number of tokens that each row
has seen. Only the stack advances it. Row b's next token goes to slot lengths[b], so rows of unequal length stand
without padding between their tokens, and a slot is a position.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.settings import RegardError


class Entry:
    """What one layer keeps. Rows are sentences; all operations work on whole rows."""

    def gather(self, rows: Int[Tensor, "n"]) -> None:
        """Keep these rows, in this order; a row may be named many times (beams) or never."""
        raise NotImplementedError

    def reset(self, rows: Int[Tensor, "n"]) -> None:
        """Forget what these rows hold."""
        raise NotImplementedError

    def snapshot(self) -> Any:
        """What `rollback` needs to come back to this moment."""
        raise NotImplementedError

    def rollback(self, snapshot: Any) -> None:
        raise NotImplementedError

    @property
    def bytes(self) -> int:
        """Memory held, in bytes."""
        raise NotImplementedError


class KeysValues(Entry):
    """Keys and values of the tokens seen, [b g s e] and [b g s n]; preallocated to `capacity` slots (None: grown)."""

    def __init__(self, capacity: int | None = None) -> None:
        self.capacity = capacity
        self.k: Float[Tensor, "b g s e"] | None = None
        self.v: Float[Tensor, "b g s n"] | None = None
        self.used = 0  # no slot from here on was written
        self.spare: tuple[Tensor, Tensor] | None = None

    def append(
        self,
        k: Float[Tensor, "b g t e"],
        v: Float[Tensor, "b g t n"],
        slots: Int[Tensor, "#b t"],
        reach: int,
        even: bool,
    ) -> tuple[Float[Tensor, "b g s e"], Float[Tensor, "b g s n"]]:
        """Put the new keys and values into their slots; give back the first `reach` slots of all.

        `even` says that every row writes the same slots, which then end at `reach`: a plain slice.
        """
        if self.k is None or self.v is None:
            room = self.capacity or reach
            self.k = k.new_zeros(*k.shape[:2], room, k.shape[3])
            self.v = v.new_zeros(*v.shape[:2], room, v.shape[3])
        elif reach > self.k.shape[2]:
            # Doubling keeps the copying of a long text linear in its length.
            more, self.spare = max(reach, 2 * self.k.shape[2]) - self.k.shape[2], None
            self.k = torch.cat([self.k, self.k.new_zeros(*self.k.shape[:2], more, self.k.shape[3])], dim=2)
            self.v = torch.cat([self.v, self.v.new_zeros(*self.v.shape[:2], more, self.v.shape[3])], dim=2)
        self.used = max(self.used, reach)
        if even:
            self.k[:, :, reach - k.shape[2] : reach] = k
            self.v[:, :, reach - v.shape[2] : reach] = v
        else:
            rows = torch.arange(k.shape[0], device=k.device)[:, None]
            self.k[rows, :, slots] = k.transpose(1, 2)
            self.v[rows, :, slots] = v.transpose(1, 2)
        return self.k[:, :, :reach], self.v[:, :, :reach]

    def gather(self, rows: Int[Tensor, "n"]) -> None:
        if self.k is None or self.v is None:
            return
        old = self.k, self.v
        if torch.is_grad_enabled() or len(rows) != len(self.k):
            self.k, self.v = (x.index_select(0, rows) for x in old)
            self.spare = None
            return
        # Beams change places at each step: two buffers in turn, and only the slots in use.
        self.k, self.v = self.spare or (torch.zeros_like(self.k), torch.zeros_like(self.v))
        self.spare = old
        for new, x in zip((self.k, self.v), old, strict=True):
            torch.index_select(x[:, :, : self.used], 0, rows, out=new[:, :, : self.used])

    def reset(self, rows: Int[Tensor, "n"]) -> None:
        """Nothing to do: a slot beyond a row's length is never seen before it is written again."""

    def snapshot(self) -> None:
        return None

    def rollback(self, snapshot: None) -> None:
        """Nothing to do, as in `reset`: the cache sets the lengths back."""

    @property
    def bytes(self) -> int:
        held = (self.k, self.v, *(self.spare or ()))
        return sum(x.numel() * x.element_size() for x in held if x is not None)


class State(Entry):
    """A state of constant size: a few tensors [b …] that hold all that a recurrence knows of the tokens seen.

    None until the first step; a row of zeros has seen nothing. Steps write new tensors and never change old ones, so a
    snapshot is free.
    """

    def __init__(self) -> None:
        self.tensors: tuple[Tensor, ...] | None = None

    def write(self, *tensors: Tensor) -> None:
        self.tensors = tensors

    def gather(self, rows: Int[Tensor, "n"]) -> None:
        if self.tensors is not None:
            self.tensors = tuple(x.index_select(0, rows) for x in self.tensors)

    def reset(self, rows: Int[Tensor, "n"]) -> None:
        if self.tensors is not None:
            self.tensors = tuple(x.index_fill(0, rows, 0) for x in self.tensors)

    def snapshot(self) -> tuple[Tensor, ...] | None:
        return self.tensors

    def rollback(self, snapshot: tuple[Tensor, ...] | None) -> None:
        self.tensors = snapshot

    @property
    def bytes(self) -> int:
        return sum(x.numel() * x.element_size() for x in self.tensors or ())


class Memory(State):
    """What a layer keeps of an encoder's output, as keys and values or as a state: written once, by the first step."""

    def write(self, *tensors: Tensor) -> None:
        """In the order in which each step reads them."""
        self.tensors = tuple(x.contiguous() for x in tensors)

    def reset(self, rows: Int[Tensor, "n"]) -> None:
        raise RegardError("a row that reads an encoder cannot be reset alone: make a new cache for the new source.")


class Cache:
    """What a decoder has seen: `lengths` tokens of each row, and an entry for each layer.

    `limit` is the context that the model can hold (None: no limit); going past it is refused.
    """

    def __init__(self, batch: int, entries: list[Entry], memories: list[Memory], device: Any = None) -> None:
        self.entries, self.memories = entries, memories
        self.lengths: Int[Tensor, "b"] = torch.zeros(batch, dtype=torch.long, device=device)
        self.longest = 0  # no row is longer; known without asking the device
        self.even = True  # all rows are `longest` long, which allows cheap slices

    def advance(self, counts: Int[Tensor, "b"] | None, t: int) -> None:
        """Each row has seen `counts` more tokens (None: all t of them). Only the stack calls this."""
        self.lengths = self.lengths + (t if counts is None else counts)
        self.longest += t
        if counts is not None:
            self.settle()

    def settle(self) -> None:
        """Measure the rows again, after an operation that may have changed the longest one."""
        lengths = self.lengths.tolist()
        self.longest = max(lengths, default=0)
        self.even = min(lengths, default=0) == self.longest

    def gather(self, rows: Int[Tensor, "n"]) -> None:
        """Keep these rows, in this order."""
        self.reorder(rows)
        self.read_on(rows)

    def reorder(self, rows: Int[Tensor, "n"]) -> None:
        """Keep these rows of what was written; the sources stay. Neighbours may so share the source they read."""
        self.lengths = self.lengths.index_select(0, rows)
        for entry in self.entries:
            entry.gather(rows)
        if not self.even:
            self.settle()

    def read_on(self, sources: Int[Tensor, "n"]) -> None:
        """Keep these sources, in this order, and what was written as it is."""
        for memory in self.memories:
            memory.gather(sources)

    def reset(self, rows: Int[Tensor, "n"]) -> None:
        """Make these rows empty, for other sentences."""
        self.lengths = self.lengths.index_fill(0, rows, 0)
        for entry in (*self.entries, *self.memories):
            entry.reset(rows)
        self.settle()

    def snapshot(self) -> tuple[Int[Tensor, "b"], list[Any]]:
        """This moment, for `rollback`. Valid until rows are gathered or reset."""
        return self.lengths.clone(), [entry.snapshot() for entry in self.entries]

    def rollback(self, snapshot: tuple[Int[Tensor, "b"], list[Any]]) -> None:
        """Forget what was seen since the snapshot."""
        lengths, moments = snapshot
        self.lengths = lengths.clone()
        for entry, moment in zip(self.entries, moments, strict=True):
            entry.rollback(moment)
        self.settle()

    @property
    def bytes(self) -> int:
        return sum(entry.bytes for entry in (*self.entries, *self.memories))
