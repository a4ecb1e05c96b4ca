"""No position at all: the model sees a bag of words, and order only through the causal mask.

    x_t = x_t

Source   Kazemnejad et al. 2023, arXiv:2305.19466 ("NoPE"): a causal decoder can still count what it sees.
Cost     nothing.
Differs  An encoder without positions cannot see order at all: permuting its input permutes its output.
"""

from __future__ import annotations

from regard.layers import Sizes
from regard.positions.base import Position, PositionModule


class NoPosition(Position, kind="none"):
    relative = True

    def build(self, sizes: Sizes) -> PositionModule:
        return PositionModule()
