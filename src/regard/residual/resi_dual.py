"""ResiDual: a Post-LN stream that the steps read, and beside it a bare sum that carries the gradient down.

    y = f(x),   x ← norm(x + y),   d ← d + y        both start as the input;  after the last layer: x + norm(d)

Source   Xie et al. 2023, arXiv:2304.14802, figure 1; that the sum starts as the input is from the authors' code.
Cost     one norm a step, one more a stack, and a second tensor of the stream's size from layer to layer.
Differs  What a step adds is dropped once for both streams. The tap `stream` is x, which the steps read; `dual` is d.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from regard.layers import Norm, Sizes, tap
from regard.residual.base import Residual, ResidualModule, Step

Pair = tuple[Tensor, Tensor]


class ResiDual(Residual, kind="resi_dual"):
    def begin(self, x: Float[Tensor, "b t d"]) -> Pair:
        return x, x

    def build(self, norm: Norm, sizes: Sizes, steps: int) -> ResiDualModule:
        return ResiDualModule(norm, sizes, steps)

    def end(self, norm: Norm, sizes: Sizes) -> nn.Module:
        return ResiDualEnd(norm, sizes)


class ResiDualModule(ResidualModule):
    def __init__(self, norm: Norm, sizes: Sizes, steps: int) -> None:
        super().__init__(sizes)
        self.norms = nn.ModuleList(norm.build(sizes.d_model) for _ in range(steps))

    def forward(self, stream: Pair, steps: Sequence[Step]) -> Pair:
        x, dual = stream
        for norm, step in zip(self.norms, steps, strict=True):
            y = self.dropped(step(x))
            x, dual = norm(x + y), dual + y
        return tap(self.place, "stream", x), tap(self.place, "dual", dual)


class ResiDualEnd(nn.Module):
    """Joins the two streams."""

    def __init__(self, norm: Norm, sizes: Sizes) -> None:
        super().__init__()
        self.norm = norm.build(sizes.d_model)

    def forward(self, stream: Pair) -> Float[Tensor, "b t d"]:
        x, dual = stream
        return x + self.norm(dual)
