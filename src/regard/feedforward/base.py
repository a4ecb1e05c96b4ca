"""The contract of a feed-forward part, which sees each token for itself:

    y = forward(x, real)

with x [b t d] the tokens and real [b t] which of them are no padding (None: all), for those that count tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from regard.layers import Sizes
from regard.settings import Part

Activation = Literal["relu", "gelu", "gelu_tanh", "silu", "relu2"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "relu2": lambda x: F.relu(x).square(),
}


class FeedForward(Part, family="regard.feedforward"):
    """What a layer does to each token alone."""

    activation: Activation
    dropout: float = Field(0.0, ge=0, lt=1)

    unmoved: ClassVar[tuple[str, ...]] = ()

    def check(self, sizes: Sizes) -> None:
        """Refuse sizes that do not go with this part: raises `SettingsError`."""

    def width(self, d_model: int) -> int:
        """d_ff where none is given."""
        raise NotImplementedError

    def build(self, sizes: Sizes) -> FeedForwardModule:
        raise NotImplementedError


class FeedForwardModule(nn.Module):
    balance: Float[Tensor, ""] | None = None
    """What the newest pass in training adds to the objective, in nats a token; None: nothing."""

    def forward(self, x: Float[Tensor, "b t d"], real: Bool[Tensor, "#b t"] | None = None) -> Float[Tensor, "b t d"]:
        raise NotImplementedError
