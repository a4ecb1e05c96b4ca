"""Learned embeddings: each word of the vocabulary has a vector of its own, learned with everything else.

    x_t = dropout(norm(scale · E[id_t] + S[segment_t] + position_t))        E: a table [v d]

Source   Vaswani et al. 2017, arXiv:1706.03762, §3.4 (scale √d) and §5.4 (dropout on the sum);
         Devlin et al. 2018, arXiv:1810.04805, §3 (segments, a norm on the sum).
Cost     v d parameters; a row of the table a token.
Differs  Positions come between the sum and the norm, through the stack's position encoding.
"""

from __future__ import annotations

from regard.inputs.base import Input
from regard.layers import Embedding, Sizes


class TokenInput(Input, kind="tokens"):
    def table(self, vocab_size: int, sizes: Sizes) -> Embedding:
        return Embedding(vocab_size, sizes.d_model)
