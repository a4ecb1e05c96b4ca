"""Sinusoidal positions: each position is a fan of sines and cosines from fast to slow, added to the input.

    P[t, 2i] = sin(t / base^(2i/d))        P[t, 2i+1] = cos(t / base^(2i/d))

Source   Vaswani et al. 2017, arXiv:1706.03762, §3.5.
Cost     no parameters; made from the formula for any position, once for all layers.
Differs  `layout="half"` puts all sines first and all cosines after, as the authors' own code does, and
         `first="cosine"` swaps the two. `endpoint` ends the fan at the rate 1/base exactly, which that code does too:
         base^(−i/(n−1)) for pair i of n. `offset` starts to count there (2 in models trained with fairseq). With an
         odd d the last of the first kind has no partner.
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
    first: Literal["sine", "cosine"] = "sine"
    endpoint: bool = False
    offset: int = Field(0, ge=0, le=2**16)

    def build(self, sizes: Sizes) -> SinusoidalModule:
        return SinusoidalModule(self, sizes.d_model)


class SinusoidalModule(PositionModule):
    def __init__(self, settings: Sinusoidal, d: int) -> None:
        super().__init__()
        self.d, self.settings = d, settings

    def table(self, index: Int[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """The encoding of each position, in float64: far positions turn a fast sine many times."""
        settings, pairs = self.settings, (self.d + 1) // 2
        last = max(pairs - 1, 1) if settings.endpoint else self.d / 2
        pair = torch.arange(pairs, device=index.device, dtype=torch.float64)
        angle = (index + settings.offset)[..., None] * torch.exp(pair * (-math.log(settings.base) / last))
        fans = [angle.sin(), angle.cos()] if settings.first == "sine" else [angle.cos(), angle.sin()]
        fan = torch.cat(fans, dim=-1) if settings.layout == "half" else torch.stack(fans, dim=-1).flatten(-2)
        return fan[..., : self.d]

    def add(self, x: Float[Tensor, "b t d"], at: Places) -> Float[Tensor, "b t d"]:
        return x + self.table(at.index).to(x.dtype)
