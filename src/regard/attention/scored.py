"""What all attention by scores shares: projections, heads, cache, mask, softmax, mixture.

    y = W_o · join over heads( softmax(score(q, k) + bias, over the tokens that may be seen) v )

A mechanism says its score, or another step; the rest stands here once. Cost: 4 d² parameters with h = g and h e = d;
2 t s d multiply-adds a sentence for scores and mixture, unless the mechanism's file says otherwise.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from regard.attention.base import OFFERS, Attention, AttentionModule, CacheSlot
from regard.attention.cache import Entry, KeysValues, Memory
from regard.attention.mask import View
from regard.layers import Linear, Sizes, tap
from regard.layers.linear import fused
from regard.positions import PositionModule

Bias = Literal["all", "qkv", "none"]


class Scored(Attention):
    """Attention by scores: which maps have a bias, and how many of the weights are dropped in training."""

    bias: Bias = "all"
    dropout: float | None = Field(None, ge=0, lt=1)

    offers: ClassVar[frozenset[str]] = frozenset(OFFERS)

    def entry(self, capacity: int | None) -> Entry:
        return KeysValues(capacity)


class ScoredModule(AttentionModule):
    """Projections and mixture. A leaf says `scores`, or overrides `share` or `mix`."""

    def __init__(self, settings: Scored, sizes: Sizes) -> None:
        super().__init__()
        d, e = sizes.d_model, sizes.head_dim
        self.n_heads, self.n_kv_heads, self.head_dim = sizes.n_heads, sizes.n_kv_heads, e
        self.scale = e**-0.5
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
            q, k, v = (self._split(y) for y in fused(x, (self.q, self.k, self.v)))
            k_at = view.q_at  # the new keys stand where the new queries stand
        else:
            q = self._split(self.q(x))
            kept = entry.entry if entry is not None else None
            if isinstance(kept, Memory) and kept.tensors is not None:
                k, v = kept.tensors
            else:
                k, v = (self._split(y) for y in fused(memory, (self.k, self.v)))
                if isinstance(kept, Memory):
                    kept.write(k, v)
            k_at = view.k_at
        q, k = self.prepare(tap(self.place, "q", q), tap(self.place, "k", k))
        v = tap(self.place, "v", v)
        q, k = position.turn(q, k, view.q_at, k_at)
        if memory is None and entry is not None:
            assert isinstance(entry.entry, KeysValues)
            k, v = entry.entry.append(k, v, entry.slots, entry.reach, entry.even)
        mixed = tap(self.place, "mixed", self.mix(q, self._for_each_query(k), self._for_each_query(v), view, position))
        return self.o(mixed.transpose(1, 2).flatten(2))

    def prepare(
        self, q: Float[Tensor, "b h t e"], k: Float[Tensor, "b g s e"]
    ) -> tuple[Float[Tensor, "b h t e"], Float[Tensor, "b g s e"]]:
        """What happens to queries and keys before positions turn them."""
        return q, k

    def scores(self, q: Float[Tensor, "b h t e"], k: Float[Tensor, "b h s e"]) -> Float[Tensor, "b h t s"]:
        """How well each key answers each query, before the position's bias."""
        raise NotImplementedError

    def share(
        self, scores: Float[Tensor, "b h t s"], seen: Bool[Tensor, "#b 1 #t s"] | None
    ) -> Float[Tensor, "b h t s"]:
        """Scores → weights: a softmax over the tokens that may be seen. Who sees nothing gets zeros, not NaN."""
        if seen is not None:
            scores = scores.masked_fill(~seen, float("-inf"))
        scores = tap(self.place, "scores", scores)
        weights = scores.softmax(-1) if scores.dtype == torch.float64 else scores.float().softmax(-1).to(scores.dtype)
        return weights if seen is None else weights.masked_fill(~seen, 0.0)

    def mix(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b h s e"],
        v: Float[Tensor, "b h s e"],
        view: View,
        position: PositionModule,
    ) -> Float[Tensor, "b h t e"]:
        """The lesson: scores, bias, mask, softmax, mixture, each as written above."""
        scores = self.scores(q, k)
        bias = self.bias_of(q, k, view, position)
        if bias is not None:
            scores = scores + bias
        weights = tap(self.place, "weights", self.share(scores, view.seen()))
        return self.mixture(weights, v, view, position)

    def mixture(
        self,
        weights: Float[Tensor, "b h t s"],
        v: Float[Tensor, "b h s e"],
        view: View,
        position: PositionModule,
    ) -> Float[Tensor, "b h t e"]:
        """The values, mixed by their weights."""
        weights = F.dropout(weights, self.dropout, self.training)
        mixed = torch.einsum("bhts,bhse->bhte", weights, v)
        beside = position.values(weights, view.q_at, view.k_at)
        return mixed if beside is None else mixed + beside

    def bias_of(
        self, q: Float[Tensor, "b h t e"], k: Float[Tensor, "b h s e"], view: View, position: PositionModule
    ) -> Float[Tensor, "#b #h t s"] | None:
        """What the position adds to the scaled scores."""
        bias = position.bias(q, k, view.q_at, view.k_at, view.seen)
        return bias if bias is None or not position.inside_scale else bias * self.scale

    def _split(self, x: Float[Tensor, "b t he"]) -> Float[Tensor, "b h t e"]:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def _for_each_query(self, x: Float[Tensor, "b g s e"]) -> Float[Tensor, "b h s e"]:
        """Each key-value head as many times as queries share it."""
        share = self.n_heads // self.n_kv_heads
        return x if share == 1 else x.repeat_interleave(share, dim=1)
