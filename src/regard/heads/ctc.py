"""CTC beside attention: the encoder alone must spell the text too, so that it learns early which frame is which letter.

    p(y | x) = Σ over paths π that collapse to y of Π_t p(π_t | x_t)        collapse: repeats become one, then blanks go
    objective = λ · (−log p(y | x)) + (1 − λ) · (the decoder's)

A path has one word or the blank for each of the encoder's vectors; the blank's id is the size of the vocabulary, one
past the last word.

Source   Graves et al. 2006, doi:10.1145/1143844.1143891, §3 (CTC); Kim, Hori & Watanabe 2017, arXiv:1609.06773, §2
         (beside attention).
Cost     d (v + 1) parameters; time and memory of the sum grow with vectors × words.
Differs  The end token, the last target of a row, has no sound: CTC leaves it out. A text that is too long for its sound
         has no path and counts as 0. It is in the objective of training only, never in the reported loss.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from regard.heads.losses import IGNORED, Loss
from regard.layers import Linear
from regard.settings import Settings


class CTC(Settings):
    """How much CTC counts for in the objective: λ."""

    weight: float = Field(0.2, gt=0, lt=1)


class CTCHead(nn.Module):
    def __init__(self, settings: CTC, vocab_size: int, d_model: int) -> None:
        super().__init__()
        self.weight, self.blank = settings.weight, vocab_size
        self.head = Linear(d_model, vocab_size + 1)

    def forward(self, x: Float[Tensor, "b s d"]) -> Float[Tensor, "b s w"]:
        """Log-probabilities of each word, and last of the blank, for each of the encoder's vectors."""
        logits = self.head(x)
        return (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(-1)

    def joined(
        self,
        loss: Loss,
        x: Float[Tensor, "b s d"],
        lengths: Int[Tensor, "b"] | None,
        targets: Int[Tensor, "b t"],
    ) -> Loss:
        """The decoder's loss with CTC in its objective. `targets` are words, the end token, then −100."""
        log_p = self(x)
        if lengths is None:
            lengths = targets.new_full((x.shape[0],), x.shape[1])
        counts = (targets != IGNORED).sum(1) - 1
        nats, _ = torch.ops.regard.ctc(log_p, targets.clamp_min(0), lengths, counts.clamp_min(0), self.blank)
        return loss._replace(objective=(1 - self.weight) * loss.objective + self.weight * nats.sum())


def greedy(log_p: Float[Tensor, "b s w"], lengths: Int[Tensor, "b"] | None = None) -> list[list[int]]:
    """The words of the likeliest path of each row."""
    blank = log_p.shape[-1] - 1
    best = log_p.argmax(-1).tolist()
    ends = [len(path) for path in best] if lengths is None else lengths.tolist()
    return [
        [word for word, before in zip(path[:end], [blank, *path], strict=False) if word not in (before, blank)]
        for path, end in zip(best, ends, strict=True)
    ]


# The sum over paths as one operator, for torch cannot trace its own; the gradient is taken on the way.
_operators = torch.library.Library("regard", "FRAGMENT")
_operators.define("ctc(Tensor log_p, Tensor labels, Tensor lengths, Tensor counts, int blank) -> (Tensor, Tensor)")


def _ctc(log_p: Tensor, labels: Tensor, lengths: Tensor, counts: Tensor, blank: int) -> tuple[Tensor, Tensor]:
    """−log p(labels | x) of each row [b], and the gradient of their sum [b s w]."""
    sizes = lengths.tolist(), counts.tolist(), blank
    x = log_p.transpose(0, 1).contiguous()
    nats, alpha = torch.ops.aten._ctc_loss(x, labels, *sizes, True)
    gradient = torch.ops.aten._ctc_loss_backward(torch.ones_like(nats), x, labels, *sizes[:2], nats, alpha, blank, True)
    return torch.where(nats.isinf(), 0.0, nats), gradient.transpose(0, 1).contiguous()


def _shapes(log_p: Tensor, labels: Tensor, lengths: Tensor, counts: Tensor, blank: int) -> tuple[Tensor, Tensor]:
    return log_p.new_empty(log_p.shape[0]), torch.empty_like(log_p, memory_format=torch.contiguous_format)


def _save(ctx, inputs, output) -> None:
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1])


def _gradient(ctx, g: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    (gradient,) = ctx.saved_tensors
    return gradient * g[:, None, None], None, None, None, None


_operators.impl("ctc", _ctc, "CompositeExplicitAutograd")
torch.library.register_fake("regard::ctc", _shapes, lib=_operators)
torch.library.register_autograd("regard::ctc", _gradient, setup_context=_save, lib=_operators)
