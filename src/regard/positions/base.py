"""The contract of a position encoding: a few doors, each the identity unless the encoding uses it.

The model knocks at every door and never asks who is inside:

    add(x, at)                     once, on the input                   learned, sinusoidal
    turn(q, k, q_at, k_at)         in each layer, on queries and keys   rotary
    bias(q, k, q_at, k_at, mask)   in each layer, on the scores         ALiBi, T5, …

q and k arrive unturned and unscaled, as [b h t e] and [b g s e]. A bias is added to the scaled scores (outside the
scale); it broadcasts to [b h t s], has b = 1 where it depends on t − s alone, and sees the mask, so that padding
and other documents cannot leak through a contextual encoding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.layers import Sizes
from regard.settings import Part


class Places:
    """Where tokens stand: their positions, and what encodings made of them, so that layers share the work."""

    def __init__(self, index: Int[Tensor, "b t"]) -> None:
        self.index = index
        self._made: dict[str, tuple[Tensor, ...]] = {}

    def once(self, key: str, make: Callable[[Int[Tensor, "b t"]], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """make(index), computed the first time that `key` asks for it."""
        if key not in self._made:
            self._made[key] = make(self.index)
        return self._made[key]


class Position(Part, family="regard.positions"):
    """How a stack tells where a token stands."""

    shared: ClassVar[bool] = True
    """One module for all layers that name the same settings (True), or one for each layer."""

    bounded: ClassVar[bool] = False
    """Whether no position beyond context_length is known."""

    relative: ClassVar[bool] = False
    """Whether shifting all positions by the same number changes nothing (a law checks it)."""

    def check(self, sizes: Sizes) -> None:
        """Refuse sizes that do not go with this encoding: raises `SettingsError`."""

    def build(self, sizes: Sizes) -> PositionModule:
        raise NotImplementedError


class PositionModule(nn.Module):
    """All doors, closed: no position at all. Encodings override the ones they use."""

    def add(self, x: Float[Tensor, "b t d"], at: Places) -> Float[Tensor, "b t d"]:
        return x

    def turn(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b g s e"],
        q_at: Places,
        k_at: Places,
    ) -> tuple[Float[Tensor, "b h t e"], Float[Tensor, "b g s e"]]:
        return q, k

    def bias(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b g s e"],
        q_at: Places,
        k_at: Places,
        mask: object,
    ) -> Float[Tensor, "#b #h t s"] | None:
        return None
