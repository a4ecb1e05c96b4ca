"""Scaled dot-product attention, multi-head: each token asks, all tokens answer, the best answers are mixed.

    Attention(Q, K, V) = softmax(Q Kᵀ / √e + bias, over the tokens that may be seen) V

with Q = x W_q, K = m W_k, V = m W_v split into h heads of e features; the heads' outputs are joined and pass W_o.

Source   Vaswani et al. 2017, arXiv:1706.03762, §3.2, eq. 1. Fewer key-value heads: Shazeer 2019, arXiv:1911.02150
         (one, multi-query) and Ainslie et al. 2023, arXiv:2305.13245 (groups). Window: Beltagy et al. 2020,
         arXiv:2004.05150, §3.1. Soft-cap: Gemma 2, arXiv:2408.00118, §2.
Cost     4 d² parameters with h = g and h e = d; 2 t s d multiply-adds a sentence for scores and mixture.
Differs  `scale=None` is 1/√e. `window` narrows the mask of this layer. `softcap=c` bends scores to c·tanh(score/c)
         before the mask. A token that may see nothing gets zeros, not NaN.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from regard.attention.base import Attention, AttentionModule, CacheSlot
from regard.attention.cache import Entry, KeysValues, Memory
from regard.attention.mask import View
from regard.layers import Linear, Sizes, listening, tap
from regard.layers.linear import fused
from regard.positions import PositionModule

SHORT = 64 * 64
"""Scores a head up to which compiled code of the formula is faster than the kernel on a CPU: 1.1 to 1.3 times."""


class Dot(Attention):
    bias: Literal["all", "qkv", "none"] = "all"
    window: int | None = Field(None, ge=1)
    scale: float | None = None
    softcap: float | None = Field(None, gt=0)
    dropout: float | None = Field(None, ge=0, lt=1)

    offers: ClassVar[frozenset[str]] = frozenset({"self", "causal", "cross", "cache", "scores", "documents"})

    # softmax ignores what all keys share, and a key's bias adds the same q · b to every score of a row.
    unmoved: ClassVar[tuple[str, ...]] = ("k.bias",)

    def build(self, sizes: Sizes) -> DotModule:
        return DotModule(self, sizes)

    def entry(self, capacity: int | None) -> Entry:
        return KeysValues(capacity)


class DotModule(AttentionModule):
    def __init__(self, settings: Dot, sizes: Sizes) -> None:
        super().__init__()
        d, e = sizes.d_model, sizes.head_dim
        self.n_heads, self.n_kv_heads = sizes.n_heads, sizes.n_kv_heads
        self.scale = e**-0.5 if settings.scale is None else settings.scale
        self.window, self.softcap = settings.window, settings.softcap
        self.dropout = sizes.dropout if settings.dropout is None else settings.dropout
        self.place = sizes.place
        bias = settings.bias != "none"
        self.q = Linear(d, self.n_heads * e, bias)
        self.k = Linear(d, self.n_kv_heads * e, bias)
        self.v = Linear(d, self.n_kv_heads * e, bias)
        self.o = Linear(self.n_heads * e, d, settings.bias == "all", residual=True)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        memory: Float[Tensor, "b s d"] | None,
        view: View,
        position: PositionModule,
        entry: CacheSlot | None,
    ) -> Float[Tensor, "b t d"]:
        if memory is None:
            q, k, v = fused(x, (self.q, self.k, self.v))
            q, k, v = (
                self._split(q, self.n_heads),
                self._split(k, self.n_kv_heads),
                self._split(v, self.n_kv_heads),
            )
            k_at = view.q_at  # the new keys stand where the new queries stand
        else:
            q = self._split(self.q(x), self.n_heads)
            kept = entry.entry if entry is not None else None
            if isinstance(kept, Memory) and kept.k is not None and kept.v is not None:
                k, v = kept.k, kept.v
            else:
                k, v = (self._split(y, self.n_kv_heads) for y in fused(memory, (self.k, self.v)))
                if isinstance(kept, Memory):
                    kept.write(k, v)
            k_at = view.k_at
        q, k, v = tap(self.place, "q", q), tap(self.place, "k", k), tap(self.place, "v", v)
        q, k = position.turn(q, k, view.q_at, k_at)
        if memory is None and entry is not None:
            assert isinstance(entry.entry, KeysValues)
            k, v = entry.entry.append(k, v, entry.slots, entry.reach, entry.even)
        bias = position.bias(q, k, view.q_at, view.k_at, view)
        plain = self._takes_formula(q, k)
        mixed = self.formula(q, k, v, view, bias) if plain else self.kernel(q, k, v, view, bias)
        mixed = tap(self.place, "mixed", mixed)
        return self.o(mixed.transpose(1, 2).flatten(2))

    def formula(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b g s e"],
        v: Float[Tensor, "b g s e"],
        view: View,
        bias: Float[Tensor, "#b #h t s"] | None,
    ) -> Float[Tensor, "b h t e"]:
        """The lesson: scores, mask, softmax, mixture, each as written above."""
        k, v = self._shared_by_groups(k), self._shared_by_groups(v)
        scores = torch.einsum("bhte,bhse->bhts", q, k) * self.scale
        if bias is not None:
            scores = scores + bias
        if self.softcap is not None:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        seen = view.dense(self.window)
        if seen is not None:
            scores = scores.masked_fill(~seen, float("-inf"))
        scores = tap(self.place, "scores", scores)
        weights = scores.float().softmax(-1).to(q.dtype) if q.dtype != torch.float64 else scores.softmax(-1)
        if seen is not None:
            weights = weights.masked_fill(~seen, 0.0)  # a row that sees nothing: 0/0 becomes 0
        weights = tap(self.place, "weights", weights)
        return torch.einsum("bhts,bhse->bhte", F.dropout(weights, self.dropout, self.training), v)

    def kernel(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b g s e"],
        v: Float[Tensor, "b g s e"],
        view: View,
        bias: Float[Tensor, "#b #h t s"] | None,
    ) -> Float[Tensor, "b h t e"]:
        """The same numbers from torch's fused kernel, which never holds all weights at once."""
        dropout = self.dropout if self.training else 0.0
        k, v = self._shared_by_groups(k), self._shared_by_groups(v)
        if bias is None and view.only_causal(self.window):
            return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True, scale=self.scale)
        seen = view.dense(self.window)
        mask = seen
        if bias is not None:
            mask = bias.to(q.dtype) if seen is None else bias.to(q.dtype).masked_fill(~seen, float("-inf"))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=self.scale)

    def _takes_formula(self, q: Tensor, k: Tensor) -> bool:
        """Where somebody listens, where the kernel has no soft-cap, and where generated code is faster than it."""
        short = torch.compiler.is_compiling() and q.shape[2] * k.shape[2] <= SHORT and q.device.type == "cpu"
        return self.softcap is not None or short or listening()

    def _split(self, x: Float[Tensor, "b t he"], heads: int) -> Float[Tensor, "b h t e"]:
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)

    def _shared_by_groups(self, x: Float[Tensor, "b g s e"]) -> Float[Tensor, "b h s e"]:
        """Each key-value head as many times as queries share it."""
        share = self.n_heads // self.n_kv_heads
        return x if share == 1 else x.repeat_interleave(share, dim=1)
