"""Multi-head latent attention: keys and values are made of one short vector a token, and only that is kept.

    c_s = norm(W_c m_s)        k_s = [W_k c_s, turn(W_r m_s)]        v_s = W_v c_s
    c'_t = norm(W_c' x_t)      q_t = W_q c'_t, its last r features turned
    y = W_o · join over heads( softmax(q kᵀ / √(e + r)) v )

The r features of a key that positions may turn are the same for all heads. In generation nothing is unpacked: q_t · k_s
= (W_kᵀ q_t) · c_s + …, so that W_k is absorbed by the query, W_v by the output, and c_s is key and value of all heads.

Source   DeepSeek-AI 2024 (DeepSeek-V2), arXiv:2405.04434, §2.1, eq. 9–19 and appendix C.
Cost     the cache holds kv_rank + r numbers a token, where dot-product attention holds 2 h e. Parameters: d (kv_rank
         + r) + 2 kv_rank h e + h e d, and for the queries d h (e + r), or q_rank (d + h (e + r)).
Differs  `kv_rank=None` is 4 e and `rope_dim=None` the even number at e/2, the paper's proportions; `q_rank=None` leaves
         queries uncompressed. Each position meets the r features alone, with its bias too. The norms of both latent
         vectors are in the authors' code.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from regard.attention.base import OFFERS, Bias, CacheSlot
from regard.attention.cache import KeysValues, Memory
from regard.attention.mask import View
from regard.attention.scored import ProductModule, Scored
from regard.layers import Linear, Norm, RMSNorm, Sizes, tap
from regard.layers.linear import fused
from regard.positions import Places, PositionModule
from regard.settings import SettingsError


class Latent(Scored, kind="latent"):
    kv_rank: int | None = Field(None, ge=1)
    q_rank: int | None = Field(None, ge=1)
    rope_dim: int | None = Field(None, ge=2)
    norm: Norm = RMSNorm(eps=1e-6)
    bias: Bias = "none"

    # A position gives its values in as many features as it meets, and the values here have others.
    offers: ClassVar[frozenset[str]] = frozenset(OFFERS) - {"weights"}

    # Unless a position turns it, a bias of the shared key adds the same to every score of a row.
    unmoved: ClassVar[tuple[str, ...]] = ("k_shared.bias",)

    def check(self, sizes: Sizes) -> None:
        if sizes.n_kv_heads != sizes.n_heads:
            raise SettingsError(
                f"latent attention keeps one vector for all {sizes.n_heads} heads, so {sizes.n_kv_heads} key-value "
                "heads have no meaning here: leave n_kv_heads out."
            )

    def turned(self, sizes: Sizes) -> int:
        """r: how many features positions meet."""
        return self.rope_dim or max(2, sizes.head_dim // 4 * 2)

    def rank(self, sizes: Sizes) -> int:
        """The length of c."""
        return self.kv_rank or 4 * sizes.head_dim

    def build(self, sizes: Sizes) -> LatentModule:
        return LatentModule(self, sizes)

    def doors(self, sizes: Sizes) -> Sizes:
        return replace(sizes, head_dim=self.turned(sizes))

    def flops(self, sizes: Sizes, t: int, s: int) -> int:
        return 2 * t * s * sizes.n_heads * (2 * sizes.head_dim + self.turned(sizes))


class LatentModule(ProductModule):
    def __init__(self, settings: Latent, sizes: Sizes) -> None:
        self.rank, self.turned = settings.rank(sizes), settings.turned(sizes)
        super().__init__(settings, sizes)
        self.scale = (self.head_dim + self.turned) ** -0.5

    def make_maps(self, settings: Latent, sizes: Sizes) -> None:
        """Biases stand where they do in the authors' code: on the way into the latent vectors, and out of the layer."""
        d, h, e, r, some = sizes.d_model, sizes.n_heads, sizes.head_dim, self.turned, settings.bias != "none"
        self.q_down = Linear(d, settings.q_rank, some) if settings.q_rank is not None else None
        self.q_norm = settings.norm.build(settings.q_rank) if settings.q_rank is not None else None
        self.q = Linear(settings.q_rank or d, h * (e + r), bias=False)
        self.kv_down = Linear(d, self.rank, some)
        self.kv_norm = settings.norm.build(self.rank)
        self.k_shared = Linear(d, r, some)
        self.k_up = Linear(self.rank, h * e, bias=False)
        self.v_up = Linear(self.rank, h * e, bias=False)
        self.o = Linear(h * e, d, settings.bias == "all", residual=True)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        memory: Float[Tensor, "b s d"] | None,
        view: View,
        position: PositionModule,
        entry: CacheSlot | None,
    ) -> Float[Tensor, "b t d"]:
        q = self.queries(x)
        kept = entry.entry if entry is not None else None
        if isinstance(kept, Memory) and kept.tensors is not None:
            c, shared = kept.tensors
        else:
            source = x if memory is None else memory
            c, shared = self.kv_norm(self.kv_down(source))[:, None], self.k_shared(source)[:, None]
            if isinstance(kept, Memory):
                kept.write(c, shared)
        c = tap(self.place, "latent", c)
        q, shared = self.turn(q, shared, view.q_at, view.q_at if memory is None else view.k_at, position)
        if entry is not None and isinstance(entry.entry, KeysValues):
            c, shared = entry.entry.append(c, shared, entry.slots, entry.reach, entry.even)
        if entry is not None and self.absorbs(x.shape[1]):
            mixed = self.absorbed(q, c, shared, view, position)
        else:
            mixed = self.unpacked(q, c, shared, view, position)
        return self.join(tap(self.place, "mixed", mixed))

    def queries(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b h t er"]:
        if self.q_down is not None and self.q_norm is not None:
            x = self.q_norm(self.q_down(x))
        return tap(self.place, "q", self.q(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2))

    def turn(
        self,
        q: Float[Tensor, "b h t er"],
        k: Float[Tensor, "b 1 s r"],
        q_at: Places,
        k_at: Places,
        position: PositionModule,
    ) -> tuple[Float[Tensor, "b h t er"], Float[Tensor, "b 1 s r"]]:
        own, met = q.split([self.head_dim, self.turned], dim=-1)
        met, k = position.turn(met, k, q_at, k_at)
        return torch.cat([own, met], dim=-1), k

    def bias_of(
        self, q: Float[Tensor, "b h t er"], k: Float[Tensor, "b h s er"], view: View, position: PositionModule
    ) -> Float[Tensor, "#b #h t s"] | None:
        return super().bias_of(q[..., -self.turned :], k[..., -self.turned :], view, position)

    def unpacked(
        self,
        q: Float[Tensor, "b h t er"],
        c: Float[Tensor, "b 1 s n"],
        shared: Float[Tensor, "b 1 s r"],
        view: View,
        position: PositionModule,
    ) -> Float[Tensor, "b h t e"]:
        """The definition: each head has keys and values of its own."""
        own, v = (self.split(y) for y in fused(c[:, 0], (self.k_up, self.v_up)))
        k = torch.cat([own, shared.expand(-1, self.n_heads, -1, -1)], dim=-1)
        return self.mix(q, tap(self.place, "k", k), tap(self.place, "v", v), view, position)

    def absorbed(
        self,
        q: Float[Tensor, "b h t er"],
        c: Float[Tensor, "b 1 s n"],
        shared: Float[Tensor, "b 1 s r"],
        view: View,
        position: PositionModule,
    ) -> Float[Tensor, "b h t e"]:
        """The same numbers with c as key and value of all heads, for few queries: nothing is unpacked."""
        k_up, v_up = (up.matrix().unflatten(0, (self.n_heads, -1)) for up in (self.k_up, self.v_up))
        own, met = q.split([self.head_dim, self.turned], dim=-1)
        q = torch.cat([torch.einsum("bhte,hen->bhtn", own, k_up), met], dim=-1)
        k = torch.cat([c, shared], dim=-1).expand(-1, self.n_heads, -1, -1)
        # The shared key's features are mixed with c and dropped, which is cheaper than to cut them off first.
        mixed = self.mix(q, k, k, view, position)[..., : self.rank]
        return torch.einsum("bhtn,hen->bhte", mixed, v_up)

    def absorbs(self, t: int) -> bool:
        """Whether t queries cost less than unpacking: 2 t s h (rank − e) multiply-adds against 2 s h e rank."""
        return t * (self.rank - self.head_dim) < self.rank * self.head_dim
