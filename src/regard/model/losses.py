"""The loss of predicting words: negative log-likelihood, summed, so that whoever sums over batches can divide once.

    nll_t     = −log softmax(logits_t)[y_t]
    smoothed  = (1 − α) nll_t + α · mean over all words w of −log softmax(logits_t)[w]
    z-loss    = ζ (log Σ exp logits_t)²

Source   Szegedy et al. 2016, arXiv:1512.00567, §7 (smoothing); Chowdhery et al. 2022, arXiv:2204.02311, §5 (z-loss).
Differs  The true nll is reported beside the smoothed objective; positions with target −100 count for nothing in
         either. Computed in float32 whatever the logits' type.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

IGNORED = -100


class Loss(NamedTuple):
    """Sums over the real targets of a batch, and the parts that they are made of."""

    objective: Float[Tensor, ""]
    """What training lowers: smoothed and with extra terms where asked. In nats, summed; differentiable."""
    nll: Float[Tensor, "b t"]
    """The true negative log-likelihood of each target, in nats; 0 where there is none."""
    target_count: Int[Tensor, ""]
    """How many targets are real."""


def token_loss(
    logits: Float[Tensor, "b t v"],
    targets: Int[Tensor, "b t"],
    smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> Loss:
    """The loss of whole logits: the plain formula."""
    if logits.dtype != torch.float64:
        logits = logits.float()
    nll = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")
    real = targets != IGNORED
    objective = nll.sum()
    if smoothing or z_loss:
        log_sum = logits.logsumexp(-1)
        if smoothing:
            uniform = (log_sum - logits.mean(-1)).masked_fill(~real, 0.0)
            objective = (1 - smoothing) * objective + smoothing * uniform.sum()
        if z_loss:
            objective = objective + z_loss * log_sum.masked_fill(~real, 0.0).square().sum()
    return Loss(objective, nll.detach().view_as(targets), real.sum())
