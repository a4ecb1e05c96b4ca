"""Answer: where in a text the answer to a question begins and ends.

    p_start(t) = softmax over t of s · x_t        p_end(t) = softmax over t of e · x_t
    loss       = −½ ( log p_start(y_start) + log p_end(y_end) )

The row is [CLS] question [SEP] context [SEP]. An answer that is not in this window, or not at all, stands at [CLS].

Source   Devlin et al. 2018, arXiv:1810.04805, §4.2 (spans) and §4.3 (no answer at [CLS]).
Cost     2 (d + 1) parameters; read once a token.
Differs  Each vector has a bias, as in published checkpoints. A softmax over places is the same without, so it never
         moves, nor what a last norm adds to all places alike.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.attention import Mask
from regard.heads.base import Head
from regard.heads.losses import IGNORED, Loss
from regard.heads.pooling import exact, real_tokens
from regard.layers import Linear, Sizes, Table, tap


class Answer(Head, kind="answer"):
    whole: ClassVar[bool] = True
    unmoved: ClassVar[tuple[str, ...]] = ("head.output.bias", "end.bias")

    no_answer: bool = False
    """Whether a question may have none."""

    def build(self, vocab_size: int, sizes: Sizes, tokens: Table) -> AnswerModule:
        return AnswerModule(sizes)


class AnswerModule(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.place = sizes.place
        self.output = Linear(sizes.d_model, 2)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        tokens: Table,
        targets: Int[Tensor, "b 2"] | None = None,
        mask: Mask | None = None,
    ) -> Float[Tensor, "b t 2"] | Loss:
        """Scores of beginning and of end, or with targets (two places, or −100) the loss over the real tokens."""
        scores = tap(self.place, "logits", self.output(x))
        if targets is None:
            return scores
        scores, real = exact(scores), real_tokens(x, mask)
        if real is not None:
            scores = scores.masked_fill(~real[:, :, None], torch.finfo(scores.dtype).min)
        log_p = scores.log_softmax(1)
        known = (targets != IGNORED).all(-1)
        at = targets.masked_fill(~known[:, None], 0)[:, None]
        nll = -log_p.gather(1, at)[:, 0].mean(-1) * known
        return Loss(nll.sum(), nll.detach(), known.sum())
