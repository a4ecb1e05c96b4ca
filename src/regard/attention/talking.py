"""Talking heads: the heads' scores are mixed before the softmax, and their weights once more after it.

    scores ← P_l · scores        weights = P_w · softmax(scores + bias)        over the heads, P_l and P_w [h h]

Source   Shazeer et al. 2020, arXiv:2003.02436, §3.
Cost     2 h² parameters a layer more than dot-product attention, and 2 t s h² multiply-adds; all weights are held at
         once, since a fused kernel cannot let heads speak to each other.
Differs  As many heads before, between and after (the paper lets the three numbers differ). P_l and P_w start at the
         identity: heads begin to speak when they have something to say.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.mask import View
from regard.attention.scored import Scored, ScoredModule
from regard.layers import Sizes, tap
from regard.positions import PositionModule


class TalkingHeads(Scored, kind="talking_heads"):
    # softmax ignores what all keys share: a key's bias adds the same to every score of a row, in each head and mixture.
    unmoved: ClassVar[tuple[str, ...]] = ("k.bias",)

    def build(self, sizes: Sizes) -> TalkingHeadsModule:
        return TalkingHeadsModule(self, sizes)

    def flops(self, sizes: Sizes, t: int, s: int) -> int:
        return super().flops(sizes, t, s) + 4 * t * s * sizes.n_heads**2


class TalkingHeadsModule(ScoredModule):
    def __init__(self, settings: TalkingHeads, sizes: Sizes) -> None:
        super().__init__(settings, sizes)
        self.before = nn.Parameter(torch.empty(self.n_heads, self.n_heads))
        self.after = nn.Parameter(torch.empty(self.n_heads, self.n_heads))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.eye_(self.before)
        nn.init.eye_(self.after)

    def scores(self, q: Float[Tensor, "b h t e"], k: Float[Tensor, "b h s e"]) -> Float[Tensor, "b h t s"]:
        scores = torch.einsum("bhte,bhse->bhts", q, k) * self.scale
        return torch.einsum("ij,bjts->bits", self.before, scores)

    def mixture(
        self,
        weights: Float[Tensor, "b h t s"],
        v: Float[Tensor, "b h s e"],
        view: View,
        position: PositionModule,
    ) -> Float[Tensor, "b h t e"]:
        weights = tap(self.place, "talked", torch.einsum("ij,bjts->bits", self.after, weights))
        return super().mixture(weights, v, view, position)
