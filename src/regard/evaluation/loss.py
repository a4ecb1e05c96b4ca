"""How well a model predicts a text: its loss, in units that can be compared.

    loss            = −(1/n) Σ log p(token_i | tokens before it in its window)        nats a token
    perplexity      = exp(loss)
    bits per byte   = loss · n / (bytes of the text · ln 2)

Source   Jelinek et al. 1977 (perplexity); Gao et al. 2020, arXiv:2101.00027, §3.1 (bits per byte).
Differs  Bits per byte do not depend on the tokenizer, so they compare models with different vocabularies; the others
         do not. Windows do not overlap: a token sees only what stands before it in its own window.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch

from regard.attention import Documents, Mask, Padding, Prefix
from regard.data.batches import Batch
from regard.data.store import Part
from regard.model import Loss


class Evaluation(NamedTuple):
    """The loss of a model on a text."""

    loss: float
    """Nats a token."""
    tokens: int
    """How many were predicted."""
    bits_per_byte: float | None = None

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.loss, 700.0))

    @classmethod
    def of(cls, nats: float, tokens: int, part: Part | None = None) -> Evaluation:
        """From a sum of nats over so many tokens of `part`, whose bytes a token are taken from the whole of it."""
        loss = nats / max(1, tokens)
        bits = loss * (len(part.ids) - 1) / part.bytes / math.log(2) if part is not None and part.bytes else None
        return cls(loss, tokens, bits)

    def __str__(self) -> str:
        bits = f", {self.bits_per_byte:.3f} bits per byte" if self.bits_per_byte is not None else ""
        return f"loss {self.loss:.4f} nats a token, perplexity {self.perplexity:,.2f}{bits}"


def given(batch: Batch) -> dict[str, Any]:
    """What a model is told of a batch beside its inputs and targets: the mask, and of a translation the source."""
    mask = Mask()
    if batch.documents is not None:
        mask = mask & Documents(batch.documents)
    if batch.lengths is not None:
        mask = mask & Padding(batch.lengths)
    if batch.prefix is not None:
        mask = mask & Prefix(batch.prefix)
    if batch.source is None:
        beside = {"segments": batch.segments, "order": batch.order}
        return {"mask": mask, **{name: value for name, value in beside.items() if value is not None}}
    source_mask = None if batch.source_lengths is None else Padding(batch.source_lengths)
    return {"mask": mask, "source": batch.source, "source_mask": source_mask}


def batch_loss(model: torch.nn.Module, batch: Batch, **objective: Any) -> Loss:
    """The loss of a batch, with padding and other documents masked; `objective` goes to the head."""
    return model(batch.inputs, batch.targets, **given(batch), **objective)


@torch.no_grad()
def total_loss(model: torch.nn.Module, batches: Iterable[Batch]) -> tuple[float, int]:
    """The sum of nats over all batches, and the number of tokens. The model is left in the mode it was in."""
    device = next(model.parameters()).device
    training, nats, tokens = model.training, 0.0, 0
    model.eval()
    try:
        for batch in batches:
            nats += batch_loss(model, batch.to(device)).nll.cpu().double().sum().item()
            tokens += batch.target_count
    finally:
        model.train(training)
    return nats, tokens
