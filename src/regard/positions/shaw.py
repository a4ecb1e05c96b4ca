"""Shaw's relative positions: a learned vector for each distance, added to the key and to the value that are seen there.

    score[t, s] = q_t · (k_s + a^K_n) / √e        y_t = Σ_s weight[t, s] (v_s + a^V_n)        n = clip(s − t, −M, M)

Source   Shaw, Uszkoreit & Vaswani 2018, arXiv:1803.02155, §3, eq. 3–5; M = max_distance is their k.
Cost     2 (2M + 1) e parameters a layer (M + 1 in place of 2M + 1 in a decoder), shared by its heads. A query meets
         each vector once, not each token's: 2 t M h e operations more each way; weights are summed by distance.
Differs  The values need the weights, so attention takes its plain formula; `values=False` keeps the keys alone, which
         the paper found to be enough, and the fused kernel.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from regard.layers import Embedding, Sizes
from regard.positions.base import Places, Position, PositionModule


class Shaw(Position, kind="shaw"):
    max_distance: int = Field(16, ge=1, le=2**16)
    values: bool = True

    needs = frozenset({"scores", "weights"})
    shared = False
    relative = True

    def build(self, sizes: Sizes) -> ShawModule:
        return ShawModule(self, sizes)


class ShawModule(PositionModule):
    inside_scale = True

    def __init__(self, settings: Shaw, sizes: Sizes) -> None:
        super().__init__()
        self.furthest, self.causal = settings.max_distance, sizes.causal
        self.count = (1 if self.causal else 2) * self.furthest + 1
        self.key_of = Embedding(self.count, sizes.head_dim)
        self.reads_weights = settings.values
        self.value_of = Embedding(self.count, sizes.head_dim) if settings.values else None

    def row(self, q_at: Places, k_at: Places) -> Tensor:
        """Which row of the tables stands for each pair, [b 1 t s]."""
        nearest = 0 if self.causal else -self.furthest
        return q_at.between(
            k_at,
            f"shaw {self.furthest}",
            lambda away: away.clamp(nearest, self.furthest)[:, None] - nearest,
        )

    def bias(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b h s e"],
        q_at: Places,
        k_at: Places,
        seen: Callable[[], Tensor | None],
    ) -> Float[Tensor, "b h t s"]:
        by_distance = q @ self.key_of.matrix().t().to(q.dtype)
        return by_distance.gather(-1, self.row(q_at, k_at).expand(*q.shape[:3], -1))

    def values(self, weights: Float[Tensor, "b h t s"], q_at: Places, k_at: Places) -> Float[Tensor, "b h t e"] | None:
        if self.value_of is None:
            return None
        by_distance = weights.new_zeros(*weights.shape[:3], self.count)
        by_distance = by_distance.scatter_add(-1, self.row(q_at, k_at).expand_as(weights), weights)
        return by_distance @ self.value_of.matrix().to(weights.dtype)
