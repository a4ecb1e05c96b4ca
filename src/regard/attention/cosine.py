"""Cosine attention: queries and keys have length one, and a learned number says how sharp the choice is.

    score[t, s] = g · cos(q_t, k_s) = g · q_t · k_s / (‖q_t‖ ‖k_s‖)

Source   Henry et al. 2020 (QKNorm), arXiv:2010.04245, §3, with g = log₂(L² − L) at first, L a long text's length.
Cost     one parameter a layer; one norm a query and key.
Differs  L is context_length; the paper takes the 97.5th percentile of the training texts. Queries and keys with an
         RMSNorm, which has a weight for each feature, are `qk_norm` of dot-product attention.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attention.scored import ProductModule, Scored
from regard.layers import Sizes


class Cosine(Scored, kind="cosine"):
    def build(self, sizes: Sizes) -> CosineModule:
        return CosineModule(self, sizes)


class CosineModule(ProductModule):
    scale: Tensor

    def __init__(self, settings: Cosine, sizes: Sizes) -> None:
        super().__init__(settings, sizes)
        length = max(sizes.context_length, 2)
        self.start = math.log2(length * length - length)
        del self.scale
        self.scale = nn.Parameter(torch.empty(1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.scale, self.start)

    def prepare(
        self, q: Float[Tensor, "b h t e"], k: Float[Tensor, "b g s e"]
    ) -> tuple[Float[Tensor, "b h t e"], Float[Tensor, "b g s e"]]:
        return F.normalize(q, dim=-1), F.normalize(k, dim=-1)
