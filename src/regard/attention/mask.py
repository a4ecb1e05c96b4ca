"""Masks: who may look at whom, as a small expression instead of a tensor.

    mask = Causal() & Padding(lengths) & Documents(ids)

True means *may attend*. Tokens are known by their slot, their place in the row counted from 0; a mask says which
slots s a slot t may see. Parts are joined with `&` and `|`, and a mechanism asks for the views it understands
(`is_causal`, `lengths`, `documents`, `dense`). Positions derive from the mask too, so the side of the padding cannot
change an answer. What a layer may see of that by position is its `Pattern`.
"""

from __future__ import annotations

from copy import copy

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from regard.attention.pattern import Full, Pattern, Window
from regard.positions import Places


class Mask:
    """An expression. Everything may see everything, unless a subclass says less."""

    def allowed(self, q: Int[Tensor, "#b t 1"], k: Int[Tensor, "#b 1 s"]) -> Bool[Tensor, "#b t s"] | None:
        """Whether slot q may see slot k; None where it always may."""
        return None

    def __and__(self, other: Mask) -> Mask:
        parts = tuple(part for part in (*self.parts, *other.parts) if type(part) is not Mask)
        return And(parts) if len(parts) > 1 else parts[0] if parts else Mask()

    def __or__(self, other: Mask) -> Mask:
        return Or((self, other))

    @property
    def parts(self) -> tuple[Mask, ...]:
        """What must hold together: the terms of an `&`, or the mask alone."""
        return (self,)

    @property
    def is_causal(self) -> bool:
        """Whether no slot sees a later one."""
        return any(isinstance(part, Causal) for part in self.parts)

    @property
    def lengths(self) -> Int[Tensor, "b"] | None:
        """How many real tokens each row has, or None where no padding is known."""
        return next((part.lengths_ for part in self.parts if isinstance(part, Padding)), None)

    @property
    def padding(self) -> Padding | None:
        return next((part for part in self.parts if isinstance(part, Padding)), None)

    @property
    def prefix(self) -> Int[Tensor, "b"] | None:
        """How many tokens of each row are seen from everywhere, or None."""
        return next((part.tokens for part in self.parts if isinstance(part, Prefix)), None)

    @property
    def documents(self) -> Int[Tensor, "b s"] | None:
        """A number for each slot, equal within a document, or None."""
        return next((part.ids for part in self.parts if isinstance(part, Documents)), None)

    def backwards(self) -> Mask:
        """The same for a decoder: each slot sees what came before, and the prefix where the mask has one."""
        start = self.padding.start if self.padding is not None else None
        look = Causal() if self.prefix is None else Causal() | Prefix(self.prefix, start)
        return look & self.without(Prefix)

    def without(self, kind: type[Mask]) -> Mask:
        """The other terms of an `&`."""
        rest = tuple(part for part in self.parts if not isinstance(part, kind))
        return And(rest) if len(rest) > 1 else rest[0] if rest else Mask()

    def made_of(self, *kinds: type[Mask]) -> bool:
        """Whether a mechanism that understands only these kinds of masks understands this one."""
        return all(type(part) in (Mask, *kinds) for part in self.parts)

    def positions(self, slots: Int[Tensor, "#b t"]) -> Int[Tensor, "#b t"]:
        """Where the token in each slot stands: counted from the first real token of its row and document."""
        padding, documents = self.padding, self.documents
        if documents is not None:
            new = torch.ones_like(documents, dtype=torch.bool)
            new[:, 1:] = documents[:, 1:] != documents[:, :-1]
            every = torch.arange(documents.shape[1], device=documents.device)
            first = torch.where(new, every, 0).cummax(dim=1).values
            return slots - first.gather(1, slots.expand(documents.shape[0], -1))
        if padding is not None and padding.start is not None:
            return (slots - padding.start[:, None]).clamp_min(0)
        return slots

    def dense(self, length: int, device: torch.device | str = "cpu") -> Bool[Tensor, "#b t s"]:
        """The whole square mask as a tensor, for looking at and for tests."""
        slots = torch.arange(length, device=device)[None]
        allowed = self.allowed(slots[:, :, None], slots[:, None, :])
        if allowed is None:
            return torch.ones(1, length, length, dtype=torch.bool, device=device)
        return allowed.expand(-1, length, length)


class Causal(Mask):
    """No slot sees a later one."""

    def allowed(self, q: Tensor, k: Tensor) -> Tensor:
        return k <= q


