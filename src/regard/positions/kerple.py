"""KERPLE: attention fades with distance along a curve that each head learns.

    log      score[t, s] = q_t · k_s / √e − p_h · log(1 + a_h |t − s|)        p, a > 0
    power    score[t, s] = q_t · k_s / √e − a_h · |t − s|^p_h                 a > 0,  0 < p ≤ 2

Source   Chi, Fan, Ramadge & Rudnicky 2022, arXiv:2205.09921, §4: with these bounds the curves are conditionally
         positive definite kernels.
Cost     2 h parameters a layer; a bias [1 h t s] a layer.
Differs  The bounds hold because the learned numbers are the logarithm of a and p and, for the power, p = 2 σ(·); the
         authors clamp them after each step. They start evenly spread over p in (0, 2) and a in (0, 1), from which the
         authors draw.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.layers import Sizes
from regard.positions.base import Places, Position, PositionModule


class KERPLE(Position, kind="kerple"):
    variant: Literal["log", "power"] = "log"

    needs = frozenset({"scores"})
    shared = False
    relative = True

    def build(self, sizes: Sizes) -> KERPLEModule:
        return KERPLEModule(self.variant, sizes.n_heads)


class KERPLEModule(PositionModule):
    def __init__(self, variant: str, n_heads: int) -> None:
        super().__init__()
        self.variant = variant
        self.raw_a = nn.Parameter(torch.empty(n_heads))
        self.raw_p = nn.Parameter(torch.empty(n_heads))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        n_heads = len(self.raw_a)
        spread = (torch.arange(n_heads, dtype=torch.float32) + 0.5) / n_heads
        with torch.no_grad():
            self.raw_a.copy_(spread.log())
            self.raw_p.copy_((2 * spread).log() if self.variant == "log" else spread.logit())

    def curve(self, distance: Float[Tensor, "b 1 t s"]) -> Float[Tensor, "b h t s"]:
        """What each head loses at each distance."""
        a = self.raw_a.exp()[:, None, None]
        if self.variant == "log":
            return self.raw_p.exp()[:, None, None] * torch.log1p(a * distance)
        return a * distance ** (2 * self.raw_p.sigmoid()[:, None, None])

    def bias(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b h s e"],
        q_at: Places,
        k_at: Places,
        seen: Callable[[], Tensor | None],
    ) -> Float[Tensor, "#b h t s"]:
        kind = torch.promote_types(self.raw_a.dtype, torch.float32)  # bfloat16 counts to 256
        return -self.curve(q_at.between(k_at, f"kerple {kind}", lambda away: away.abs()[:, None].to(kind)))
