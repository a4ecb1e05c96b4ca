"""Rotary positions: turn each pair of features by an angle that grows with the position, so that q · k sees distance.

    (a, b) ← (a cos tθ_i − b sin tθ_i,  a sin tθ_i + b cos tθ_i)        θ_i = base^(−2i/r),  i = 0 … r/2 − 1

applied to queries and keys; then q_t · k_s depends on t − s alone. r is the number of features turned.

Source   Su et al. 2021, arXiv:2104.09864, §3.2.2, eq. 14–16 and 34.
Cost     no parameters; two products a feature of q and k; the sines are made once for all layers.
Differs  The paper pairs neighbours (`interleaved=True`, GPT-J); most checkpoints pair feature i with i + r/2
         (the default, Llama and GPT-NeoX). `fraction` turns only the first part of a head (GPT-NeoX: 0.25).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from regard.layers import Sizes
from regard.positions.base import Places, Position, PositionModule
from regard.settings import SettingsError


class Rotary(Position, kind="rotary"):
    base: float = Field(10_000.0, gt=0, allow_inf_nan=False)
    fraction: float = Field(1.0, gt=0, le=1)
    interleaved: bool = False

    needs = frozenset({"turn"})
    relative = True

    def check(self, sizes: Sizes) -> None:
        turned = int(sizes.head_dim * self.fraction)
        if turned < 2 or turned % 2:
            raise SettingsError(
                f"rotary positions turn pairs of features, but head_dim {sizes.head_dim} × fraction {self.fraction} "
                f"is {turned}: choose an even head_dim."
            )

    def build(self, sizes: Sizes) -> RotaryModule:
        self.check(sizes)
        turned = int(sizes.head_dim * self.fraction)
        return RotaryModule(turned, self.base, self.interleaved)


class RotaryModule(PositionModule):
    def __init__(self, turned: int, base: float, interleaved: bool) -> None:
        super().__init__()
        self.turned, self.base, self.interleaved = turned, base, interleaved
        self.key = f"rotary {turned} {base}"

    def angles(self, index: Int[Tensor, "b t"]) -> tuple[Tensor, Tensor]:
        """cos and sin of each position and pair, [b 1 t r/2], in float32 (float64 in a float64 model)."""
        pair = torch.arange(0, self.turned, 2, device=index.device, dtype=torch.float64)
        angle = index[:, None, :, None] * torch.exp(pair * (-math.log(self.base) / self.turned))
        return angle.cos(), angle.sin()

    def turn(
        self, q: Float[Tensor, "b h t e"], k: Float[Tensor, "b g s e"], q_at: Places, k_at: Places
    ) -> tuple[Float[Tensor, "b h t e"], Float[Tensor, "b g s e"]]:
        return self._turned(q, q_at), self._turned(k, k_at)

    def _turned(self, x: Tensor, at: Places) -> Tensor:
        cos, sin = at.once(f"{self.key} {x.dtype}", lambda index: tuple(a.to(x.dtype) for a in self.angles(index)))
        rest = x[..., self.turned :]
        x = x[..., : self.turned]
        a, b = (x[..., 0::2], x[..., 1::2]) if self.interleaved else x.chunk(2, dim=-1)
        pair = (a * cos - b * sin, a * sin + b * cos)
        turned = torch.stack(pair, dim=-1).flatten(-2) if self.interleaved else torch.cat(pair, dim=-1)
        return torch.cat([turned, rest], dim=-1) if rest.shape[-1] else turned
