"""One-hot input: a word is a row of zeros with a single 1, and a linear map makes a vector of it.

    x_t = onehot(id_t) · W        W: [v d]

which is row id_t of W: a learned embedding, written as the product that a lookup leaves out.

Source   Bengio et al. 2003, jmlr.org/papers/v3/bengio03a.html, §2 (the mapping C: a matrix with a row for each word).
Cost     v d parameters; 2 v d operations a token, v zeros and ones beside it, and as many again for the gradient.
Differs  Nothing but its time from `tokens`: with the same W all numbers are equal.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from regard.inputs.base import Input
from regard.layers import Embedding, Sizes, Table


class OneHot(Input, kind="one_hot"):
    def table(self, vocab_size: int, sizes: Sizes) -> OneHotTable:
        return OneHotTable(vocab_size, sizes.d_model)

    def flops(self, vocab_size: int, sizes: Sizes) -> int:
        return 2 * vocab_size * sizes.d_model


class OneHotTable(Table):
    def __init__(self, vocab_size: int, d: int) -> None:
        super().__init__()
        self.words = Embedding(vocab_size, d)

    def matrix(self) -> Float[Tensor, "v d"]:
        return self.words.matrix()

    def forward(self, ids: Int[Tensor, "*b"]) -> Float[Tensor, "*b d"]:
        weight = self.words.matrix()
        return F.one_hot(ids, weight.shape[0]).to(weight.dtype) @ weight
