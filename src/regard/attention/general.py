"""General attention: a matrix between query and key, so that features are compared with other features.

    score[t, s] = x_tᵀ W m_s / √e        y = W_o · Σ_s softmax(score)[t, s] W_v m_s

x_t asks as it is; in h heads x is cut into h slices of e features, and each head has e rows of W.

Source   Luong, Pham & Manning 2015, arXiv:1508.04025, §3.1, eq. 8 ("general").
Cost     3 d² parameters with h = g, one matrix fewer than dot-product attention; as many products of scores.
Differs  Luong has one head, no scale (`scale=1.0`) and mixes the states themselves, without W_v and W_o. With a matrix
         for the queries too this is dot-product attention, whose W_qᵀ W_k is a W of rank e.
"""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from regard.attention.scored import ProductModule, Scored
from regard.layers import Linear, Sizes
from regard.settings import SettingsError


class General(Scored, kind="general"):
    scale: float | None = None

    # softmax ignores what all keys share, and a key's bias adds the same x · b to every score of a row.
    unmoved: ClassVar[tuple[str, ...]] = ("k.bias",)

    def check(self, sizes: Sizes) -> None:
        if sizes.n_heads * sizes.head_dim != sizes.d_model:
            raise SettingsError(
                f"general attention asks with the tokens themselves, and {sizes.n_heads} heads × head_dim "
                f"{sizes.head_dim} is not d_model {sizes.d_model}: leave head_dim out."
            )

    def build(self, sizes: Sizes) -> GeneralModule:
        return GeneralModule(self, sizes)


class GeneralModule(ProductModule):
    def __init__(self, settings: General, sizes: Sizes) -> None:
        super().__init__(settings, sizes)
        if settings.scale is not None:
            self.scale = settings.scale

    def make_maps(self, settings: General, sizes: Sizes) -> None:
        d, e, some = sizes.d_model, sizes.head_dim, settings.bias != "none"
        self.k = Linear(d, sizes.n_kv_heads * e, some)
        self.v = Linear(d, sizes.n_kv_heads * e, some)
        self.o = Linear(sizes.n_heads * e, d, settings.bias == "all", residual=True)

    def project(
        self, x: Float[Tensor, "b t d"]
    ) -> tuple[Float[Tensor, "b h t e"], Float[Tensor, "b g t e"], Float[Tensor, "b g t e"]]:
        return self.queries(x), *self.keys_values(x)

    def queries(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b h t e"]:
        return self.split(x)
