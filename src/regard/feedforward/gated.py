"""Gated feed-forward: one half of the widened token decides how much of the other passes.

    y = W₂ (f(W_g x) ⊙ W₁ x)        SwiGLU with f = SiLU, GeGLU with f = GELU, ReGLU with f = ReLU

Source   Shazeer 2020, arXiv:2002.05202, eq. 5–6.
Cost     3 d f parameters, twice as many operations a token.
Differs  Without d_ff it is 8/3 d wide, rounded up to a multiple of 64, so that it has as many parameters as an MLP of
         width 4 d.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from regard.feedforward.base import ACTIVATIONS, Activation, FeedForward, FeedForwardModule
from regard.layers import Linear, Sizes, dropout, tap


class Gated(FeedForward, kind="gated"):
    activation: Activation = "silu"
    bias: bool = False

    def width(self, d_model: int) -> int:
        return -(-8 * d_model // (3 * 64)) * 64

    def build(self, sizes: Sizes) -> GatedModule:
        return GatedModule(self, sizes)


class GatedModule(FeedForwardModule):
    def __init__(self, settings: Gated, sizes: Sizes) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[settings.activation]
        self.dropout = settings.dropout
        self.place = sizes.place
        self.gate = Linear(sizes.d_model, sizes.d_ff, settings.bias)
        self.up = Linear(sizes.d_model, sizes.d_ff, settings.bias)
        self.down = Linear(sizes.d_ff, sizes.d_model, settings.bias, residual=True)

    def forward(self, x: Float[Tensor, "b t d"], real: Bool[Tensor, "#b t"] | None = None) -> Float[Tensor, "b t d"]:
        hidden = tap(self.place, "hidden", self.activation(self.gate(x)) * self.up(x))
        return self.down(dropout(hidden, self.dropout, self.training))
