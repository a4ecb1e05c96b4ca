"""Regress: a number for a text, or for two texts in one row: a rating, how alike two sentences are.

    y'    = mean + spread · (w · f(U pool(x)) + b)
    loss  = ( (y − y') / spread )²

Source   Devlin et al. 2018, arXiv:1810.04805, §4.1 (STS-B, as a number on the first token).
Cost     d + 1 parameters, and d (d + 1) for the transform; read once a text.
Differs  The map learns numbers of mean 0 and spread 1, whatever the unit of the data; training finds both.
"""

from __future__ import annotations

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from regard.attention import Mask
from regard.heads.losses import Loss
from regard.heads.pooling import Pooled, PooledModule, exact
from regard.layers import Sizes, Table


class Regress(Pooled, kind="regress"):
    mean: float = 0.0
    """Of the numbers that it learnt from."""
    spread: float = Field(1.0, gt=0)
    """Their standard deviation."""

    def build(self, vocab_size: int, sizes: Sizes, tokens: Table) -> RegressModule:
        return RegressModule(self, sizes)


class RegressModule(PooledModule):
    def __init__(self, settings: Regress, sizes: Sizes) -> None:
        super().__init__(settings, 1, sizes)
        self.mean, self.spread = settings.mean, settings.spread

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        tokens: Table,
        targets: Float[Tensor, "b"] | None = None,
        mask: Mask | None = None,
    ) -> Float[Tensor, "b"] | Loss:
        """The numbers, or with targets the loss; NaN is a number that is not known."""
        found = self.outputs(x, mask)[:, 0]
        if targets is None:
            return self.mean + self.spread * found
        found = exact(found)
        known = ~targets.isnan()
        wanted = (targets.nan_to_num().to(found.dtype) - self.mean) / self.spread
        squares = (found - wanted).square() * known
        return Loss(squares.sum(), squares.detach(), known.sum())
