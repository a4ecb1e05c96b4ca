"""Additive attention: a small network looks at query and key together and says how well they fit.

    score[t, s] = vᵀ tanh(W x_t + U m_s)        y = W_o · Σ_s softmax(score)[t, s] W_v m_s

with W, U and v of its own for each head.

Source   Bahdanau, Cho & Bengio 2014, arXiv:1409.0473, §3.1 and appendix A.1.2.
Cost     4 d² + d parameters; t · s · d values of tanh, all held at once: there is no fused kernel, so texts stay short.
Differs  Bahdanau has one head, an RNN's states as x and m, and mixes m itself, without W_v and W_o. No scale: tanh
         bounds the score by Σ|v|, and v starts at 1/√e, not at 0. Positions may turn queries and keys, and the score
         then depends on both places, not on t − s alone.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.scored import Scored, ScoredModule
from regard.layers import Sizes


def additive_scores(
    q: Float[Tensor, "#*b t e"], k: Float[Tensor, "#*b s e"], v: Float[Tensor, "#*b e"]
) -> Float[Tensor, "*b t s"]:
    """vᵀ tanh(q_t + k_s) of queries W x and keys U m. Leading axes (rows, heads) broadcast."""
    return torch.einsum("...tse,...e->...ts", torch.tanh(q.unsqueeze(-2) + k.unsqueeze(-3)), v)


class Additive(Scored, kind="additive"):
    def build(self, sizes: Sizes) -> AdditiveModule:
        return AdditiveModule(self, sizes)


class AdditiveModule(ScoredModule):
    def __init__(self, settings: Additive, sizes: Sizes) -> None:
        super().__init__(settings, sizes)
        self.scale = 1.0
        self.look = nn.Parameter(torch.empty(self.n_heads, self.head_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.look, self.head_dim**-0.5)

    def scores(self, q: Float[Tensor, "b h t e"], k: Float[Tensor, "b h s e"]) -> Float[Tensor, "b h t s"]:
        return additive_scores(q, k, self.look[None])
