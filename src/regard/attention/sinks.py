"""Attention with a sink: each head may look at nothing, as far as a learned number says.

    weight[t, s] = exp(score[t, s]) / (exp(sink_h) + Σ_r exp(score[t, r]))

the sink takes its share of the softmax and gives no value, so that the weights of a token sum to less than one.

Source   OpenAI 2025 (gpt-oss), arXiv:2508.10925, §2.2 (the learned number); the sink that plain softmax makes of the
         first token is described by Xiao et al. 2023, arXiv:2309.17453, §3.1, with sink = 0 as its eq. 2.
Cost     h parameters a layer; the kernel sees one key more, and takes about 1.3 times as long as without.
Differs  The sinks start at 0, where this is the softmax with one added below the line ("off by one").
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attention.mask import View
from regard.attention.scored import ProductModule, Scored, softmax
from regard.layers import Sizes, tap

LANE = 8
"""Features added to each head, of which one reaches the sink: kernels are slow on odd widths."""


class Sinks(Scored, kind="sinks"):
    def build(self, sizes: Sizes) -> SinksModule:
        return SinksModule(self, sizes)


class SinksModule(ProductModule):
    def __init__(self, settings: Sinks, sizes: Sizes) -> None:
        super().__init__(settings, sizes)
        self.sinks = nn.Parameter(torch.empty(self.n_heads))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.sinks)

    def share(
        self, scores: Float[Tensor, "b h t s"], seen: Bool[Tensor, "#b 1 #t s"] | None
    ) -> Float[Tensor, "b h t s"]:
        if seen is not None:
            scores = scores.masked_fill(~seen, float("-inf"))
        scores = tap(self.place, "scores", scores)
        sink = self.sinks.to(scores.dtype)[:, None, None].expand(*scores.shape[:3], 1)
        weights = softmax(torch.cat([sink, scores], dim=-1))
        tap(self.place, "nowhere", weights[..., 0])
        return weights[..., 1:]

    def kernel(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b h s e"],
        v: Float[Tensor, "b h s e"],
        view: View,
        bias: Float[Tensor, "#b #h t s"] | None,
    ) -> Float[Tensor, "b h t e"]:
        """The sink as a key before the first: its value is zero, and of an added feature it makes the score `sink_h`.

        Under the plain causal mask a query is added before the first as well, so that the triangle still fits.
        """
        e = q.shape[-1]
        dropout = self.dropout if self.training else 0.0
        causal = bias is None and view.only_causal()
        q = torch.cat([q * self.scale, q.new_ones(*q.shape[:3], 1), q.new_zeros(*q.shape[:3], LANE - 1)], dim=-1)
        sink = F.pad(self.sinks.to(k.dtype)[None, :, None, None], (e, LANE - 1))
        k = torch.cat([sink.expand(k.shape[0], -1, 1, -1), F.pad(k, (0, LANE))], dim=2)
        v = F.pad(v, (0, LANE, 1, 0))
        if causal:
            q = F.pad(q, (0, 0, 1, 0))
            return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True, scale=1.0)[:, :, 1:, :e]
        mask = self.mask_of(view, bias, q.dtype)
        if mask is not None:
            mask = F.pad(mask, (1, 0), value=True if mask.dtype == torch.bool else 0.0)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=1.0)[..., :e]
