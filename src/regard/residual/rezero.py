"""ReZero: no norms; each layer learns how much it adds, and starts with nothing.

    x ← x + α f(x)        α = 0 at first, one for all steps of a layer

Source   Bachlechner et al. 2020, arXiv:2003.04887, §3; one α a layer as in the authors' Transformer.
Cost     one parameter a layer; no norms.
Differs  The stack's `norm` is not used. While α is 0 a layer's matrices get no gradient: they move from step two on.
         Nothing makes a small embedding larger: begin with `input.scale = "sqrt_d_model"`, which learns faster.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.layers import Norm, Sizes, tap
from regard.residual.base import Residual, ResidualModule, Step


class ReZero(Residual, kind="rezero"):
    def build(self, norm: Norm, sizes: Sizes, steps: int) -> ReZeroModule:
        return ReZeroModule(sizes)


class ReZeroModule(ResidualModule):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.alpha = nn.Parameter(torch.empty(1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.alpha)

    def forward(self, x: Float[Tensor, "b t d"], steps: Sequence[Step]) -> Float[Tensor, "b t d"]:
        for step in steps:
            x = x + self.alpha * self.dropped(step(x))
        return tap(self.place, "stream", x)
