"""Classify: one of several labels for a text, or for two texts in one row.

    logits  = W f(U pool(x)) + b
    p       = softmax(logits)
    loss    = −w_y log p_y        w: the labels' weights, 1 where none are given

Source   Devlin et al. 2018, arXiv:1810.04805, §4.1; R-Drop: Wu et al. 2021, arXiv:2106.14448, §2.1.
Cost     c (d + 1) parameters for c labels, and d (d + 1) for the transform; read once a text.
Differs  pooling "first" with transform "tanh" is BERT's, "relu" DistilBERT's. With weights the losses are still divided
         by the number of texts: a rare label counts for more in a step, and a step does not depend on its batch.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from regard.attention import Mask
from regard.heads.losses import IGNORED, Loss
from regard.heads.pooling import Pooled, PooledModule, exact
from regard.layers import Sizes, Table
from regard.settings import SettingsError


class Classify(Pooled, kind="classify"):
    labels: tuple[str, ...] = ()
    """Their names; training takes them from its data."""
    weights: tuple[float, ...] | None = None
    """How much each label counts for in the loss."""

    def build(self, vocab_size: int, sizes: Sizes, tokens: Table) -> ClassifyModule:
        return ClassifyModule(self, sizes)


class ClassifyModule(PooledModule):
    def __init__(self, settings: Classify, sizes: Sizes) -> None:
        check_labels(settings.labels, settings.weights)
        super().__init__(settings, len(settings.labels), sizes)
        self.weights = settings.weights

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        tokens: Table,
        targets: Int[Tensor, "b"] | None = None,
        mask: Mask | None = None,
        smoothing: float = 0.0,
        r_drop: float = 0.0,
    ) -> Float[Tensor, "b c"] | Loss:
        """The logits, or with targets the loss (−100: no label is known). r_drop: rows n + i repeat rows i."""
        logits = self.outputs(x, mask)
        return logits if targets is None else label_loss(logits, targets, self.weights, smoothing, r_drop)


def check_labels(labels: tuple[str, ...], weights: tuple[float, ...] | None = None) -> None:
    if not labels:
        raise SettingsError("head.labels is empty: name the labels, or train on data that have them")
    if weights is not None and len(weights) != len(labels):
        raise SettingsError(f"head.weights has {len(weights)} numbers for {len(labels)} labels: give one each")


def label_loss(
    logits: Float[Tensor, "*b c"],
    targets: Int[Tensor, "*b"],
    weights: tuple[float, ...] | None = None,
    smoothing: float = 0.0,
    r_drop: float = 0.0,
) -> Loss:
    """The loss of labels; −100 counts for nothing. The reported nll knows no weights and no smoothing."""
    log_p = exact(logits).log_softmax(-1)
    known = targets != IGNORED
    at = targets.masked_fill(~known, 0)[..., None]
    nll = -log_p.gather(-1, at)[..., 0] * known
    loss = nll if not smoothing else (1 - smoothing) * nll - smoothing * log_p.mean(-1) * known
    if weights is not None:
        loss = loss * log_p.new_tensor(weights)[at[..., 0]]
    objective = loss.sum()
    if r_drop:
        one, other = log_p.unflatten(0, (2, -1))
        apart = F.kl_div(one, other, reduction="none", log_target=True) + F.kl_div(
            other, one, reduction="none", log_target=True
        )
        objective = objective + r_drop / 2 * (apart.sum(-1) * known.unflatten(0, (2, -1))[0]).sum()
    return Loss(objective, nll.detach(), known.sum())
