"""Sinusoidal positions: each position is a fan of sines and cosines from fast to slow, added to the input.

    P[t, 2i] = sin(t / base^(2i/d))        P[t, 2i+1] = cos(t / base^(2i/d))

Source   Vaswani et al. 2017, arXiv:1706.03762, §3.5.
Cost     no parameters; made from the formula for any position, once for all layers.
Differs  `layout="half"` puts all sines first and all cosines after, as the authors' own code does. With an odd d the
         last sine has no cosine.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from regard.layers import Sizes
from regard.positions.base import Places, Position, PositionModule


class Sinusoidal(Position, kind="sinusoidal"):
    base: float = Field(10_000.0, gt=0, allow_inf_nan=False)
    layout: Literal["interleaved", "half"] = "interleaved"

    def build(self, sizes: Sizes) -> SinusoidalModule:
        return SinusoidalModule(sizes.d_model, self.base, self.layout)


class SinusoidalModule(PositionModule):
    def __init__(self, d: int, base: float, layout: str) -> None:
        super().__init__()
        self.d, self.base, self.layout = d, base, layout

    def table(self, index: Int[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """The encoding of each position, in float64: far positions turn a fast sine many times."""
        pair = torch.arange((self.d + 1) // 2, device=index.device, dtype=torch.float64)
        rate = torch.exp(pair * (-2 * math.log(self.base) / self.d))
        angle = index[..., None] * rate
        if self.layout == "half":
            return torch.cat([angle.sin(), angle.cos()], dim=-1)[..., : self.d]
        return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)[..., : self.d]

    def add(self, x: Float[Tensor, "b t d"], at: Places) -> Float[Tensor, "b t d"]:
        return x + self.table(at.index).to(x.dtype)
