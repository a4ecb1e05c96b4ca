"""T5's relative positions: a learned number for each head and each bucket of distances, wider the further away.

    score[t, s] = q_t · k_s + B[bucket(t − s), h]

    bucket(n) = n                                               n < N/2
              = N/2 + ⌊log(2n/N) / log(2M/N) · N/2⌋, at most N − 1    else         N buckets, M = max_distance

Source   Raffel et al. 2019, arXiv:1910.10683, §2.1; the buckets as in its code.
Cost     buckets · h parameters, shared by all layers; a bias [1 h t s], looked up once for all layers.
Differs  Where a token sees both sides, half of the buckets are for each side; in a decoder all are for the past. T5
         itself does not divide the scores by √e: that is `scale=1` of its attention.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from regard.layers import Embedding, Sizes
from regard.positions.base import Places, Position, PositionModule
from regard.settings import SettingsError


class T5(Position, kind="t5"):
    buckets: int = Field(32, ge=2, le=2**16)
    max_distance: int = Field(128, ge=1, le=2**24)

    needs = frozenset({"scores"})
    relative = True

    def check(self, sizes: Sizes) -> None:
        sides = 1 if sizes.causal else 2
        if self.buckets % (2 * sides) or self.max_distance <= self.buckets // (2 * sides):
            raise SettingsError(
                f"t5 positions split {self.buckets} buckets into {2 * sides} equal parts and give one distance to each "
                f"bucket of the first: choose a multiple of {2 * sides}, and a max_distance above "
                f"{self.buckets // (2 * sides)}."
            )

    def build(self, sizes: Sizes) -> T5Module:
        self.check(sizes)
        return T5Module(self, sizes)


class T5Module(PositionModule):
    def __init__(self, settings: T5, sizes: Sizes) -> None:
        super().__init__()
        self.causal = sizes.causal
        self.side = settings.buckets if self.causal else settings.buckets // 2
        exact = self.side // 2
        growth = settings.max_distance / exact
        # The distance at which each bucket after the first begins. Whole numbers are compared, so that no rounding of
        # a logarithm moves a distance into its neighbour; 1e-9 keeps a power that is whole from being rounded up.
        wider = [math.ceil(exact * growth ** (step / exact) - 1e-9) for step in range(1, exact)]
        self.begins = [*range(1, exact + 1), *wider]
        self.key = f"t5 {sizes.n_heads} heads of {sizes.head_dim} {settings}"
        self.table = Embedding(settings.buckets, sizes.n_heads)

    def bucket(self, away: Int[Tensor, "*b"]) -> Int[Tensor, "*b"]:
        """The bucket of each distance t − s."""
        distance = away.clamp_min(0) if self.causal else away.abs()
        bucket = torch.bucketize(distance, torch.tensor(self.begins, device=away.device), right=True)
        return bucket if self.causal else bucket + (away < 0) * self.side

    def bias(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b h s e"],
        q_at: Places,
        k_at: Places,
        seen: Callable[[], Tensor | None],
    ) -> Float[Tensor, "#b h t s"]:
        return q_at.between(k_at, self.key, lambda away: self.table(self.bucket(away)).permute(0, 3, 1, 2).contiguous())
