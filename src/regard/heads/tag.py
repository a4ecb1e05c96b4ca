"""Tag: a label for each word of a text, such as the beginning or the inside of a name.

    p_t   = softmax(W x_t + b)        at the first piece of each word; its other pieces say nothing
    loss  = −Σ log p_t[y_t]

Source   Devlin et al. 2018, arXiv:1810.04805, §5.3 (the first piece); Ramshaw & Marcus 1995, arXiv:cmp-lg/9505040, §4.2
         (B, I and O).
Cost     c (d + 1) parameters for c labels; read once a token.
Differs  Nothing forbids an I without its B here; `regard.prediction.tag` mends that when it reads entities.
"""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from regard.attention import Mask
from regard.heads.base import Head
from regard.heads.classify import check_labels, label_loss
from regard.heads.losses import Loss
from regard.layers import Linear, Sizes, Table, dropout, tap


class Tag(Head, kind="tag"):
    whole: ClassVar[bool] = True

    labels: tuple[str, ...] = ()
    """Their names; training takes them from its data."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Before the map, in training; none: the model's."""
    weights: tuple[float, ...] | None = None
    """How much each label counts for in the loss."""

    def build(self, vocab_size: int, sizes: Sizes, tokens: Table) -> TagModule:
        return TagModule(self, sizes)


class TagModule(nn.Module):
    def __init__(self, settings: Tag, sizes: Sizes) -> None:
        super().__init__()
        check_labels(settings.labels, settings.weights)
        self.weights, self.place = settings.weights, sizes.place
        self.dropout = sizes.dropout if settings.dropout is None else settings.dropout
        self.output = Linear(sizes.d_model, len(settings.labels))

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        tokens: Table,
        targets: Int[Tensor, "b t"] | None = None,
        mask: Mask | None = None,
        smoothing: float = 0.0,
    ) -> Float[Tensor, "b t c"] | Loss:
        """The logits, or with targets the loss (−100: padding, and pieces that do not begin a word)."""
        logits = tap(self.place, "logits", self.output(dropout(x, self.dropout, self.training)))
        return logits if targets is None else label_loss(logits, targets, self.weights, smoothing)
