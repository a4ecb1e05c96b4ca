"""Post-LN: a norm after each addition, as the first Transformer had it.

    x ← norm(x + f(x))

Source   Vaswani et al. 2017, arXiv:1706.03762, §3.1; why it needs a warm-up: Xiong et al. 2020, arXiv:2002.04745.
Cost     one norm a step.
Differs  Dropout is on f(x) before it is added (§5.4).
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from regard.layers import Norm, Sizes, tap
from regard.residual.base import Residual, ResidualModule, Step


class PostNorm(Residual, kind="post"):
    def build(self, norm: Norm, sizes: Sizes, steps: int) -> PostNormModule:
        return PostNormModule(norm, sizes, steps)


class PostNormModule(ResidualModule):
    def __init__(self, norm: Norm, sizes: Sizes, steps: int) -> None:
        super().__init__(sizes)
        self.norms = nn.ModuleList(norm.build(sizes.d_model) for _ in range(steps))

    def forward(self, x: Float[Tensor, "b t d"], steps: Sequence[Step]) -> Float[Tensor, "b t d"]:
        for norm, step in zip(self.norms, steps, strict=True):
            x = norm(x + self.dropped(step(x)))
        return tap(self.place, "stream", x)
