"""CoPE: positions are counted by content: each query decides which of the tokens it sees count, and by how much.

    score[t, s] = q_t · (k_s + e(p[t, s])) / √e        p[t, s] = Σ_{s ≤ j ≤ t} σ(q_t · k_j / √e)

e(p) lies on the line between the learned vectors of the two whole numbers around p; the last stands for all beyond.

Source   Golovneva et al. 2024, arXiv:2405.18719, §4, and its authors' code.
Cost     (positions + 1) · e parameters a layer, shared by its heads; the products q · k once more, a running sum of
         them, and each query meets each vector.
Differs  A token that may not be seen (padding, another document) does not count. `positions=None` is the context
         length, as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from regard.layers import Embedding, Sizes
from regard.positions.base import Places, Position, PositionModule


class CoPE(Position, kind="cope"):
    positions: int | None = Field(None, ge=1, le=2**24)

    needs = frozenset({"scores", "causal"})
    shared = False
    relative = True

    def build(self, sizes: Sizes) -> CoPEModule:
        return CoPEModule(self.positions or sizes.context_length, sizes.head_dim)


class CoPEModule(PositionModule):
    inside_scale = True

    def __init__(self, last: int, e: int) -> None:
        super().__init__()
        self.last = last
        self.table = Embedding(last + 1, e)

    def count(
        self, q: Float[Tensor, "b h t e"], k: Float[Tensor, "b h s e"], seen: Bool[Tensor, "#b 1 #t s"] | None
    ) -> Float[Tensor, "b h t s"]:
        """p[t, s]: how many tokens query t counts from s on."""
        gates = torch.einsum("bhte,bhse->bhts", q, k).mul(q.shape[-1] ** -0.5).sigmoid()
        gates = gates if gates.dtype == torch.float64 else gates.float()  # a sum of many small numbers
        if seen is not None:
            gates = gates.masked_fill(~seen, 0.0)
        return gates.flip(-1).cumsum(-1).flip(-1).clamp(max=self.last)

    def bias(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b h s e"],
        q_at: Places,
        k_at: Places,
        seen: Callable[[], Bool[Tensor, "#b 1 #t s"] | None],
    ) -> Float[Tensor, "b h t s"]:
        count = self.count(q, k, seen())
        below = count.detach().floor().long()
        by_count = q @ self.table.matrix().t().to(q.dtype)
        low, high = by_count.gather(-1, below), by_count.gather(-1, (below + 1).clamp(max=self.last))
        return torch.lerp(low, high, (count - below).to(low.dtype))
