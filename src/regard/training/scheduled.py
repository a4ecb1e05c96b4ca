"""Scheduled sampling: in training a decoder now and then reads its own words, as it must when none are given.

    ε_i  the share of right words at step i, of all that a decoder reads but the first
    linear           max(ε, k − c i)
    exponential      max(ε, kⁱ)                  k < 1
    inverse_sigmoid  max(ε, k / (k + e^(i/k)))   k ≥ 1: at i = k ln k half of the words are the model's own

A recurrent decoder reads its row word by word, and each coin says whether the next word is the right one or that which
it has just chosen. For a Transformer, which learns on whole rows, two passes: the words that it chooses on the right
row are mixed into it, and the loss is that of the mixed row.

Source   Bengio, Vinyals, Jaitly & Shazeer 2015, arXiv:1506.03099, §2.4 (k, c and ε are the paper's); two passes:
         Mihaylova & Martins 2019, arXiv:1906.07651, §3.
Cost     reading the row once more, without a gradient: a recurrent decoder word by word, a Transformer at once.
Differs  The choice is made apart, without dropout, and then the mixed row is learnt as any other: no gradient reaches a
         choice in either paper's first form, so that without dropout the numbers are the same. A coin depends on the
         seed, the step and the place alone. ε bounds all three, in the paper the linear one.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from regard.data.batches import IGNORE, Batch
from regard.evaluation import given
from regard.model import RecurrentConfig, Transformer
from regard.settings import Part, RegardError


class ScheduledSampling(Part, family="regard.training.scheduled"):
    """How many of the words that a decoder reads are the right ones."""

    floor: float = Field(0.0, ge=0, lt=1)
    """ε, the least share of right words."""
    choice: Literal["best", "drawn"] = "best"
    """Whether the model's own word is its most probable one, or drawn from its distribution."""

    def decay(self, step: int) -> float:
        """The share before the floor."""
        raise NotImplementedError

    def truth(self, step: int) -> float:
        """ε_i, the probability that a word read in update number `step` (from 1) is the right one."""
        return min(1.0, max(self.floor, self.decay(step)))

    def mixed(self, model: Transformer, batch: Batch, step: int, seed: int) -> Batch:
        """The batch as the model reads it in update number `step`; `seed` is that of this place in the run."""
        return mixed(model, batch, 1.0 - self.truth(step), seed, self.choice)


class Linear(ScheduledSampling, kind="linear"):
    k: float = Field(1.0, gt=0)
    """The share at the beginning; above 1, right words alone for a while."""
    c: float = Field(1e-4, ge=0)
    """How much of it a step takes."""

    def decay(self, step: int) -> float:
        return self.k - self.c * step


class Exponential(ScheduledSampling, kind="exponential"):
    k: float = Field(0.9999, gt=0, lt=1)
    """What a step leaves of the share."""

    def decay(self, step: int) -> float:
        return self.k**step


class InverseSigmoid(ScheduledSampling, kind="inverse_sigmoid"):
    k: float = Field(1000.0, ge=1)
    """How late and how slowly the share falls: it is 1/2 at step k ln k."""

    def decay(self, step: int) -> float:
        return self.k / (self.k + math.exp(min(step / self.k, 700.0)))


@torch.no_grad()
def mixed(model: Transformer, batch: Batch, rate: float, seed: int, choice: Literal["best", "drawn"] = "best") -> Batch:
    """The batch with a share `rate` of its input words, coin by coin, replaced by those that the model would write.

    Replaced is what the model is to write: words whose place before has them as its target. The first word of a row or
    document, a question, and padding stay. With rate 0 it is the batch itself.
    """
    if model.decoder is None:
        raise RegardError("scheduled sampling is for a decoder, which reads its own words: leave training.sampled out.")
    if rate <= 0:
        return batch
    random = torch.Generator().manual_seed(seed)
    coins = torch.rand(batch.inputs.shape, generator=random).to(batch.inputs.device) < rate
    own = coins & _written(batch)
    uniforms = torch.rand(batch.inputs.shape, generator=random, dtype=torch.float64).to(batch.inputs.device)
    training = model.training
    model.eval()
    try:
        way = _word_by_word if isinstance(model.config.decoder, RecurrentConfig) else _in_two_passes
        return replace(batch, inputs=way(model, batch, own, uniforms if choice == "drawn" else None))
    finally:
        model.train(training)


def _written(batch: Batch) -> Bool[Tensor, "b t"]:
    """Which inputs are words that the model was to write at the place before."""
    written = torch.zeros_like(batch.inputs, dtype=torch.bool)
    written[:, 1:] = batch.targets[:, :-1] == batch.inputs[:, 1:]
    written[:, 1:] &= batch.targets[:, :-1] != IGNORE
    if batch.documents is not None:
        written[:, 1:] &= batch.documents[:, 1:] == batch.documents[:, :-1]
    if batch.lengths is not None:
        written &= torch.arange(written.shape[1], device=written.device) < batch.lengths[:, None]
    return written


def _word_by_word(
    model: Transformer, batch: Batch, own: Bool[Tensor, "b t"], uniforms: Float[Tensor, "b t"] | None
) -> Int[Tensor, "b t"]:
    """Each word is chosen on those before it, right or the model's own as they fell."""
    if batch.documents is not None:
        raise RegardError("a recurrent decoder samples one text a row: give it rows that are not packed.")
    told = given(batch)
    encoded = model.encode(told["source"], told["source_mask"]) if batch.source is not None else None
    inputs = batch.inputs.clone()
    cache = model.cache(*inputs.shape)
    for t in range(inputs.shape[1] - 1):
        logits = model(inputs[:, t : t + 1], cache=cache, encoded=encoded)[:, 0]
        chosen = _chosen(logits, None if uniforms is None else uniforms[:, t])
        inputs[:, t + 1] = torch.where(own[:, t + 1], chosen, inputs[:, t + 1])
    return inputs


def _in_two_passes(
    model: Transformer, batch: Batch, own: Bool[Tensor, "b t"], uniforms: Float[Tensor, "b t"] | None
) -> Int[Tensor, "b t"]:
    """Each word is chosen on the right ones before it."""
    chosen = _chosen(model(batch.inputs, **given(batch)), uniforms)
    inputs = batch.inputs.clone()
    inputs[:, 1:] = torch.where(own[:, 1:], chosen[:, :-1], inputs[:, 1:])
    return inputs


def _chosen(logits: Float[Tensor, "*b v"], uniforms: Float[Tensor, "*b"] | None) -> Int[Tensor, "*b"]:
    """The best word, or the one where the running sum of probabilities passes a number in [0, 1)."""
    if uniforms is None:
        return logits.argmax(-1)
    sums = logits.double().softmax(-1).cumsum(-1)
    return torch.searchsorted(sums, uniforms[..., None] * sums[..., -1:], right=True)[..., 0].clamp_max(
        logits.shape[-1] - 1
    )
