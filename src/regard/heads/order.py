"""Order: do two texts follow one another? Said of a row `[CLS] A [SEP] B [SEP]`, beside the hidden words.

    p          = softmax( W tanh(U x_1) )
    objective  = (the words') + weight · (words a row) · (−log p_y)

y is 0 where B goes on from A, and 1 where it does not: it comes from elsewhere (next), or stands before A (order).

Source   Devlin et al. 2018, arXiv:1810.04805, §3.1 (next); Lan et al. 2019, arXiv:1909.11942, §3.1 (order).
Cost     d (d + 1) + 2 (d + 1) parameters, read once a row.
Differs  The papers add two means, of the words and of the rows. Here losses are sums over words, so a row counts for as
         many words as rows have on average. It is in the objective of training only, never in the reported loss.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from regard.heads.losses import IGNORED, Loss
from regard.heads.pooling import exact
from regard.layers import Linear
from regard.settings import Settings


class Order(Settings):
    """A second head that says whether two texts follow one another."""

    weight: float = Field(1.0, gt=0)
    """How much it counts for in the objective beside the words."""


class OrderHead(nn.Module):
    def __init__(self, settings: Order, d_model: int) -> None:
        super().__init__()
        self.weight = settings.weight
        self.dense = Linear(d_model, d_model)
        self.head = Linear(d_model, 2)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b 2"]:
        """Scores of following and of not following."""
        return self.head(torch.tanh(self.dense(x[:, 0])))

    def joined(self, loss: Loss, x: Float[Tensor, "b t d"], order: Int[Tensor, "b"]) -> Loss:
        """The words' loss with the order's in its objective; −100 is an order that is not known."""
        nats = F.cross_entropy(exact(self(x)), order, ignore_index=IGNORED, reduction="sum")
        rows = (order != IGNORED).sum().clamp_min(1)
        return loss._replace(objective=loss.objective + self.weight * nats * loss.target_count / rows)
