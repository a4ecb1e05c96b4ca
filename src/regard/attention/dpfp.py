"""DPFP: features of queries and keys that are many and nearly orthogonal, with nothing drawn and nothing learnt.

    φ(x) = [r_i · r_{i+j}]  for all i and j = 1 … ν        r = relu([x, −x])

2 e ν features, most of them 0; then as in linear attention, y = φ(q)ᵀ Σ φ(k) vᵀ / φ(q)ᵀ Σ φ(k).

Source   Schlag, Irie & Schmidhuber 2021, arXiv:2102.11174, §5.3.
Cost     4 d² parameters with h = g and h e = d; 2 · 2 e ν · e multiply-adds a token and head, and c (2 e ν + e) in a
         decoder's chunks of c tokens; a state of 2 e ν (e + 1) numbers a head.
Differs  A query that shares no feature with any key gets zeros. The index i + j wraps around.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from regard.attention.recurrent import Summed, SummedModule
from regard.layers import Sizes


class DPFP(Summed, kind="dpfp"):
    nu: int = Field(1, ge=1)

    def width(self, sizes: Sizes) -> int:
        return 2 * sizes.head_dim * self.nu

    def build(self, sizes: Sizes) -> DPFPModule:
        return DPFPModule(self, sizes)


class DPFPModule(SummedModule):
    normalised = True

    def __init__(self, settings: DPFP, sizes: Sizes) -> None:
        super().__init__(settings, sizes)
        self.nu = settings.nu

    def features(self, x: Float[Tensor, "b g s e"]) -> Float[Tensor, "b g s f"]:
        return dpfp(x, self.nu)


def dpfp(x: Float[Tensor, "*b e"], nu: int) -> Float[Tensor, "*b f"]:
    """The 2 e ν products of neighbours."""
    r = torch.cat([x, -x], dim=-1).relu()
    return torch.cat([r * r.roll(-j, dims=-1) for j in range(1, nu + 1)], dim=-1)
