"""The feed-forward part of a layer: each token for itself, widened, bent, and brought back.

    MLP      y = W₂ f(W₁ x + b₁) + b₂                  f: ReLU, GELU, SiLU, ReLU²
    Gated    y = W₂ (f(W_g x) ⊙ W₁ x)                  SwiGLU with f = SiLU, GeGLU with f = GELU

Source   Vaswani et al. 2017, arXiv:1706.03762, §3.3; Shazeer 2020, arXiv:2002.05202 (gated);
         So et al. 2021, arXiv:2109.08668 (ReLU²).
Cost     2 d f parameters (MLP), 3 d f (Gated), two operations each a token.
Differs  Without d_ff, an MLP is 4 d wide as in 2017 and a Gated one 8/3 d, rounded up to a multiple of 64, so that
         both have the same number of parameters. `gelu` is exact, `gelu_tanh` the approximation that GPT-2 used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from regard.layers import Linear, Sizes, tap
from regard.settings import Part

Activation = Literal["relu", "gelu", "gelu_tanh", "silu", "relu2"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "relu2": lambda x: F.relu(x).square(),
}


class FeedForward(Part, family="regard.model.feedforward"):
    """What a layer does to each token alone."""

    activation: Activation
    dropout: float = Field(0.0, ge=0, lt=1)

    unmoved: ClassVar[tuple[str, ...]] = ()

    def width(self, d_model: int) -> int:
        """d_ff where none is given."""
        raise NotImplementedError

    def build(self, sizes: Sizes) -> nn.Module:
        raise NotImplementedError


class MLP(FeedForward):
    activation: Activation = "gelu"
    bias: bool = True

    def width(self, d_model: int) -> int:
        return 4 * d_model

    def build(self, sizes: Sizes) -> MLPModule:
        return MLPModule(self, sizes)


class Gated(FeedForward):
    activation: Activation = "silu"
    bias: bool = False

    def width(self, d_model: int) -> int:
        return -(-8 * d_model // (3 * 64)) * 64

    def build(self, sizes: Sizes) -> GatedModule:
        return GatedModule(self, sizes)


class MLPModule(nn.Module):
    def __init__(self, settings: MLP, sizes: Sizes) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[settings.activation]
        self.dropout = settings.dropout
        self.place = sizes.place
        self.up = Linear(sizes.d_model, sizes.d_ff, settings.bias)
        self.down = Linear(sizes.d_ff, sizes.d_model, settings.bias, residual=True)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        hidden = tap(self.place, "hidden", self.activation(self.up(x)))
        return self.down(F.dropout(hidden, self.dropout, self.training))


class GatedModule(nn.Module):
    def __init__(self, settings: Gated, sizes: Sizes) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[settings.activation]
        self.dropout = settings.dropout
        self.place = sizes.place
        self.gate = Linear(sizes.d_model, sizes.d_ff, settings.bias)
        self.up = Linear(sizes.d_model, sizes.d_ff, settings.bias)
        self.down = Linear(sizes.d_ff, sizes.d_model, settings.bias, residual=True)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        hidden = tap(self.place, "hidden", self.activation(self.gate(x)) * self.up(x))
        return self.down(F.dropout(hidden, self.dropout, self.training))


KINDS: dict[str, type[FeedForward]] = {
    "mlp": MLP,
    "gated": Gated,
}

__all__ = ["ACTIVATIONS", "KINDS", "MLP", "FeedForward", "Gated"]
