"""Transformer-XL's relative positions: a score for what the key says, a score for how far away it stands.

    score[t, s] = ( q_t · k_s  +  u · k_s  +  (q_t + v) · W_R R_{t−s} ) / √e

R_n is the sinusoidal encoding of the distance n; u and v (one vector a head) stand in for a query's own position.

Source   Dai et al. 2019, arXiv:1901.02860, §3.3; W_R is its W_{k,R}.
Cost     d · h e + 2 h e parameters a layer; W_R meets each distance once, or, for few queries, each query once.
Differs  u and v belong to a layer, as where the authors' code unties them. The memory of the segment before is left
         to the cache. A token that sees both sides has distances of both signs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from regard.layers import Linear, Sizes
from regard.positions.base import Places, Position, PositionModule
from regard.positions.sinusoidal import Sinusoidal


class TransformerXL(Position, kind="transformer_xl"):
    base: float = Field(10_000.0, gt=0, allow_inf_nan=False)

    needs = frozenset({"scores"})
    shared = False
    relative = True

    def build(self, sizes: Sizes) -> TransformerXLModule:
        return TransformerXLModule(self, sizes)


class TransformerXLModule(PositionModule):
    inside_scale = True

    def __init__(self, settings: TransformerXL, sizes: Sizes) -> None:
        super().__init__()
        self.causal, self.key = sizes.causal, f"transformer_xl {settings}"
        self.sinusoid = Sinusoidal(base=settings.base, layout="half").build(sizes)
        self.r = Linear(sizes.d_model, sizes.n_heads * sizes.head_dim, bias=False)
        self.u = nn.Parameter(torch.empty(sizes.n_heads, sizes.head_dim))
        self.v = nn.Parameter(torch.empty(sizes.n_heads, sizes.head_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.u)
        nn.init.zeros_(self.v)

    def bias(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b h s e"],
        q_at: Places,
        k_at: Places,
        seen: Callable[[], Tensor | None],
    ) -> Float[Tensor, "b h t s"]:
        furthest = k.shape[2] - 1
        nearest = 0 if self.causal else -furthest
        distances = torch.arange(nearest, furthest + 1, device=q.device)[None]
        (fan,) = q_at.once(
            f"{self.key} {furthest} {q.dtype}", lambda _: (self.sinusoid.table(distances)[0].to(q.dtype),)
        )
        row = q_at.between(k_at, self.key, lambda away: away.clamp(nearest, furthest)[:, None] - nearest)
        by_distance = self.far(q + self.v[:, None], fan).gather(-1, row.expand(*q.shape[:3], -1))
        return torch.einsum("he,bhse->bhs", self.u, k)[:, :, None] + by_distance

    def far(self, q: Float[Tensor, "b h t e"], fan: Float[Tensor, "n d"]) -> Float[Tensor, "b h t n"]:
        """q · W_R R_n for every distance n: W_R goes to the side with fewer rows."""
        if q.shape[0] * q.shape[2] < q.shape[3]:
            return torch.einsum("bhte,hed,nd->bhtn", q, self.r.matrix().unflatten(0, (q.shape[1], -1)), fan)
        return torch.einsum("bhte,nhe->bhtn", q, self.r(fan).unflatten(-1, (q.shape[1], -1)))
