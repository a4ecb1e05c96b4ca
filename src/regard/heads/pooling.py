"""Pooling: one vector for a whole text, of the vectors of its tokens. What reads it shares the rest of this file.

    first    x_1, the vector of [CLS]
    mean     (1/n) Σ x_t        over the n real tokens
    max      max over the real tokens, each feature alone

Source   Devlin et al. 2018, arXiv:1810.04805, §3 (first); Reimers & Gurevych 2019, arXiv:1908.10084, §3 (all three).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attention import Mask, View
from regard.heads.base import Head
from regard.layers import Linear, Sizes, dropout, tap
from regard.settings import RegardError

Pooling = Literal["first", "mean", "max"]
Transform = Literal["none", "tanh", "relu", "gelu"]

TRANSFORMS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": F.relu, "gelu": F.gelu}


def real_tokens(x: Float[Tensor, "b t d"], mask: Mask | None) -> Bool[Tensor, "b t"] | None:
    """Which tokens are no padding; None: all. Raises `RegardError` where a row has several documents."""
    mask = mask or Mask()
    if mask.documents is not None:
        raise RegardError("this head reads a row as one text: give each document a row of its own, not packed rows.")
    slots = torch.arange(x.shape[1], device=x.device)[None]
    real = View(mask, slots[:, :1], slots).real()
    return None if real is None else real.expand(x.shape[:2])


def pooled(x: Float[Tensor, "b t d"], mask: Mask | None, how: Pooling) -> Float[Tensor, "b d"]:
    """One vector for each row, in which padding has no part. A row of padding alone gives what stands first, or 0."""
    real = real_tokens(x, mask)
    if how == "first":
        return x[:, 0] if real is None else x[torch.arange(len(x), device=x.device), real.int().argmax(1)]
    if real is None:
        return x.mean(1) if how == "mean" else x.amax(1)
    if how == "mean":
        return torch.einsum("btd,bt->bd", x, real.to(x.dtype)) / real.sum(1, keepdim=True).clamp_min(1)
    most = x.masked_fill(~real[:, :, None], float("-inf")).amax(1)
    return most.masked_fill(~real.any(1, keepdim=True), 0.0)


class Pooled(Head):
    """A head that says something of a text as a whole."""

    whole: ClassVar[bool] = True

    pooling: Pooling = "first"
    transform: Transform = "none"
    """What a map of its own and this function make of the pooled vector first."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Before the last map, in training; none: the model's."""


class PooledModule(nn.Module):
    """From the tokens' vectors to `width` numbers a text."""

    def __init__(self, settings: Pooled, width: int, sizes: Sizes) -> None:
        super().__init__()
        d = sizes.d_model
        self.pooling, self.transform, self.place = settings.pooling, settings.transform, sizes.place
        self.dropout = sizes.dropout if settings.dropout is None else settings.dropout
        self.dense = Linear(d, d) if settings.transform != "none" else None
        self.output = Linear(d, width)

    def outputs(self, x: Float[Tensor, "b t d"], mask: Mask | None) -> Float[Tensor, "b c"]:
        vector = pooled(x, mask, self.pooling)
        if self.dense is not None:
            vector = TRANSFORMS[self.transform](self.dense(vector))
        return tap(self.place, "logits", self.output(dropout(vector, self.dropout, self.training)))


def exact(x: Tensor) -> Tensor:
    """Losses are computed in float32 at least, also where products are in bfloat16."""
    return x if x.dtype == torch.float64 else x.float()
