"""Language: a score for each word of the vocabulary. The loss is computed here, so that all logits need never exist.

    logits = softcap(E (scale · x) + b)        E: the input's table (tied) or a matrix of its own

Source   Press & Wolf 2017, arXiv:1608.05859 (tying); Devlin et al. 2018, arXiv:1810.04805 (the transform of BERT's
         masked-word head); Gemma 2, arXiv:2408.00118, §2 (soft-cap).
Cost     v d parameters unless tied; 2 v d operations a token, a third of a small model's work.
Differs  `transform="bert"` passes x through a linear map, GELU and a norm of its own first; `bias` is a number a word.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attention import Mask
from regard.heads.base import Head
from regard.heads.losses import Loss, token_loss
from regard.layers import LayerNorm, Linear, Norm, Sizes, Table, tap
from regard.layers.product import linear


class LanguageHead(Head, kind="language"):
    tied: bool = True
    bias: bool = False
    scale: float = 1.0
    softcap: float | None = Field(None, gt=0)
    transform: Literal["none", "bert"] = "none"
    norm: Norm = LayerNorm(eps=1e-12)

    def build(self, vocab_size: int, sizes: Sizes, tokens: Table) -> LanguageHeadModule:
        return LanguageHeadModule(self, vocab_size, sizes, tokens)


class LanguageHeadModule(nn.Module):
    def __init__(self, settings: LanguageHead, vocab_size: int, sizes: Sizes, tokens: Table) -> None:
        super().__init__()
        d = sizes.d_model
        self.scale, self.softcap, self.place = settings.scale, settings.softcap, sizes.place
        self.output = None if settings.tied else Linear(d, vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(vocab_size)) if settings.bias else None
        self.dense = Linear(d, d) if settings.transform == "bert" else None
        self.norm = settings.norm.build(d) if settings.transform == "bert" else None

    def logits(self, x: Float[Tensor, "b t d"], tokens: Table) -> Float[Tensor, "b t v"]:
        """A score for each word of the vocabulary; `tokens` is the table of a tied head."""
        logits = linear(*self._factors(x, tokens), self.bias)
        if self.softcap is not None:
            logits = self.softcap * (logits / self.softcap).tanh()
        return tap(self.place, "logits", logits)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        tokens: Table,
        targets: Int[Tensor, "b t"] | None = None,
        mask: Mask | None = None,
        smoothing: float = 0.0,
        z_loss: float = 0.0,
    ) -> Float[Tensor, "b t v"] | Loss:
        """The logits, or with targets the loss of predicting them (−100: nothing to predict)."""
        if targets is None:
            return self.logits(x, tokens)
        return token_loss(
            *self._factors(x, tokens),
            targets,
            self.bias,
            smoothing=smoothing,
            z_loss=z_loss,
            softcap=self.softcap,
        )

    def _factors(self, x: Float[Tensor, "b t d"], tokens: Table) -> tuple[Tensor, Tensor]:
        """The two sides of the product that makes logits: the tokens, and a row for each word."""
        x = self._transformed(x)
        return tokens.tied(x) if self.output is None else (x, self.output.matrix())

    def _transformed(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        if self.dense is not None and self.norm is not None:
            x = self.norm(F.gelu(self.dense(x)))
        return x if self.scale == 1.0 else x * self.scale
