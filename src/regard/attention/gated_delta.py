"""The gated delta rule: a token forgets a share of everything, then writes the difference to what its key recalls.

    S_t = α_t S_{t−1} + β_t k_t (v_t − α_t S_{t−1}ᵀ k_t)ᵀ        y_t = S_tᵀ q_t

    α_t = exp(−a softplus(W_α x_t + b))        β_t = sigmoid(W_β x_t)        q, k ← silu(·) / |silu(·)|

a head each; then silu(x W_gate) ⊙ norm(y), and W_o joins the heads. α = 1 is the delta rule, which clears key by key.

Source   Yang, Kautz & Hatamizadeh 2024, arXiv:2412.06464, §3.1, eq. 10; α as in Mamba 2, arXiv:2405.21060.
Cost     5 d² + 2 h d + 2 h + e parameters with h = g and h e = d; 3 e² multiply-adds a token and head, and about
         5 c e in chunks of c tokens, which go one after the other; a state of e² numbers a head.
Differs  No short convolutions, and values are not activated. a starts at 1 … 16 over the heads and b where softplus is
         0.01, where the authors draw both.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attention.base import Bias
from regard.attention.recurrent import Recurrent, RecurrentModule, full_type
from regard.layers import Linear, RMSNorm, Sizes


class GatedDelta(Recurrent, kind="gated_delta"):
    bias: Bias = "none"

    def flops(self, sizes: Sizes, t: int, s: int) -> int:
        """The sums, and what each key recalls."""
        e, met = sizes.head_dim, min(t, self.chunk) if t > 1 else 0
        return super().flops(sizes, t, s) + 2 * t * sizes.n_heads * (e * e + 3 * met * e)

    def build(self, sizes: Sizes) -> GatedDeltaModule:
        return GatedDeltaModule(self, sizes)


class GatedDeltaModule(RecurrentModule):
    def __init__(self, settings: GatedDelta, sizes: Sizes) -> None:
        super().__init__(settings, sizes)
        d, bias = sizes.d_model, settings.bias != "none"
        self.alpha = Linear(d, sizes.n_heads, False)
        self.beta = Linear(d, sizes.n_heads, bias)
        self.gate = Linear(d, sizes.n_heads * sizes.head_dim, bias)
        self.norm = RMSNorm().build(sizes.head_dim)
        self.rate = nn.Parameter(torch.empty(sizes.n_heads))
        self.shift = nn.Parameter(torch.empty(sizes.n_heads))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        with torch.no_grad():
            self.rate.copy_(torch.linspace(1.0, 16.0, self.n_heads).log())
            self.shift.fill_(math.log(math.expm1(0.01)))

    def features(self, x: Float[Tensor, "b g s e"]) -> Float[Tensor, "b g s e"]:
        return F.normalize(F.silu(x), dim=-1)

    def log_decay(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b h t"]:
        step = F.softplus(self.alpha(x).to(full_type(x)) + self.shift)
        return -(self.rate.exp() * step).transpose(1, 2)

    def strength(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b h t"]:
        return self.beta(x).to(full_type(x)).sigmoid().transpose(1, 2)

    def finish(self, mixed: Float[Tensor, "b h t e"], x: Float[Tensor, "b t d"]) -> Float[Tensor, "b h t e"]:
        return F.silu(self.split(self.gate(x))) * self.norm(mixed)
