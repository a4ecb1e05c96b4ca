"""Pre-LN: each step reads a normed copy and adds to the bare stream, which trains deep stacks without warm-up.

    x ← x + f(norm(x)),        and one norm after the last layer

Source   Xiong et al. 2020, arXiv:2002.04745, §3 and figure 1 (b); GPT-2 (Radford et al. 2019, §2.3) had it first.
Cost     one norm a step, one more a stack.
Differs  Dropout is on f(norm(x)) before it is added.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from regard.layers import Norm, Sizes, tap
from regard.residual.base import Residual, ResidualModule, Step


class PreNorm(Residual, kind="pre"):
    def build(self, norm: Norm, sizes: Sizes, steps: int) -> PreNormModule:
        return PreNormModule(norm, sizes, steps)

    def end(self, norm: Norm, sizes: Sizes) -> nn.Module:
        return norm.build(sizes.d_model)


class PreNormModule(ResidualModule):
    def __init__(self, norm: Norm, sizes: Sizes, steps: int) -> None:
        super().__init__(sizes)
        self.norms = nn.ModuleList(norm.build(sizes.d_model) for _ in range(steps))

    def forward(self, x: Float[Tensor, "b t d"], steps: Sequence[Step]) -> Float[Tensor, "b t d"]:
        for norm, step in zip(self.norms, steps, strict=True):
            x = x + self.dropped(step(norm(x)))
        return tap(self.place, "stream", x)
