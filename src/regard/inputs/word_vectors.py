"""Word vectors: the table begins with what others have learned from far more text, and is trained on, or kept.

    x_t = E[id_t]  or  P E[id_t]        E: [v e], from a file; P: [d e] where e ≠ d

A word of the vocabulary that the file lacks begins at random, as large as those that it has.

Source   Mikolov et al. 2013, arXiv:1301.3781 (word2vec); Pennington, Socher & Manning 2014,
         aclanthology.org/D14-1162 (GloVe); Kim 2014, arXiv:1408.5882, §3.3 (kept, or trained on)
         and §4.3 (unknown words).
Cost     v e parameters, none of which is trained with `trained = false`; e d more where the widths differ.
Differs  A run takes the file from its setting `vectors`, once, before its first step. A token stands for a word if it
         begins one; lower case stands in for a word that the file has in no other way. `width` is that of the file.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from regard.inputs.base import Input
from regard.inputs.factorised import FactorisedTable
from regard.layers import Embedding, Sizes, Table


class WordVectors(Input, kind="word_vectors"):
    width: int | None = Field(None, ge=1, le=2**16)
    """Of the vectors; None: d_model."""
    trained: bool = True

    def table(self, vocab_size: int, sizes: Sizes) -> Table:
        width, d = self.width or sizes.d_model, sizes.d_model
        table = Embedding(vocab_size, d) if width == d else FactorisedTable(vocab_size, width, d)
        _words(table).requires_grad_(self.trained)
        return table


@torch.no_grad()
def begin_with(table: Table, ids: Int[Tensor, "n"], vectors: Float[Tensor, "n w"]) -> None:
    """Gives these words their vectors, and brings the others, which are random, to their spread."""
    words = _words(table).matrix()
    if len(ids):
        words.mul_(vectors.square().mean().sqrt() / words.square().mean().sqrt().clamp_min(1e-12))
        words[ids] = vectors.to(words)


def _words(table: Table) -> Embedding:
    words = table.words if isinstance(table, FactorisedTable) else table
    assert isinstance(words, Embedding)
    return words
