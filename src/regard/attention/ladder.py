"""The teaching ladder: attention from its bare idea to many heads, one change a rung.

    simplified      y = softmax(x xᵀ / √d) x
    single_head     y = softmax(Q Kᵀ / √d) V        Q = x W_q, K = x W_k, V = x W_v: to ask, answer and say is learnt
    causal_head     the same over s ≤ t, and some of the weights are dropped in training
    stacked_heads   y = W_o · join(head_1 … head_h)        each head with three maps of its own, to e features
    dot             the same, with the heads' maps joined into one

Source   Vaswani et al. 2017, arXiv:1706.03762, §3.2, which is the last two rungs.
Cost     parameters 0, 3 d², 3 d², 4 d² (with biases a few more); always the formula, no fused kernel; a product for
         each head's maps on the fourth rung, where `dot` has one for all.
Differs  One head is as wide as the model, d_model in and out, so that a rung can stand in a stack, which adds norms,
         the residual stream and a cache; the first three have no W_o. Without weights a token sees little but itself,
         since x · x is large. A causal head stands in decoders only; the others obey any mask.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from regard.attention.base import OFFERS, Attention
from regard.attention.cache import Entry, KeysValues
from regard.attention.mask import Causal, View
from regard.attention.scored import Scored, ScoredModule
from regard.layers import Linear, Sizes
from regard.settings import SettingsError


class OneHead(Attention):
    """A head as wide as the model."""

    offers: ClassVar[frozenset[str]] = frozenset(OFFERS)

    def doors(self, sizes: Sizes) -> Sizes:
        return replace(sizes, n_heads=1, n_kv_heads=1, head_dim=sizes.d_model)

    def entry(self, capacity: int | None) -> Entry:
        return KeysValues(capacity)

    def flops(self, sizes: Sizes, t: int, s: int) -> int:
        return 4 * t * s * sizes.d_model


class Simplified(OneHead, kind="simplified"):
    dropout: ClassVar[float] = 0.0

    def build(self, sizes: Sizes) -> SimplifiedModule:
        return SimplifiedModule(self, self.doors(sizes))


class SimplifiedModule(ScoredModule):
    """Rung 1. Each token asks with its own features, and answers and speaks with them too."""

    def make_maps(self, settings: Simplified, sizes: Sizes) -> None:
        """None."""

    def project(
        self, x: Float[Tensor, "b t d"]
    ) -> tuple[Float[Tensor, "b 1 t d"], Float[Tensor, "b 1 t d"], Float[Tensor, "b 1 t d"]]:
        return self.queries(x), *self.keys_values(x)

    def queries(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b 1 t d"]:
        return x[:, None]

    def keys_values(self, m: Float[Tensor, "b s d"]) -> tuple[Float[Tensor, "b 1 s d"], Float[Tensor, "b 1 s d"]]:
        return m[:, None], m[:, None]

    def scores(self, q: Float[Tensor, "b h t e"], k: Float[Tensor, "b h s e"]) -> Float[Tensor, "b h t s"]:
        return torch.einsum("bhte,bhse->bhts", q, k) * self.scale

    def join(self, mixed: Float[Tensor, "b 1 t d"]) -> Float[Tensor, "b t d"]:
        return mixed[:, 0]


class SingleHead(OneHead, kind="single_head"):
    bias: bool = False
    dropout: ClassVar[float] = 0.0

    # softmax ignores what all keys share, and a key's bias adds the same q · b to every score of a row.
    unmoved: ClassVar[tuple[str, ...]] = ("k.bias",)

    def build(self, sizes: Sizes) -> SingleHeadModule:
        return SingleHeadModule(self, self.doors(sizes))


class OneHeadModule(ScoredModule):
    """Three maps of a token's features, and no W_o."""

    def make_maps(self, settings: SingleHead | CausalHead, sizes: Sizes) -> None:
        self.q, self.k, self.v = (Linear(sizes.d_model, sizes.d_model, settings.bias) for _ in range(3))

    def scores(self, q: Float[Tensor, "b h t e"], k: Float[Tensor, "b h s e"]) -> Float[Tensor, "b h t s"]:
        return torch.einsum("bhte,bhse->bhts", q, k) * self.scale

    def join(self, mixed: Float[Tensor, "b 1 t d"]) -> Float[Tensor, "b t d"]:
        return mixed[:, 0]


