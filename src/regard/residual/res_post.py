"""Res-post-norm: each step reads the bare stream, and what it adds is normed, so that no step can flood the stream.

    x ← x + norm(f(x)),        and one norm after the last layer

Source   Liu et al. 2021 (Swin Transformer V2), arXiv:2111.09883, §3.2; OLMo Team 2024 (OLMo 2), arXiv:2501.00656, eq.
         1–2, which calls it the reordered norm.
Cost     one norm a step, one more a stack.
Differs  Dropout is on what is added, after the norm.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from regard.layers import Norm, Sizes, tap
from regard.residual.base import Residual, ResidualModule, Step


class ResPostNorm(Residual, kind="res_post"):
    def build(self, norm: Norm, sizes: Sizes, steps: int) -> ResPostNormModule:
        return ResPostNormModule(norm, sizes, steps)

    def end(self, norm: Norm, sizes: Sizes) -> nn.Module:
        return norm.build(sizes.d_model)


class ResPostNormModule(ResidualModule):
    def __init__(self, norm: Norm, sizes: Sizes, steps: int) -> None:
        super().__init__(sizes)
        self.norms = nn.ModuleList(norm.build(sizes.d_model) for _ in range(steps))

    def forward(self, x: Float[Tensor, "b t d"], steps: Sequence[Step]) -> Float[Tensor, "b t d"]:
        for norm, step in zip(self.norms, steps, strict=True):
            x = x + self.dropped(norm(step(x)))
        return tap(self.place, "stream", x)
