"""Linformer: a sentence's keys and values are mixed into k slots, and every token attends to the slots.

    y = softmax(Q (E K)ᵀ / √e) (F V)        E, F [k n]: what the token at position s puts into slot j

so that time and memory grow with n · k. What fills a slot is a sum over the whole sentence: encoders only.

Source   Wang et al. 2020, arXiv:2006.04768, §4, eq. 7; sharing: §4, "headwise" and "key-value".
Cost     4 d² + 2 n k parameters with h = g, h e = d and n = context_length; 4 k d multiply-adds a token.
Differs  Every slot is in the softmax, however short the sentence. E and F are rows of a table by position, so that the
         side of the padding changes nothing; they are shared by all heads. Packed documents have their own slots and
         cost the square of the length.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from regard.attention.mask import Documents, Padding, View
from regard.attention.scored import Scored, ScoredModule
from regard.layers import Embedding, Sizes, dropout, listening, tap
from regard.positions import PositionModule
from regard.settings import RegardError


class Linformer(Scored, kind="linformer"):
    slots: int = Field(256, ge=1)
    share: Literal["heads", "keys_values"] = "heads"

    offers: ClassVar[frozenset[str]] = frozenset({"self", "turn", "documents"})

    def flops(self, sizes: Sizes, t: int, s: int) -> int:
        """Filling the slots, and looking at them."""
        return 4 * (s + t) * self.slots * sizes.n_heads * sizes.head_dim

    def build(self, sizes: Sizes) -> LinformerModule:
        return LinformerModule(self, sizes)


class LinformerModule(ScoredModule):
    def __init__(self, settings: Linformer, sizes: Sizes) -> None:
        super().__init__(settings, sizes)
        self.context_length = sizes.context_length
        self.into_k = Embedding(sizes.context_length, settings.slots)
        self.into_v = Embedding(sizes.context_length, settings.slots) if settings.share == "heads" else None

    def mix(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b h s e"],
        v: Float[Tensor, "b h s e"],
        view: View,
        position: PositionModule,
    ) -> Float[Tensor, "b h t e"]:
        if not view.mask.made_of(Padding, Documents):
            raise RegardError("linformer attention mixes whole sentences and knows padding and documents only.")
        if k.shape[2] > self.context_length:
            raise RegardError(
                f"this text is {k.shape[2]} tokens long, and linformer attention has slots for {self.context_length}: "
                "shorten it, or train a model with a longer context_length."
            )
        one = self.into_k(view.k_at.index)
        other = one if self.into_v is None else self.into_v(view.k_at.index)
        if listening() or view.mask.documents is not None:
            return self.formula(q, k, v, one, other, view)
        real = view.real()
        if real is not None:
            one, other = one * real[..., None], other * real[..., None]
        k, v = torch.einsum("bsj,bhse->bhje", one, k), torch.einsum("bsj,bhse->bhje", other, v)
        weights = self.share((q @ k.mT) * self.scale, None)
        return dropout(weights, self.dropout, self.training) @ v

    def formula(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b h s e"],
        v: Float[Tensor, "b h s e"],
        one: Float[Tensor, "#b s j"],
        other: Float[Tensor, "#b s j"],
        view: View,
    ) -> Float[Tensor, "b h t e"]:
        """The same from all pairs of tokens, so that each may see other tokens: its own document's."""
        seen = view.seen()
        left = q.new_ones(()) if seen is None else seen.to(q.dtype)
        pairs = torch.einsum("bhte,bhse->bhts", q, k) * left
        weights = tap(self.place, "slots", self.share(pairs @ one[:, None] * self.scale, None))
        weights = dropout(weights, self.dropout, self.training)
        return (weights @ other[:, None].mT * left) @ v
