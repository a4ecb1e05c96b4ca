"""What all attention by scores shares: projections, heads, cache, mask, softmax, mixture.

    y = W_o · join over heads( softmax(score(q, k) + bias, over the tokens that may be seen) v )

A mechanism says its score, or another step; the rest stands here once. Cost: 4 d² parameters with h = g and h e = d;
2 t s d multiply-adds a sentence for scores and mixture, unless the mechanism's file says otherwise.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from regard.attention.base import OFFERS, Attention, AttentionModule, Bias, CacheSlot
from regard.attention.cache import Entry, KeysValues, Memory
from regard.attention.mask import View
from regard.layers import Sizes, dropout, listening, tap
from regard.layers.linear import fused
from regard.positions import Places, PositionModule

SHORT = 64 * 64
"""Scores a head up to which compiled code of the formula is faster than the kernel on a CPU: 1.1 to 1.3 times."""


class Scored(Attention):
    """Attention by scores: which maps have a bias, and how many of the weights are dropped in training."""

    bias: Bias = "all"
    dropout: float | None = Field(None, ge=0, lt=1)

    offers: ClassVar[frozenset[str]] = frozenset(OFFERS)

    def entry(self, capacity: int | None) -> Entry:
        return KeysValues(capacity)


class ScoredModule(AttentionModule):
    """The way from x to y. A leaf says `scores`, or overrides another step."""

    def __init__(self, settings: Any, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.scale: float | Tensor = sizes.head_dim**-0.5
        self.dropout = sizes.dropout if settings.dropout is None else settings.dropout
        self.make_maps(settings, sizes)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        memory: Float[Tensor, "b s d"] | None,
        view: View,
        position: PositionModule,
        entry: CacheSlot | None,
    ) -> Float[Tensor, "b t d"]:
        if memory is None:
            q, k, v = self.project(x)
            k_at = view.q_at  # the new keys stand where the new queries stand
        else:
            q = self.queries(x)
            kept = entry.entry if entry is not None else None
            if isinstance(kept, Memory) and kept.tensors is not None:
                k, v = kept.tensors
            else:
                k, v = self.keys_values(memory)
                if isinstance(kept, Memory):
                    kept.write(k, v)
            k_at = view.k_at
        q, k = self.prepare(tap(self.place, "q", q), tap(self.place, "k", k))
        v = tap(self.place, "v", v)
        q, k = self.turn(q, k, view.q_at, k_at, position)
        if memory is None and entry is not None:
            assert isinstance(entry.entry, KeysValues)
            k, v = entry.entry.append(k, v, entry.slots, entry.reach, entry.even)
        mixed = tap(self.place, "mixed", self.mix(q, self.for_each_query(k), self.for_each_query(v), view, position))
        return self.join(mixed)

    def project(
        self, x: Float[Tensor, "b t d"]
    ) -> tuple[Float[Tensor, "b h t e"], Float[Tensor, "b g t e"], Float[Tensor, "b g t e"]]:
        """Queries, keys and values of the same tokens, in one product."""
        q, k, v = (self.split(y) for y in fused(x, (self.q, self.k, self.v)))
        return q, k, v

    def queries(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b h t e"]:
        return self.split(self.q(x))

    def keys_values(self, m: Float[Tensor, "b s d"]) -> tuple[Float[Tensor, "b g s e"], Float[Tensor, "b g s e"]]:
        k, v = (self.split(y) for y in fused(m, (self.k, self.v)))
        return k, v

    def prepare(
        self, q: Float[Tensor, "b h t e"], k: Float[Tensor, "b g s e"]
    ) -> tuple[Float[Tensor, "b h t e"], Float[Tensor, "b g s e"]]:
        """What happens to queries and keys before positions turn them."""
        return q, k

    def turn(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b g s e"],
        q_at: Places,
        k_at: Places,
        position: PositionModule,
    ) -> tuple[Float[Tensor, "b h t e"], Float[Tensor, "b g s e"]]:
        return position.turn(q, k, q_at, k_at)

    def scores(self, q: Float[Tensor, "b h t e"], k: Float[Tensor, "b h s e"]) -> Float[Tensor, "b h t s"]:
        """How well each key answers each query, before the position's bias."""
        raise NotImplementedError

    def share(
        self, scores: Float[Tensor, "b h t s"], seen: Bool[Tensor, "#b 1 #t s"] | None
    ) -> Float[Tensor, "b h t s"]:
        """Scores → weights: a softmax over the tokens that may be seen. Who sees nothing gets zeros, not NaN."""
        if seen is not None:
            scores = scores.masked_fill(~seen, float("-inf"))
        weights = softmax(tap(self.place, "scores", scores))
        return weights if seen is None else weights.masked_fill(~seen, 0.0)

    def mix(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b h s e"],
        v: Float[Tensor, "b h s n"],
        view: View,
        position: PositionModule,
    ) -> Float[Tensor, "b h t n"]:
        """The lesson: scores, bias, mask, softmax, mixture, each as written above."""
        scores = self.scores(q, k)
        bias = self.bias_of(q, k, view, position)
        if bias is not None:
            scores = scores + bias
        weights = tap(self.place, "weights", self.share(scores, self.seen(view)))
        return self.mixture(weights, v, view, position)

    def seen(self, view: View) -> Bool[Tensor, "#b 1 #t s"] | None:
        """Who may look; None: everybody."""
        return view.seen()

    def mixture(
        self,
        weights: Float[Tensor, "b h t s"],
        v: Float[Tensor, "b h s n"],
        view: View,
        position: PositionModule,
    ) -> Float[Tensor, "b h t n"]:
        """The values, mixed by their weights."""
        weights = dropout(weights, self.dropout, self.training)
        mixed = torch.einsum("bhts,bhse->bhte", weights, v)
        beside = position.values(weights, view.q_at, view.k_at)
        return mixed if beside is None else mixed + beside

    def bias_of(
        self, q: Float[Tensor, "b h t e"], k: Float[Tensor, "b h s e"], view: View, position: PositionModule
    ) -> Float[Tensor, "#b #h t s"] | None:
        """What the position adds to the scaled scores."""
        bias = position.bias(q, k, view.q_at, view.k_at, view.seen)
        return bias if bias is None or not position.inside_scale else bias * self.scale

    def join(self, mixed: Float[Tensor, "b h t e"]) -> Float[Tensor, "b t d"]:
        """The heads side by side, through W_o."""
        return self.o(mixed.transpose(1, 2).flatten(2))


