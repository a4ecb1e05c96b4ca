"""xPos: rotary positions whose products also shrink with distance, each pair of features at its own pace.

    q_t ← ζ^(t/B) · turn(q_t, t)        k_s ← ζ^(−s/B) · turn(k_s, s)

    ζ_i = (2i/e + γ) / (1 + γ)  for the pairs  i = 0 … e/2 − 1

so that q_t · k_s is a sum over pairs with the weights ζ_i^((t−s)/B).

Source   Sun et al. 2022, arXiv:2212.10554, §3; γ = 0.4, and B = 512 in its authors' code.
Cost     no parameters; one product a feature of q and k more than rotary.
Differs  For decoders only: what stands ahead would grow with distance. Exponents count from the middle of the context,
         which changes no product and keeps the numbers small: float32 reaches some 35,000 tokens to each side. The
         paper reads long texts through windows as well: that is a stack's `pattern`.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from regard.layers import Sizes
from regard.positions.base import Places, Position, PositionModule
from regard.positions.rotary import Rotary


class XPos(Position, kind="xpos"):
    base: float = Field(10_000.0, gt=0, allow_inf_nan=False)
    interleaved: bool = False
    gamma: float = Field(0.4, gt=0, allow_inf_nan=False)
    scale_base: float = Field(512.0, gt=0, allow_inf_nan=False)

    needs = frozenset({"turn", "causal"})
    relative = True

    @property
    def rotary(self) -> Rotary:
        return Rotary(base=self.base, interleaved=self.interleaved)

    def check(self, sizes: Sizes) -> None:
        self.rotary.check(sizes)

    def build(self, sizes: Sizes) -> XPosModule:
        return XPosModule(self, sizes)


class XPosModule(PositionModule):
    def __init__(self, settings: XPos, sizes: Sizes) -> None:
        super().__init__()
        self.rotary = settings.rotary.build(sizes)
        self.interleaved = settings.interleaved
        e, gamma = sizes.head_dim, settings.gamma
        pairs = [(2 * pair / e + gamma) / (1 + gamma) for pair in range(e // 2)]
        self.decay = [math.log(zeta) / settings.scale_base for zeta in pairs]
        self.middle = sizes.context_length // 2
        self.key = f"xpos {e} {settings}"

    def growth(self, index: Int[Tensor, "b t"]) -> Float[Tensor, "b 1 t e"]:
        """ζ^(t/B) of each feature, in float64."""
        decay = torch.tensor(self.decay, device=index.device, dtype=torch.float64)
        decay = decay.repeat_interleave(2) if self.interleaved else decay.repeat(2)
        return ((index - self.middle)[:, None, :, None] * decay).exp()

    def turn(
        self, q: Float[Tensor, "b h t e"], k: Float[Tensor, "b g s e"], q_at: Places, k_at: Places
    ) -> tuple[Float[Tensor, "b h t e"], Float[Tensor, "b g s e"]]:
        q, k = self.rotary.turn(q, k, q_at, k_at)
        return q * self._grown(q, q_at)[0], k * self._grown(k, k_at)[1]

    def _grown(self, x: Tensor, at: Places) -> tuple[Tensor, ...]:
        def make(index: Tensor) -> tuple[Tensor, ...]:
            growth = self.growth(index)
            return growth.to(x.dtype), growth.reciprocal().to(x.dtype)

        return at.once(f"{self.key} {x.dtype}", make)