class SingleHeadModule(OneHeadModule):
    """Rung 2. What a token asks, how it answers and what it says are three maps of its features."""


class CausalHead(OneHead, kind="causal_head"):
    bias: bool = False
    dropout: float | None = Field(None, ge=0, lt=1)

    offers: ClassVar[frozenset[str]] = frozenset(OFFERS) - {"self", "cross"}
    unmoved: ClassVar[tuple[str, ...]] = ("k.bias",)  # as above

    def build(self, sizes: Sizes) -> CausalHeadModule:
        return CausalHeadModule(self, self.doors(sizes))


class CausalHeadModule(OneHeadModule):
    """Rung 3. A token sees none that come after it, whatever else the mask says; `mixture` drops some weights."""

    def seen(self, view: View) -> Bool[Tensor, "#b 1 #t s"]:
        back = Causal().allowed(view.q_slots[:, :, None], view.k_slots[:, None, :])[:, None]
        seen = view.seen()
        return back if seen is None else back & seen


class StackedHeads(Scored, kind="stacked_heads"):
    # softmax ignores what all keys share, and a key's bias adds the same q · b to every score of a row.
    unmoved: ClassVar[tuple[str, ...]] = ("k.bias",)

    def check(self, sizes: Sizes) -> None:
        if sizes.n_kv_heads != sizes.n_heads:
            raise SettingsError(
                f"stacked_heads attention gives each of its {sizes.n_heads} heads own keys and values, and n_kv_heads "
                f"is {sizes.n_kv_heads}: leave n_kv_heads out, or take dot attention."
            )

    def build(self, sizes: Sizes) -> StackedHeadsModule:
        return StackedHeadsModule(self, sizes)


class HeadMaps(nn.Module):
    """The three maps of one of several heads, to e features each."""

    def __init__(self, d: int, e: int, bias: bool) -> None:
        super().__init__()
        self.q, self.k, self.v = (Linear(d, e, bias) for _ in range(3))


class StackedHeadsModule(ScoredModule):
    """Rung 4. Several small heads look in different ways, one after the other, and what they heard is joined."""

    def make_maps(self, settings: StackedHeads, sizes: Sizes) -> None:
        some = settings.bias != "none"
        self.heads = nn.ModuleList(HeadMaps(sizes.d_model, sizes.head_dim, some) for _ in range(sizes.n_heads))
        self.o = Linear(sizes.n_heads * sizes.head_dim, sizes.d_model, settings.bias == "all", residual=True)

    def project(
        self, x: Float[Tensor, "b t d"]
    ) -> tuple[Float[Tensor, "b h t e"], Float[Tensor, "b h t e"], Float[Tensor, "b h t e"]]:
        return self.queries(x), *self.keys_values(x)

    def queries(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b h t e"]:
        return torch.stack([maps.q(x) for maps in self.maps()], dim=1)

    def maps(self) -> list[HeadMaps]:
        return [head for head in self.heads if isinstance(head, HeadMaps)]

    def keys_values(self, m: Float[Tensor, "b s d"]) -> tuple[Float[Tensor, "b h s e"], Float[Tensor, "b h s e"]]:
        k = torch.stack([maps.k(m) for maps in self.maps()], dim=1)
        return k, torch.stack([maps.v(m) for maps in self.maps()], dim=1)

    def scores(self, q: Float[Tensor, "b h t e"], k: Float[Tensor, "b h s e"]) -> Float[Tensor, "b h t s"]:
        heads = zip(q.unbind(1), k.unbind(1), strict=True)
        return torch.stack([q @ k.mT * self.scale for q, k in heads], dim=1)
