"""Sandwich-LN: Pre-LN with a second norm on what each step adds, so that no step can flood the stream.

    x ← x + norm′(f(norm(x))),        and one norm after the last layer

Source   Ding et al. 2021 (CogView), arXiv:2105.13290, §2.4; Gemma 2, arXiv:2408.00118, §2, norms the same places.
Cost     two norms a step, one more a stack.
Differs  Dropout is on what is added, after the second norm.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from regard.layers import Norm, Sizes, tap
from regard.residual.base import Residual, ResidualModule, Step


class Sandwich(Residual, kind="sandwich"):
    def build(self, norm: Norm, sizes: Sizes, steps: int) -> SandwichModule:
        return SandwichModule(norm, sizes, steps)

    def end(self, norm: Norm, sizes: Sizes) -> nn.Module:
        return norm.build(sizes.d_model)


class SandwichModule(ResidualModule):
    def __init__(self, norm: Norm, sizes: Sizes, steps: int) -> None:
        super().__init__(sizes)
        self.norms = nn.ModuleList(norm.build(sizes.d_model) for _ in range(steps))
        self.out_norms = nn.ModuleList(norm.build(sizes.d_model) for _ in range(steps))

    def forward(self, x: Float[Tensor, "b t d"], steps: Sequence[Step]) -> Float[Tensor, "b t d"]:
        for norm, out_norm, step in zip(self.norms, self.out_norms, steps, strict=True):
            x = x + self.dropped(out_norm(step(norm(x))))
        return tap(self.place, "stream", x)
