"""Scaled dot-product attention, multi-head: each token asks, all tokens answer, the best answers are mixed.

    Attention(Q, K, V) = softmax(Q Kᵀ / √e + bias, over the tokens that may be seen) V

with Q = x W_q, K = m W_k, V = m W_v split into h heads of e features; the heads' outputs are joined and pass W_o.

Source   Vaswani et al. 2017, arXiv:1706.03762, §3.2, eq. 1. Fewer key-value heads: Shazeer 2019, arXiv:1911.02150
         (one, multi-query) and Ainslie et al. 2023, arXiv:2305.13245 (groups). Soft-cap: Gemma 2, arXiv:2408.00118, §2.
         Normed queries and keys: Dehghani et al. 2023, arXiv:2302.05442, §2.
Cost     4 d² parameters with h = g and h e = d; 2 t s d multiply-adds a sentence for scores and mixture.
Differs  `scale=None` is 1/√e. `softcap=c` bends scores to c·tanh(score/c) before the mask. `qk_norm` norms the features
         of each query and key before positions turn them, or with `qk_norm_over="heads"` those of all heads together
         (OLMo 2, arXiv:2501.00656, §2). A token that may see nothing gets zeros, not NaN.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from regard.attention.scored import ProductModule, Scored
from regard.layers import Norm, Sizes


class Dot(Scored, kind="dot"):
    scale: float | None = None
    softcap: float | None = Field(None, gt=0)
    qk_norm: Norm | None = None
    qk_norm_over: Literal["head", "heads"] = "head"

    # softmax ignores what all keys share, and a key's bias adds the same q · b to every score of a row.
    unmoved: ClassVar[tuple[str, ...]] = ("k.bias",)

    def build(self, sizes: Sizes) -> DotModule:
        return DotModule(self, sizes)


class DotModule(ProductModule):
    def __init__(self, settings: Dot, sizes: Sizes) -> None:
        super().__init__(settings, sizes)
        if settings.scale is not None:
            self.scale = settings.scale
        self.softcap = settings.softcap
        self.over_heads = settings.qk_norm_over == "heads"
        norm, e = settings.qk_norm, sizes.head_dim
        self.q_norm = norm.build(e * sizes.n_heads if self.over_heads else e) if norm is not None else None
        self.k_norm = norm.build(e * sizes.n_kv_heads if self.over_heads else e) if norm is not None else None

    def prepare(
        self, q: Float[Tensor, "b h t e"], k: Float[Tensor, "b g s e"]
    ) -> tuple[Float[Tensor, "b h t e"], Float[Tensor, "b g s e"]]:
        if self.q_norm is None or self.k_norm is None:
            return q, k
        if self.over_heads:
            return self.split(self.q_norm(joined(q))), self.split(self.k_norm(joined(k)))
        return self.q_norm(q), self.k_norm(k)

    def share(
        self, scores: Float[Tensor, "b h t s"], seen: Bool[Tensor, "#b 1 #t s"] | None
    ) -> Float[Tensor, "b h t s"]:
        if self.softcap is not None:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        return super().share(scores, seen)

    def takes_formula(self, q: Tensor, k: Tensor) -> bool:
        return self.softcap is not None or super().takes_formula(q, k)  # the kernel has no soft-cap


def joined(x: Float[Tensor, "b h t e"]) -> Float[Tensor, "b t he"]:
    """The heads of each token side by side."""
    return x.transpose(1, 2).flatten(2)
