"""MLP: each token is widened, bent, and brought back.

    y = W₂ f(W₁ x + b₁) + b₂        f: ReLU, GELU, SiLU, or ReLU²

Source   Vaswani et al. 2017, arXiv:1706.03762, §3.3, eq. 2; GELU: Hendrycks & Gimpel 2016, arXiv:1606.08415;
         ReLU²: So et al. 2021, arXiv:2109.08668.
Cost     2 d f parameters, twice as many operations a token.
Differs  Without d_ff it is 4 d wide, as in 2017. `gelu` is exact, `gelu_tanh` the approximation that GPT-2 used.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from regard.feedforward.base import ACTIVATIONS, Activation, FeedForward, FeedForwardModule
from regard.layers import Linear, Sizes, dropout, tap


class MLP(FeedForward, kind="mlp"):
    activation: Activation = "gelu"
    bias: bool = True

    def width(self, d_model: int) -> int:
        return 4 * d_model

    def build(self, sizes: Sizes) -> MLPModule:
        return MLPModule(self, sizes)


class MLPModule(FeedForwardModule):
    def __init__(self, settings: MLP, sizes: Sizes) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[settings.activation]
        self.dropout = settings.dropout
        self.place = sizes.place
        self.up = Linear(sizes.d_model, sizes.d_ff, settings.bias)
        self.down = Linear(sizes.d_ff, sizes.d_model, settings.bias, residual=True)

    def forward(self, x: Float[Tensor, "b t d"], real: Bool[Tensor, "#b t"] | None = None) -> Float[Tensor, "b t d"]:
        hidden = tap(self.place, "hidden", self.activation(self.up(x)))
        return self.down(dropout(hidden, self.dropout, self.training))
