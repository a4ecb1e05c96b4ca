"""Fast weights: one net writes the weights of another, by adding the outer product of a key and a value for each token.

    W_t = W_{t−1} + v_t φ(k_t)ᵀ        y_t = W_t φ(q_t)

The sum rule of 1991, with φ the identity: attention without a softmax, before attention. With φ(x) = elu(x) + 1 and
`normaliser="sum"`, y_t is divided by φ(q_t) · Σ φ(k_s), and this *is* linear attention.

Source   Schmidhuber 1991, FKI-147-91 (Neural Computation 4(1), 1992); as stated by Schlag, Irie & Schmidhuber 2021,
         arXiv:2102.11174, §2 and §3.
Cost     4 d² parameters with h = g and h e = d; 2 f e multiply-adds a token and head for f features, and c (f + e) in a
         decoder's chunks of c tokens; a state of f e numbers a head.
Differs  1991 squashes the fast weights after each step and applies them once; here they are linear, in several heads.
         Nothing bounds the sum, so a norm must follow. An encoder sums over all tokens.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from regard.attention.dpfp import dpfp
from regard.attention.linear import elu1
from regard.attention.recurrent import Summed, SummedModule
from regard.layers import Sizes
from regard.settings import SettingsError


class FastWeights(Summed, kind="fast_weights"):
    features: Literal["identity", "elu", "dpfp"] = "identity"
    nu: int = Field(1, ge=1)
    normaliser: Literal["none", "sum"] = "none"

    def check(self, sizes: Sizes) -> None:
        if self.features == "identity" and self.normaliser == "sum":
            raise SettingsError(
                "fast_weights attention divides by the sum of its weights, which is safe where they are positive: "
                "with normaliser 'sum' choose features 'elu' or 'dpfp'."
            )

    def width(self, sizes: Sizes) -> int:
        return sizes.head_dim * (2 * self.nu if self.features == "dpfp" else 1)

    def build(self, sizes: Sizes) -> FastWeightsModule:
        return FastWeightsModule(self, sizes)


class FastWeightsModule(SummedModule):
    def __init__(self, settings: FastWeights, sizes: Sizes) -> None:
        super().__init__(settings, sizes)
        self.map, self.nu = settings.features, settings.nu
        self.normalised = settings.normaliser == "sum"

    def features(self, x: Float[Tensor, "b g s e"]) -> Float[Tensor, "b g s f"]:
        return {"identity": lambda: x, "elu": lambda: elu1(x), "dpfp": lambda: dpfp(x, self.nu)}[self.map]()