class ProductModule(ScoredModule):
    """Attention whose scores are products q · k, scaled: torch's fused kernel stands beside the formula."""

    def scores(self, q: Float[Tensor, "b h t e"], k: Float[Tensor, "b h s e"]) -> Float[Tensor, "b h t s"]:
        return torch.einsum("bhte,bhse->bhts", q, k) * self.scale

    def mix(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b h s e"],
        v: Float[Tensor, "b h s n"],
        view: View,
        position: PositionModule,
    ) -> Float[Tensor, "b h t n"]:
        if self.takes_formula(q, k) or position.reads_weights:
            return super().mix(q, k, v, view, position)
        return self.kernel(q, k, v, view, self.bias_of(q, k, view, position))

    def kernel(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b h s e"],
        v: Float[Tensor, "b h s n"],
        view: View,
        bias: Float[Tensor, "#b #h t s"] | None,
    ) -> Float[Tensor, "b h t n"]:
        """The same numbers from the fused kernel, which never holds all weights at once."""
        dropout = self.dropout if self.training else 0.0
        scale, width = self.scale, v.shape[-1]
        if isinstance(scale, Tensor):
            q, scale = q * scale, 1.0
        if width < q.shape[-1]:  # the kernels want values as wide as keys, and zeros change nothing
            v = F.pad(v, (0, q.shape[-1] - width))
        elif width > q.shape[-1]:
            q, k = (F.pad(x, (0, width - x.shape[-1])) for x in (q, k))
        if bias is None and view.only_causal():
            mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True, scale=scale)
        else:
            mask = self.mask_of(view, bias, q.dtype)
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=scale)
        return mixed if mixed.shape[-1] == width else mixed[..., :width]

    def mask_of(self, view: View, bias: Float[Tensor, "#b #h t s"] | None, dtype: torch.dtype) -> Tensor | None:
        """Mask and bias as the kernel takes them: who may look, or what is added, with −∞ where nobody may."""
        seen = self.seen(view)
        if bias is None:
            return seen
        return bias.to(dtype) if seen is None else bias.to(dtype).masked_fill(~seen, float("-inf"))

    def takes_formula(self, q: Tensor, k: Tensor) -> bool:
        """Where somebody listens; on a CPU, where generated code is faster, or the kernel has no dropout of its own."""
        short = torch.compiler.is_compiling() and q.shape[2] * k.shape[2] <= SHORT
        drops = self.training and self.dropout > 0 and not torch.compiler.is_compiling()
        return (q.device.type == "cpu" and (short or drops)) or listening()


def softmax(scores: Float[Tensor, "*b s"]) -> Float[Tensor, "*b s"]:
    """Over the last axis, in float32 or better. All −∞ gives NaN, for `masked_fill` to mend."""
    return scores.softmax(-1) if scores.dtype == torch.float64 else scores.float().softmax(-1).to(scores.dtype)
