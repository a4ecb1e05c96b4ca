"""Learned positions: a vector for each position, added to the input and trained with everything else.

    x_t ← x_t + P[t + offset]

Source   Gehring et al. 2017, arXiv:1705.03122; used by Radford et al. 2018 (GPT) and Devlin et al. 2018 (BERT).
Cost     context_length · d parameters; one addition per token.
Differs  Knows no position beyond context_length: longer text is refused with one sentence. `offset` skips the first
         rows of the table, as some published checkpoints do (OPT, BART: 2).
"""

from __future__ import annotations

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from regard.layers import Embedding, Sizes
from regard.positions.base import Places, Position, PositionModule


class Learned(Position, kind="learned"):
    offset: int = Field(0, ge=0, le=2**16)

    bounded = True

    def build(self, sizes: Sizes) -> LearnedModule:
        return LearnedModule(sizes.context_length, sizes.d_model, self.offset)


class LearnedModule(PositionModule):
    def __init__(self, context_length: int, d: int, offset: int) -> None:
        super().__init__()
        self.offset = offset
        self.table = Embedding(context_length + offset, d)

    def add(self, x: Float[Tensor, "b t d"], at: Places) -> Float[Tensor, "b t d"]:
        return x + self.table(at.index + self.offset)
