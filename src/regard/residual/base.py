"""The contract of a residual placement: how a layer's steps join the stream, and where the norms stand.

A stack does

    stream = residual.begin(x);   for each layer: stream = module(stream, steps);   y = end(stream)

where `steps` are the layer's attention, cross-attention (if it has one) and feed-forward, each a function of one
tensor. Most placements carry one tensor; a placement may carry several between `begin` and `end`.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from regard.layers import Norm, Sizes, dropout
from regard.settings import Part

Step = Callable[[Tensor], Tensor]
Stream = Tensor | tuple[Tensor, ...]


class Residual(Part, family="regard.residual"):
    """How steps join the stream."""

    def begin(self, x: Float[Tensor, "b t d"]) -> Stream:
        """The stream that the first layer gets."""
        return x

    def build(self, norm: Norm, sizes: Sizes, steps: int) -> ResidualModule:
        """A module for one layer of so many steps."""
        raise NotImplementedError

    def end(self, norm: Norm, sizes: Sizes) -> nn.Module:
        """What makes one tensor of the stream after the last layer."""
        return nn.Identity()

    def gain(self, sizes: Sizes) -> float:
        """What the first values of a layer's matrices are multiplied by, those of queries and keys excepted."""
        return 1.0


class ResidualModule(nn.Module):
    """forward(stream, steps: Sequence[Step]) → stream."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.dropout, self.place = sizes.dropout, sizes.place

    def dropped(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """Dropout on what a step adds (§5.4 of the 2017 paper)."""
        return dropout(x, self.dropout, self.training)
