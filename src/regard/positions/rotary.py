"""Rotary positions: turn each pair of features by an angle that grows with the position, so that q · k sees distance.

    (a, b) ← (a cos tθ_i − b sin tθ_i,  a sin tθ_i + b cos tθ_i)        θ_i = base^(−2i/r),  i = 0 … r/2 − 1

applied to queries and keys; then q_t · k_s depends on t − s alone. r is the number of features turned.

Source   Su et al. 2021, arXiv:2104.09864, §3.2.2, eq. 14–16 and 34.
Cost     no parameters; two products a feature of q and k; the sines are made once for all layers.
Differs  The paper pairs neighbours (`interleaved=True`, GPT-J); most checkpoints pair feature i with i + r/2
         (the default, Llama and GPT-NeoX). `fraction` turns only the first part of a head (GPT-NeoX: 0.25).
         `scaling` slows the turning for texts longer than those of training: see `scaling`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from regard.layers import Sizes
from regard.positions.base import Places, Position, PositionModule
from regard.positions.scaling import Scaling, rates
from regard.settings import SettingsError


class Rotary(Position, kind="rotary"):
    base: float = Field(10_000.0, gt=1, allow_inf_nan=False)
    fraction: float = Field(1.0, gt=0, le=1)
    interleaved: bool = False
    scaling: Scaling | None = None

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
        return RotaryModule(self, int(sizes.head_dim * self.fraction))


class RotaryModule(PositionModule):
    def __init__(self, settings: Rotary, turned: int) -> None:
        super().__init__()
        scaling = settings.scaling
        self.turned, self.interleaved = turned, settings.interleaved
        self.rates = rates(settings.base, turned) if scaling is None else scaling.rates(settings.base, turned)
        self.size = 1.0 if scaling is None else scaling.size
        self.key = f"rotary {turned} {settings.base} {scaling}"

    def angles(self, index: Int[Tensor, "b t"]) -> tuple[Tensor, Tensor]:
        """cos and sin of each position and pair, [b 1 t r/2], in float64: far positions turn a fast pair many times."""
        angle = index[:, None, :, None] * torch.tensor(self.rates, device=index.device, dtype=torch.float64)
        return angle.cos() * self.size, angle.sin() * self.size

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
