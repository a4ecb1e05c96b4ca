"""Parallel: attention and feed-forward read the same tokens side by side, and both add to the stream at once.

    x ← x + attention(norm(x)) + feedforward(norm(x)),        and one norm after the last layer

Source   Wang & Komatsuzaki 2021 (GPT-J); Chowdhery et al. 2022 (PaLM), arXiv:2204.02311, §2; with two norms Black et
         al. 2022 (GPT-NeoX), arXiv:2204.06745, §2.
Cost     one norm a layer and one more a stack; the two products of the same norm(x) may be run as one.
Differs  `norms=2` gives the feed-forward a norm of its own (GPT-NeoX). Cross-attention is a third branch beside the
         two and reads what attention reads: it does not see what this layer's attention found, only the layers before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from regard.layers import Norm, Sizes, tap
from regard.residual.base import Residual, ResidualModule, Step


class Parallel(Residual, kind="parallel"):
    norms: Literal[1, 2] = 1

    def build(self, norm: Norm, sizes: Sizes, steps: int) -> ParallelModule:
        return ParallelModule(norm, sizes, self.norms)

    def end(self, norm: Norm, sizes: Sizes) -> nn.Module:
        return norm.build(sizes.d_model)


class ParallelModule(ResidualModule):
    def __init__(self, norm: Norm, sizes: Sizes, norms: int) -> None:
        super().__init__(sizes)
        self.norms = nn.ModuleList(norm.build(sizes.d_model) for _ in range(norms))

    def forward(self, x: Float[Tensor, "b t d"], steps: Sequence[Step]) -> Float[Tensor, "b t d"]:
        normed = [norm(x) for norm in self.norms]
        *looking, thinking = steps
        for step in looking:
            x = x + self.dropped(step(normed[0]))
        x = x + self.dropped(thinking(normed[-1]))
        return tap(self.place, "stream", x)
