"""The delta rule: before a token writes its value, it looks up what its key recalls, and writes the difference.

    S_t = S_{t−1} + β_t φ(k_t) (v_t − S_{t−1}ᵀ φ(k_t))ᵀ        y_t = S_tᵀ φ(q_t)        β_t = sigmoid(W_β x_t) a head

so that a key can be given another value, where the sum rule mixes the two. φ is normed; β = 1 replaces all of it.

    dpfp, elu    φ(x) = f(x) / Σ f(x)_i
    silu         φ(x) = silu(x) / |silu(x)|

Source   Schlag, Irie & Schmidhuber 2021, arXiv:2102.11174, §4.2; silu and the chunked form: Yang et al. 2024,
         arXiv:2406.06484, §3.
Cost     4 d² + h d parameters with h = g and h e = d; 3 f e multiply-adds a token and head for f features (2 e ν for
         dpfp), and about c (3 f + 2 e) in chunks of c tokens, which go one after the other; a state of f e numbers.
Differs  Queries are normed as keys are, and y is not divided by a sum of weights. No short convolution.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from regard.attention.dpfp import dpfp
from regard.attention.linear import elu1
from regard.attention.recurrent import Recurrent, RecurrentModule, divided, full_type
from regard.layers import Linear, Sizes


class Delta(Recurrent, kind="delta"):
    features: Literal["dpfp", "elu", "silu"] = "dpfp"
    nu: int = Field(1, ge=1)

    def width(self, sizes: Sizes) -> int:
        return sizes.head_dim * (2 * self.nu if self.features == "dpfp" else 1)

    def flops(self, sizes: Sizes, t: int, s: int) -> int:
        """The sums, and what each key recalls."""
        f, e = self.width(sizes), sizes.head_dim
        met = min(t, self.chunk) if t > 1 else 0
        return super().flops(sizes, t, s) + 2 * t * sizes.n_heads * (f * e + met * (2 * f + e))

    def build(self, sizes: Sizes) -> DeltaModule:
        return DeltaModule(self, sizes)


class DeltaModule(RecurrentModule):
    def __init__(self, settings: Delta, sizes: Sizes) -> None:
        super().__init__(settings, sizes)
        self.map, self.nu = settings.features, settings.nu
        self.beta = Linear(sizes.d_model, sizes.n_heads, settings.bias != "none")

    def features(self, x: Float[Tensor, "b g s e"]) -> Float[Tensor, "b g s f"]:
        if self.map == "silu":
            return F.normalize(F.silu(x), dim=-1)
        y = dpfp(x, self.nu) if self.map == "dpfp" else elu1(x)
        return divided(y, y.sum(-1, keepdim=True))

    def strength(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b h t"]:
        return self.beta(x).to(full_type(x)).sigmoid().transpose(1, 2)
