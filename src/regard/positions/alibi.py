"""ALiBi: attention fades in a straight line with distance, more steeply in some heads than in others.

    score[t, s] = q_t · k_s / √e − m_h · |t − s|        m_h = 2^(−8h/H),  h = 1 … H,  H a power of two

Source   Press, Smith & Lewis 2022, arXiv:2108.12409, §3.
Cost     no parameters; a bias [1 h t s], made once for all layers.
Differs  |t − s| instead of t − s, so that encoders may use it; in a decoder the two agree. For another H, as in the
         authors' code, the slopes of the power of two below H are filled up with every other slope of the next one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from regard.layers import Sizes
from regard.positions.base import Places, Position, PositionModule


class ALiBi(Position, kind="alibi"):
    needs = frozenset({"scores"})
    relative = True

    def build(self, sizes: Sizes) -> ALiBiModule:
        return ALiBiModule(sizes.n_heads)


def slopes(n_heads: int) -> list[float]:
    """How steeply each head fades."""
    whole = 2 ** (n_heads.bit_length() - 1)
    even = [2 ** (-8 * head / whole) for head in range(1, whole + 1)]
    return even if whole == n_heads else even + slopes(2 * whole)[0::2][: n_heads - whole]


class ALiBiModule(PositionModule):
    def __init__(self, n_heads: int) -> None:
        super().__init__()
        self.slopes = slopes(n_heads)

    def bias(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b h s e"],
        q_at: Places,
        k_at: Places,
        seen: Callable[[], Tensor | None],
    ) -> Float[Tensor, "#b h t s"]:
        def fade(away: Tensor) -> Tensor:
            slope = torch.tensor(self.slopes, device=q.device, dtype=torch.promote_types(q.dtype, torch.float32))
            return -slope[:, None, None] * away.abs()[:, None]

        return q_at.between(k_at, f"alibi {len(self.slopes)} {q.dtype}", fade)
