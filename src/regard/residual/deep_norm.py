"""DeepNorm: Post-LN with a louder stream and quieter first values, so that a thousand layers train.

    x ← norm(α x + f(x)),        first values of every matrix but W_q and W_k times β

                          α                  β
    one stack of N        (2N)^(1/4)         (8N)^(−1/4)
    encoder of N          0.81 (N⁴M)^(1/16)  0.87 (N⁴M)^(−1/16)        beside a decoder of M
    decoder of M          (3M)^(1/4)         (12M)^(−1/4)              beside an encoder

Source   Wang et al. 2022, arXiv:2203.00555, §2 and figure 2.
Cost     one norm a step; α and β are constants.
Differs  The paper's first values are Xavier's: choose `initialisation = "xavier"`. Under the default, which makes what
         is added to the stream smaller still, α and β do what they say on top.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from regard.layers import Norm, Sizes, tap
from regard.residual.base import Residual, ResidualModule, Step


class DeepNorm(Residual, kind="deep_norm"):
    def alpha(self, sizes: Sizes) -> float:
        """What the stream is multiplied by before each addition."""
        return self._constants(sizes)[0]

    def gain(self, sizes: Sizes) -> float:
        return self._constants(sizes)[1]

    def build(self, norm: Norm, sizes: Sizes, steps: int) -> DeepNormModule:
        return DeepNormModule(norm, sizes, steps, self.alpha(sizes))

    def _constants(self, sizes: Sizes) -> tuple[float, float]:
        if not sizes.other_depth:
            return (2 * sizes.depth) ** 0.25, (8 * sizes.depth) ** -0.25
        if sizes.causal:
            return (3 * sizes.depth) ** 0.25, (12 * sizes.depth) ** -0.25
        both = (sizes.depth**4 * sizes.other_depth) ** 0.0625
        return 0.81 * both, 0.87 / both


class DeepNormModule(ResidualModule):
    def __init__(self, norm: Norm, sizes: Sizes, steps: int, alpha: float) -> None:
        super().__init__(sizes)
        self.alpha = alpha
        self.norms = nn.ModuleList(norm.build(sizes.d_model) for _ in range(steps))

    def forward(self, x: Float[Tensor, "b t d"], steps: Sequence[Step]) -> Float[Tensor, "b t d"]:
        for norm, step in zip(self.norms, steps, strict=True):
            x = norm(self.alpha * x + self.dropped(step(x)))
        return tap(self.place, "stream", x)
