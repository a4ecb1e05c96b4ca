"""Factorised embeddings: words are narrow vectors, which one matrix widens to the size of the model.

    x_t = P E[id_t]        E: [v e], P: [d e], e much smaller than d

A tied head takes the way back: logits = E (Pᵀ x).

Source   Lan et al. 2019, arXiv:1909.11942, §3.1; e = 128 in its table 1.
Cost     v e + e d parameters where a table has v d; 2 e d operations a token, and a tied head 2 e (v + d).
Differs  ALBERT's code adds positions and segments at width e, before P; here they are added at width d. Its head comes
         down to width e by a matrix of its own instead of Pᵀ.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from regard.inputs.base import Input
from regard.layers import Embedding, Linear, Sizes, Table
from regard.layers.product import linear


class Factorised(Input, kind="factorised"):
    width: int = Field(128, ge=1, le=2**24)

    def table(self, vocab_size: int, sizes: Sizes) -> FactorisedTable:
        return FactorisedTable(vocab_size, self.width, sizes.d_model)


class FactorisedTable(Table):
    def __init__(self, vocab_size: int, width: int, d: int) -> None:
        super().__init__()
        self.words = Embedding(vocab_size, width)
        self.wide = Linear(width, d, bias=False)

    def matrix(self) -> Float[Tensor, "v d"]:
        return self.wide(self.words.matrix())

    def tied(self, x: Float[Tensor, "*b d"]) -> tuple[Float[Tensor, "*b w"], Float[Tensor, "v w"]]:
        return linear(x, self.wide.matrix().t()), self.words.matrix()

    def forward(self, ids: Int[Tensor, "*b"]) -> Float[Tensor, "*b d"]:
        return self.wide(self.words(ids))
