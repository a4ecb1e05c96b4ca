"""Multilabel: any number of labels for a text, each for itself.

    p_c   = 1 / (1 + exp(−logit_c))
    loss  = −Σ_c ( y_c log p_c + (1 − y_c) log(1 − p_c) ) / C        C: the number of labels

Source   Nam et al. 2014, arXiv:1312.5419, §3 (cross-entropy of each label); on BERT's first token as in Devlin et al.
         2018, arXiv:1810.04805, §4.1.
Cost     as `classify`.
Differs  The mean over the labels, so that a text counts as much as with one label.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from regard.attention import Mask
from regard.heads.classify import check_labels
from regard.heads.losses import Loss
from regard.heads.pooling import Pooled, PooledModule, exact
from regard.layers import Sizes, Table


class MultiLabel(Pooled, kind="multilabel"):
    labels: tuple[str, ...] = ()
    """Their names; training takes them from its data."""

    def build(self, vocab_size: int, sizes: Sizes, tokens: Table) -> MultiLabelModule:
        return MultiLabelModule(self, sizes)


class MultiLabelModule(PooledModule):
    def __init__(self, settings: MultiLabel, sizes: Sizes) -> None:
        check_labels(settings.labels)
        super().__init__(settings, len(settings.labels), sizes)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        tokens: Table,
        targets: Float[Tensor, "b c"] | None = None,
        mask: Mask | None = None,
    ) -> Float[Tensor, "b c"] | Loss:
        """The logits, or with targets (0 and 1) the loss; a row with NaN is not known and counts for nothing."""
        logits = self.outputs(x, mask)
        if targets is None:
            return logits
        logits = exact(logits)
        known = ~targets.isnan().any(-1)
        wanted = targets.nan_to_num().to(logits.dtype)
        nll = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(-1) * known
        return Loss(nll.sum(), nll.detach(), known.sum())
