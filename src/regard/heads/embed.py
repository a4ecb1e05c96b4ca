"""Embed: a vector for a text, such that texts which mean the same lie close.

    e(text)  = P pool(x), divided by its length where `normalise`
    loss_i   = −log softmax over j of ( scale · cos(e_i, e_j) ) at j = the text that belongs to i

The candidates j are the texts of the batch that belong to an anchor, or are no anchors: another's is wrong for i.

Source   Reimers & Gurevych 2019, arXiv:1908.10084, §3 (pooling); Henderson et al. 2017, arXiv:1705.00652, §4.4
         (the other texts of the batch as wrong ones).
Cost     no parameters without `size`; b² cosines a batch.
Differs  The products are cosines times `scale`, as sentence-transformers has them: lengths say nothing.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attention import Mask
from regard.heads.base import Head
from regard.heads.losses import IGNORED, Loss
from regard.heads.pooling import Pooling, exact, pooled
from regard.layers import Linear, Sizes, Table, tap


class Embed(Head, kind="embed"):
    whole: ClassVar[bool] = True

    pooling: Pooling = "mean"
    normalise: bool = True
    scale: float = Field(20.0, gt=0)
    """What cosines are multiplied by in training: the inverse of a temperature."""
    size: int | None = Field(None, ge=1, le=2**16)
    """Numbers a vector has, by a map of its own; none: d_model, without one."""
    length: int | None = Field(None, ge=1, le=2**31)
    """Tokens that are read of a text, those around it included, where it learnt from no more; none: the context."""

    def build(self, vocab_size: int, sizes: Sizes, tokens: Table) -> EmbedModule:
        return EmbedModule(self, sizes)


class EmbedModule(nn.Module):
    def __init__(self, settings: Embed, sizes: Sizes) -> None:
        super().__init__()
        self.pooling, self.normalise, self.scale = settings.pooling, settings.normalise, settings.scale
        self.place = sizes.place
        self.output = Linear(sizes.d_model, settings.size, bias=False) if settings.size is not None else None

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        tokens: Table,
        targets: Int[Tensor, "b"] | None = None,
        mask: Mask | None = None,
    ) -> Float[Tensor, "b n"] | Loss:
        """The vectors, or with targets the loss: for an anchor the row that belongs to it, −100 for all other rows."""
        vectors = pooled(x, mask, self.pooling)
        if self.output is not None:
            vectors = self.output(vectors)
        if self.normalise and targets is None:
            vectors = F.normalize(vectors, dim=-1)
        vectors = tap(self.place, "vectors", vectors)
        return vectors if targets is None else self.contrast(vectors, targets)

    def contrast(self, vectors: Float[Tensor, "b n"], targets: Int[Tensor, "b"]) -> Loss:
        """Each anchor must find its own among the others: rows that are no anchors, or that belong to one."""
        unit = F.normalize(exact(vectors), dim=-1)
        anchor = targets != IGNORED
        rows = torch.arange(len(unit), device=unit.device)
        candidate = ~anchor | (targets[:, None] == rows).any(0)
        out = ~candidate | (anchor[:, None] & (rows[:, None] == rows))
        log_p = (self.scale * (unit @ unit.t())).masked_fill(out, float("-inf")).log_softmax(-1)
        at = torch.where(anchor, targets, 0)[:, None]
        nll = torch.where(anchor, -log_p.gather(1, at)[:, 0], 0.0)
        return Loss(nll.sum(), nll.detach(), anchor.sum())
