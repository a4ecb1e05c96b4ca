"""FIRE: a small network reads the distance as a share of how far the token could look, and gives a score to each head.

    score[t, s] = q_t · k_s / √e + f( ψ(|t − s|) / ψ(max(t, L)) )_h        ψ(n) = log(1 + c n),  f one hidden layer

c and L are learned; beyond L a longer text is interpolated: the furthest token always has the share 1.

Source   Li et al. 2023, arXiv:2310.04418, §3; width, c = 0.1 and L = 512 at first as in the code of its appendix.
Cost     (2 + h) · width + 2 parameters a layer; the network runs on each of the t · s pairs in each layer.
Differs  |t − s|, so that encoders may use it. L is learned as a factor on its first value. The last layer has no
         bias: a softmax cannot see it. The first one starts with its kinks evenly spread over the shares. Not relative
         beyond L: the same distance is a smaller share of a longer text.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from regard.layers import Linear, Sizes
from regard.positions.base import Places, Position, PositionModule


class FIRE(Position, kind="fire"):
    width: int = Field(32, ge=1, le=2**16)
    c: float = Field(0.1, gt=0, allow_inf_nan=False)
    threshold: float = Field(512.0, gt=0, allow_inf_nan=False)

    needs = frozenset({"scores"})
    shared = False

    def build(self, sizes: Sizes) -> FIREModule:
        return FIREModule(self, sizes.n_heads)


class FIREModule(PositionModule):
    def __init__(self, settings: FIRE, n_heads: int) -> None:
        super().__init__()
        self.first_c, self.threshold = settings.c, settings.threshold
        self.c = nn.Parameter(torch.empty(()))
        self.stretch = nn.Parameter(torch.empty(()))
        self.slope = nn.Parameter(torch.empty(settings.width))
        self.shift = nn.Parameter(torch.empty(settings.width))
        self.down = Linear(settings.width, n_heads, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.c, self.first_c)
        nn.init.ones_(self.stretch)
        nn.init.ones_(self.slope)
        with torch.no_grad():
            self.shift.copy_(-torch.arange(len(self.shift)) / len(self.shift))

    def share(self, away: Tensor, t: Tensor) -> Tensor:
        """ψ(|t − s|) / ψ(max(t, L)). A distance of 0 has the share 0, whatever stands below it."""
        kind = torch.promote_types(self.c.dtype, torch.float32)  # bfloat16 counts to 256
        c, reach = self.c.abs().to(kind), (self.threshold * self.stretch).abs().to(kind)
        return torch.log1p(c * away.abs()) / (torch.log1p(c * torch.maximum(t.to(kind), reach)) + 1e-6)

    def bias(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b h s e"],
        q_at: Places,
        k_at: Places,
        seen: Callable[[], Tensor | None],
    ) -> Float[Tensor, "#b h t s"]:
        away = q_at.between(k_at, "fire", lambda away: away)
        share = self.share(away, q_at.index[:, :, None]).to(self.slope.dtype)
        return self.down(torch.relu(self.slope * share[..., None] + self.shift)).permute(0, 3, 1, 2)
