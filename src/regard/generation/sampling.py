"""Sampling: how the next token is drawn from the model's logits.

    penalised   z_w ← z_w / θ if z_w > 0 else z_w · θ      for each word w already in the text
    tempered    z ← z / T                                  T = 0: the largest alone, greedy
    narrowed    to the top k, then to the top p, then to min p, each on what the one before left
    drawn       the first word w with Σ_{v ≤ w} softmax(z)_v > u,  u uniform in [0, 1)

Source   repetition penalty: Keskar et al. 2019, arXiv:1909.05858, §4.1 (negative logits are multiplied, so that a
         penalty always lowers). top k: Fan, Lewis & Dauphin 2018, arXiv:1805.04833, §5.4. top p: Holtzman
         et al. 2020, arXiv:1904.09751, §3.1. min p: Nguyen et al. 2024, arXiv:2407.01082, §3.
Cost     one pass over the vocabulary; top p sorts it only where its 128 likeliest words do not reach p.
Differs  Words as likely as the last one kept are kept too, so that no order among equals decides. u is a function of
         (seed, step) alone, so a row's text does not depend on the rows beside it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from regard.settings import Settings


class Sampling(Settings):
    """How to draw. The defaults draw from the model's own distribution."""

    temperature: float = Field(1.0, ge=0, allow_inf_nan=False)
    """Below 1: the likely gets likelier. 0: always the likeliest."""
    top_k: int | None = Field(None, ge=1)
    """Only the k likeliest words."""
    top_p: float | None = Field(None, gt=0, le=1)
    """Only the likeliest words that together reach the probability p."""
    min_p: float | None = Field(None, ge=0, le=1)
    """Only words at least p times as likely as the likeliest."""
    repetition_penalty: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Above 1: words already in the text get less likely."""
    seed: int | None = None
    """Sample number i of a prompt is drawn with seed + i. None: another one each time."""

    def seeded(self) -> Sampling:
        """The same with a seed, drawn if there is none."""
        return self if self.seed is not None else self.replace(seed=secrets.randbits(32))

    @property
    def greedy(self) -> bool:
        return self.temperature == 0


def penalise(logits: Float[Tensor, "b v"], seen: Bool[Tensor, "b v"], penalty: float) -> Float[Tensor, "b v"]:
    """Lower the logits of the words that were seen: z/θ where z > 0, else z·θ."""
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def temper(logits: Float[Tensor, "b v"], temperature: float) -> Float[Tensor, "b v"]:
    """(z − max z) / T: the shift changes no probability and lets T be as small as one likes."""
    return (logits - logits.amax(-1, keepdim=True)) / temperature


def top_k(logits: Float[Tensor, "b v"], k: int) -> Float[Tensor, "b v"]:
    """Only words with z_w ≥ the k-th largest z; the others get −∞."""
    if k >= logits.shape[-1]:
        return logits
    return _at_least(logits, logits.topk(k).values[:, -1:])


def top_p(logits: Float[Tensor, "b v"], p: float) -> Float[Tensor, "b v"]:
    """Only the smallest set of likeliest words with Σ softmax(z)_w ≥ p; the others get −∞."""
    if p >= 1:
        return logits
    total = logits.logsumexp(-1, keepdim=True)
    likeliest = logits.topk(min(128, logits.shape[-1])).values
    reached = (likeliest - total).exp().cumsum(-1)
    if likeliest.shape[-1] < logits.shape[-1] and bool((reached[:, -1] < p).any()):
        likeliest = logits.sort(descending=True).values
        reached = (likeliest - total).exp().cumsum(-1)
    last = (reached < p).sum(-1, keepdim=True).clamp_max(likeliest.shape[-1] - 1)
    return _at_least(logits, likeliest.gather(-1, last))


def min_p(logits: Float[Tensor, "b v"], p: float) -> Float[Tensor, "b v"]:
    """Only words with softmax(z)_w ≥ p · max softmax(z), which is z_w ≥ max z + log p; the others get −∞."""
    return logits if p == 0 else _at_least(logits, logits.amax(-1, keepdim=True) + float(np.log(p)))


def narrow(logits: Float[Tensor, "b v"], sampling: Sampling) -> Float[Tensor, "b v"]:
    """Temperature and the three filters, in their order. Not for temperature 0."""
    logits = temper(logits, sampling.temperature)
    if sampling.top_k is not None:
        logits = top_k(logits, sampling.top_k)
    if sampling.top_p is not None:
        logits = top_p(logits, sampling.top_p)
    if sampling.min_p is not None:
        logits = min_p(logits, sampling.min_p)
    return logits


def draw(
    logits: Float[Tensor, "b v"], sampling: Sampling, uniform: Float[np.ndarray, "b"]
) -> tuple[Int[Tensor, "b"], Float[Tensor, "b"]]:
    """A word for each row, and the probability with which it was drawn."""
    if sampling.greedy:
        chosen = logits.argmax(-1)
        return chosen, torch.ones(len(chosen), dtype=torch.float64, device=logits.device)
    probabilities = narrow(logits, sampling).softmax(-1)
    # In double: single precision loses words below 1e-7, and its sum may end short of u.
    reached = probabilities.cumsum(-1, dtype=torch.float64)
    u = torch.from_numpy(uniform).to(logits.device)[:, None] * reached[:, -1:]
    chosen = torch.searchsorted(reached, u, right=True)[:, 0].clamp_max(logits.shape[-1] - 1)
    return chosen, probabilities.gather(-1, chosen[:, None])[:, 0].double()


class Uniforms:
    """Uniform numbers in [0, 1), each a function of (seed, step): splitmix64 counted from a mixed seed.

    Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", §3.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.states = _mixed(np.array([seed % 2**64 for seed in seeds], dtype=np.uint64) + _GOLDEN)

    def at(self, step: int) -> Float[np.ndarray, "b"]:
        """A number for each seed, at step number `step`."""
        counted = self.states + _GOLDEN * np.full(1, step, dtype=np.uint64)
        return (_mixed(counted) >> np.uint64(11)) * 2.0**-53

    def keep(self, rows: Sequence[int]) -> None:
        self.states = self.states[list(rows)]


_GOLDEN = np.array([0x9E3779B97F4A7C15], dtype=np.uint64)  # an array, since numpy warns where a scalar wraps around


def _mixed(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _at_least(logits: Float[Tensor, "b v"], threshold: Float[Tensor, "b 1"]) -> Float[Tensor, "b v"]:
    return logits.masked_fill(logits < threshold, float("-inf"))
