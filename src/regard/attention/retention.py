"""Retention: linear attention that forgets at a fixed rate, fast in some heads and slowly in others.

    S_t = γ_h S_{t−1} + k_t v_tᵀ        y_t = S_tᵀ q_t / √e        γ_h = 1 − 2^(−5−h),  h = 0 … H − 1

or, all at once, y = (Q Kᵀ / √e ⊙ D) V with D_ts = γ^(t−s) for s ≤ t and 0 else. Each head is then normed by itself and
gated, and W_o joins them: silu(x W_gate) ⊙ norm(y).

Source   Sun et al. 2023, arXiv:2307.08621, §2.1–2.2, eq. 5–8.
Cost     5 d² parameters with h = g and h e = d (one d² more than the others, for the gate); 2 e² multiply-adds a token
         and head, and c · 2 e in chunks of c tokens; a state of e² numbers a head.
Differs  Queries and keys are turned as the stack's positions say (the paper's are xPos without the decay). Values are
         as wide as keys, where the paper has them twice as wide. The scalings that the norm undoes are left out, and
         the norm of a head has no weights.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from regard.attention.base import Bias
from regard.attention.recurrent import Recurrent, RecurrentModule, full_type
from regard.layers import Linear, Sizes


class Retention(Recurrent, kind="retention"):
    bias: Bias = "none"

    def build(self, sizes: Sizes) -> RetentionModule:
        return RetentionModule(self, sizes)


class RetentionModule(RecurrentModule):
    def __init__(self, settings: Retention, sizes: Sizes) -> None:
        super().__init__(settings, sizes)
        self.gate = Linear(sizes.d_model, sizes.n_heads * sizes.head_dim, settings.bias != "none")

    def features(self, x: Float[Tensor, "b g s e"]) -> Float[Tensor, "b g s e"]:
        return x * self.head_dim**-0.25

    def log_decay(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "1 h t"]:
        head = torch.arange(self.n_heads, dtype=full_type(x), device=x.device)
        return torch.log1p(-torch.exp2(-5 - head))[None, :, None].expand(1, -1, x.shape[1])

    def finish(self, mixed: Float[Tensor, "b h t e"], x: Float[Tensor, "b t d"]) -> Float[Tensor, "b h t e"]:
        return F.silu(self.split(self.gate(x))) * F.layer_norm(mixed, mixed.shape[-1:])