class Padding(Mask):
    """Only the real tokens of a row are seen: `lengths` of them, from slot `start` on (None: from 0)."""

    def __init__(self, lengths: Int[Tensor, "b"], start: Int[Tensor, "b"] | None = None) -> None:
        self.lengths_ = lengths
        self.start = start

    @classmethod
    def left(cls, lengths: Int[Tensor, "b"], length: int) -> Padding:
        """Rows of `length` slots whose padding stands on the left."""
        return cls(lengths, length - lengths)

    def allowed(self, q: Tensor, k: Tensor) -> Tensor:
        if self.start is None:
            return k < self.lengths_[:, None, None]
        start = self.start[:, None, None]
        return (k >= start) & (k < start + self.lengths_[:, None, None])


class Prefix(Mask):
    """The first `lengths` tokens of a row are seen from everywhere. Given to a decoder, it makes a prefix-LM.

    Source: Raffel et al. 2019, arXiv:1910.10683, §3.2.1, figure 3.
    """

    def __init__(self, lengths: Int[Tensor, "b"], start: Int[Tensor, "b"] | None = None) -> None:
        self.tokens = lengths
        self.start = start

    def allowed(self, q: Tensor, k: Tensor) -> Tensor:
        end = self.tokens if self.start is None else self.tokens + self.start
        return k < end[:, None, None]


class Documents(Mask):
    """A slot sees only its own document: `ids` has a number for each slot of each row."""

    def __init__(self, ids: Int[Tensor, "b s"]) -> None:
        self.ids = ids

    def allowed(self, q: Tensor, k: Tensor) -> Tensor:
        rows, (t, s) = self.ids.shape[0], (q.shape[1], k.shape[2])
        mine = self.ids.gather(1, q[:, :, 0].expand(rows, t))
        theirs = self.ids.gather(1, k[:, 0, :].expand(rows, s))
        return mine[:, :, None] == theirs[:, None, :]


class And(Mask):
    def __init__(self, parts: tuple[Mask, ...]) -> None:
        self._parts = parts

    @property
    def parts(self) -> tuple[Mask, ...]:
        return self._parts

    def allowed(self, q: Tensor, k: Tensor) -> Tensor | None:
        result = None
        for part in self._parts:
            seen = part.allowed(q, k)
            result = seen if result is None or seen is None else result & seen
        return result


class Or(Mask):
    def __init__(self, parts: tuple[Mask, Mask]) -> None:
        self.choices = parts

    def allowed(self, q: Tensor, k: Tensor) -> Tensor | None:
        one, other = (part.allowed(q, k) for part in self.choices)
        return None if one is None or other is None else one | other

    @property
    def is_causal(self) -> bool:
        return all(part.is_causal for part in self.choices)


class View:
    """A mask laid over the queries and keys at hand; what it computes is shared by all layers.

    `square` says that queries and keys are the same whole rows, so that a kernel's own causal mode applies. `fresh`
    marks which of the tokens that a step brings to a cache are real; without a cache the mask says it.
    """

    def __init__(
        self,
        mask: Mask,
        q_slots: Int[Tensor, "#b t"],
        k_slots: Int[Tensor, "#b s"],
        square: bool = False,
        q_mask: Mask | None = None,
        fresh: Bool[Tensor, "b t"] | None = None,
    ) -> None:
        self.mask, self.q_slots, self.k_slots, self.square, self.fresh = mask, q_slots, k_slots, square, fresh
        self.q_at = Places((q_mask or mask).positions(q_slots))
        self.k_at = self.q_at if square else Places(mask.positions(k_slots))
        self.pattern: Pattern | None = None
        self._seen: tuple[Bool[Tensor, "#b 1 #t s"] | None] | None = None

    def narrowed(self, pattern: Pattern) -> View:
        """The same view through a layer's pattern."""
        if isinstance(pattern, Full):
            return self
        view = copy(self)
        view.pattern, view._seen = pattern, None
        return view

    def seen(self) -> Bool[Tensor, "#b 1 #t s"] | None:
        """Who may look, as a tensor with a head axis; None: everybody."""
        if self._seen is None:
            both = self.mask.allowed(self.q_slots[:, :, None], self.k_slots[:, None, :])
            if self.pattern is not None:
                here = self.pattern.allowed(self.q_at.index[:, :, None], self.k_at.index[:, None, :])
                both = here if both is None else both if here is None else both & here
            self._seen = (None if both is None else both[:, None],)
        return self._seen[0]

    def only_causal(self) -> bool:
        """Whether this is the plain square triangle, which kernels know without a tensor."""
        wide = isinstance(self.pattern, Window) and self.pattern.size >= self.k_slots.shape[1]
        return self.square and type(self.mask) is Causal and (self.pattern is None or wide)

    def real(self) -> Bool[Tensor, "#b s"] | None:
        """Which keys are real tokens rather than padding; None: all. With a cache: of those that this step brings."""
        if self.fresh is not None or self.mask.padding is None:
            return self.fresh
        return self.mask.padding.allowed(self.q_slots[:, :1, None], self.k_slots[:, None, :])[:, 0]
