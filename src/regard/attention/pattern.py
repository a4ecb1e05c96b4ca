"""Patterns: which of the tokens a layer may look at, where that is not all of them.

    full      everything that the mask allows
    window    |t − s| < size
    dilated   |t − s| < size · step, and |t − s| a multiple of step
    global    a window, and the first `tokens` of the text see all and are seen by all
    bigbird   blocks of `block` tokens; a block sees its `near` neighbours on each side, the first `first` blocks, and
              `random` blocks drawn from those before it

t and s are positions in a document. A pattern narrows the mask of its layer, so that every attention that takes a mask
takes every pattern.

Source   Child et al. 2019, arXiv:1904.10509 (sparse patterns); Beltagy et al. 2020, arXiv:2004.05150, §3.1 (window,
         dilated, global); Zaheer et al. 2020, arXiv:2007.14062, §2 and appendix D (BigBird's blocks).
Cost     as much as full attention: the mask is applied to all scores. Patterns say what can be seen, not what is
         computed.
Differs  BigBird's random links go to earlier blocks and hold both ways, so that they do not depend on the length of the
         text: padding, packing and a cache change nothing.
"""

from __future__ import annotations

from jaxtyping import Bool, Int
from pydantic import Field
from torch import Tensor

from regard.settings import Part


class Pattern(Part, family="regard.attention.pattern"):
    """Who may look at whom, by position."""

    def allowed(self, q: Int[Tensor, "#b t 1"], k: Int[Tensor, "#b 1 s"]) -> Bool[Tensor, "#b t s"] | None:
        """Whether position q may see position k; None where it always may."""
        raise NotImplementedError


class Full(Pattern, kind="full"):
    def allowed(self, q: Tensor, k: Tensor) -> None:
        return None


class Window(Pattern, kind="window"):
    size: int = Field(256, ge=1)

    def allowed(self, q: Tensor, k: Tensor) -> Tensor:
        return (q - k).abs() < self.size


class Dilated(Pattern, kind="dilated"):
    size: int = Field(64, ge=1)
    step: int = Field(2, ge=1)

    def allowed(self, q: Tensor, k: Tensor) -> Tensor:
        away = (q - k).abs()
        return (away < self.size * self.step) & (away % self.step == 0)


class Global(Pattern, kind="global"):
    size: int = Field(256, ge=1)
    tokens: int = Field(1, ge=1)

    def allowed(self, q: Tensor, k: Tensor) -> Tensor:
        return ((q - k).abs() < self.size) | (q < self.tokens) | (k < self.tokens)


class BigBird(Pattern, kind="bigbird"):
    block: int = Field(64, ge=1)
    near: int = Field(1, ge=0)
    first: int = Field(1, ge=0)
    random: int = Field(3, ge=0)
    seed: int = 0

    def allowed(self, q: Tensor, k: Tensor) -> Tensor:
        q, k = q // self.block, k // self.block
        seen = ((q - k).abs() <= self.near) | (q < self.first) | (k < self.first)
        later, earlier = q.maximum(k), q.minimum(k)
        for draw in range(self.random):
            seen = seen | (self._drawn(later, draw) == earlier)
        return seen

    def _drawn(self, block: Tensor, draw: int) -> Tensor:
        """The earlier block that this one was linked to, by a hash of its number: 31 bits, mixed twice."""
        x = (block * 0x9E3779B1 + (self.seed * 31 + draw + 1) * 0x85EBCA6B) & 0x7FFFFFFF
        for factor in (0x2C1B3C6D, 0x297A2D39):
            x = ((x ^ (x >> 15)) * factor) & 0x7FFFFFFF
        return (x ^ (x >> 15)) % block.clamp_min(1)
