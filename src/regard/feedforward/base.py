"""The contract of a feed-forward part: forward(x [b t d]) → [b t d], each token for itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

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

    def build(self, sizes: Sizes) -> nn.Module:
        raise NotImplementedError
