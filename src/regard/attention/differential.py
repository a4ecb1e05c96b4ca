"""Differential attention: two maps of weights are subtracted, so that what both say by mistake cancels.

    y_h = (1 − λ₀) · norm( (softmax(q₁ k₁ᵀ / √(e/2)) − λ softmax(q₂ k₂ᵀ / √(e/2))) v )        y = W_o · join(y_h)
    λ = exp(λ_q1 · λ_k1) − exp(λ_q2 · λ_k2) + λ₀        λ₀ = 0.8 − 0.6 exp(−0.3 l),  l = 0 … the layer

q₁ and q₂ are the two halves of a head's query, k₁ and k₂ those of its key; the norm is over the e features of a head.

Source   Ye et al. 2024, arXiv:2410.05258, §2.1, eq. 1–3 (which count l from 1, and write d for e/2).
Cost     4 d² + 3 e parameters; 3 t s d multiply-adds, one half more than dot-product attention of the same width.
Differs  Heads are counted as in the paper, each as wide as two maps: n_heads is half that of a Transformer whose heads
         are as wide as a map. The tap `weights` has all first maps, then all second ones. Positions meet the halves;
         they may turn them and add to their scores, and give no values: a difference is no share.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.base import OFFERS
from regard.attention.mask import View
from regard.attention.scored import ProductModule, Scored
from regard.layers import Norm, RMSNorm, Sizes
from regard.positions import Places, PositionModule
from regard.settings import SettingsError


class Differential(Scored, kind="differential"):
    norm: Norm = RMSNorm()

    offers: ClassVar[frozenset[str]] = frozenset(OFFERS) - {"weights"}

    # softmax ignores what all keys share, and a key's bias adds the same q · b to every score of a row, in both maps.
    unmoved: ClassVar[tuple[str, ...]] = ("k.bias",)

    def check(self, sizes: Sizes) -> None:
        if sizes.head_dim % 2:
            raise SettingsError(
                f"differential attention cuts each head into two maps, but head_dim {sizes.head_dim} is odd: "
                "choose an even head_dim."
            )

    def build(self, sizes: Sizes) -> DifferentialModule:
        return DifferentialModule(self, sizes)

    def doors(self, sizes: Sizes) -> Sizes:
        return replace(sizes, head_dim=sizes.head_dim // 2)

    def flops(self, sizes: Sizes, t: int, s: int) -> int:
        return 6 * t * s * sizes.n_heads * sizes.head_dim


class DifferentialModule(ProductModule):
    def __init__(self, settings: Differential, sizes: Sizes) -> None:
        super().__init__(settings, sizes)
        half = self.head_dim // 2
        self.scale = half**-0.5
        self.start = 0.8 - 0.6 * math.exp(-0.3 * sizes.layer)
        self.norm = settings.norm.build(self.head_dim)
        self.lambdas = nn.Parameter(torch.empty(4, half))  # q1, k1, q2, k2
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.lambdas, 0.1)

    def draw_parameters(self, random: torch.Generator) -> None:
        """The vectors of λ from N(0, 0.1²), so that λ begins near λ₀."""
        self.lambdas.copy_(0.1 * torch.randn(self.lambdas.shape, generator=random, device="cpu"))

    def strength(self) -> Float[Tensor, ""]:
        """λ: how much of the second map is taken from the first."""
        q1, k1, q2, k2 = self.lambdas
        return (q1 @ k1).exp() - (q2 @ k2).exp() + self.start

    def turn(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b g s e"],
        q_at: Places,
        k_at: Places,
        position: PositionModule,
    ) -> tuple[Float[Tensor, "b h t e"], Float[Tensor, "b g s e"]]:
        halves = zip(q.chunk(2, dim=-1), k.chunk(2, dim=-1), strict=True)
        first, second = (position.turn(q, k, q_at, k_at) for q, k in halves)
        return torch.cat([first[0], second[0]], dim=-1), torch.cat([first[1], second[1]], dim=-1)

    def mix(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b h s e"],
        v: Float[Tensor, "b h s e"],
        view: View,
        position: PositionModule,
    ) -> Float[Tensor, "b h t e"]:
        # Both maps at once, as twice as many heads: the first halves, then the second ones.
        q, k = (torch.cat(x.chunk(2, dim=-1), dim=1) for x in (q, k))
        first, second = super().mix(q, k, v.repeat(1, 2, 1, 1), view, position).chunk(2, dim=1)
        return (1 - self.start) * self.norm(first - self.strength() * second)

    def bias_of(
        self, q: Float[Tensor, "b h t e"], k: Float[Tensor, "b h s e"], view: View, position: PositionModule
    ) -> Float[Tensor, "#b #h t s"] | None:
        halves = zip(q.chunk(2, dim=1), k.chunk(2, dim=1), strict=True)
        first, second = (super(DifferentialModule, self).bias_of(q, k, view, position) for q, k in halves)
        if first is None or second is None:
            return None
        return torch.cat([bias.expand(-1, self.n_heads, -1, -1) for bias in (first, second)], dim=1)
