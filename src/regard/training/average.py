"""Weight averages: a second set of weights, smoother than the last, that is evaluated and saved as the model.

The average never touches training; it is updated after each step and swapped in for evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pydantic import Field
from torch import Tensor

from regard.settings import Part


class Average(Part, family="regard.training.average"):
    """Which average of the weights is kept."""

    def start(self, weights: dict[str, Tensor]) -> Averaged:
        """The state of the average before the first step."""
        raise NotImplementedError


class Averaged:
    """An average under way. `state` is tensors by name: what a checkpoint keeps."""

    state: dict[str, Tensor]

    def update(self, step: int, weights: dict[str, Tensor]) -> None:
        """Takes in the weights after step `step` (from 1)."""
        raise NotImplementedError

    def average(self) -> dict[str, Tensor]:
        raise NotImplementedError


class EMA(Average, kind="ema"):
    """An exponential moving average.

        w̄ ← β_n · w̄ + (1 − β_n) · w          β_n = min(decay, (1 + n) / (10 + n))

    Source   Polyak & Juditsky 1992 for averaging; the rise of β_n as in TensorFlow's
             ExponentialMovingAverage, so that the random start is soon forgotten.
    Cost     one more copy of the weights.
    """

    decay: float = Field(0.999, gt=0, lt=1)

    def start(self, weights: dict[str, Tensor]) -> Averaged:
        return _EMA(self.decay, weights)


class _EMA(Averaged):
    def __init__(self, decay: float, weights: dict[str, Tensor]) -> None:
        self.decay = decay
        self.state = {name: weight.detach().clone() for name, weight in weights.items()}

    @torch.no_grad()
    def update(self, step: int, weights: dict[str, Tensor]) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.state.values()), [weights[name] for name in self.state], 1 - decay)

    def average(self) -> dict[str, Tensor]:
        return self.state


class Last(Average, kind="last"):
    """The mean of the last `count` sets of weights, one taken every `every` steps.

    Source   Vaswani et al. 2017, arXiv:1706.03762, §6.1: the last 5 checkpoints, 10 minutes apart.
    Cost     `count` copies of the weights.
    """

    count: int = Field(5, ge=1)
    every: int = Field(100, ge=1)

    def start(self, weights: dict[str, Tensor]) -> Averaged:
        return _Last(self.count, self.every, weights)


class _Last(Averaged):
    """The set taken at step n · every lies under (n − 1) mod count; before the first there is the start."""

    def __init__(self, count: int, every: int, weights: dict[str, Tensor]) -> None:
        self.count, self.every = count, every
        self.state = {f"0/{name}": weight.detach().clone() for name, weight in weights.items()}

    @torch.no_grad()
    def update(self, step: int, weights: dict[str, Tensor]) -> None:
        if step % self.every == 0:
            place = (step // self.every - 1) % self.count
            self.state.update({f"{place}/{name}": weight.detach().clone() for name, weight in weights.items()})

    def average(self) -> dict[str, Tensor]:
        sets: dict[str, list[Tensor]] = {}
        for full_name, weight in self.state.items():
            sets.setdefault(full_name.partition("/")[2], []).append(weight)
        return {name: torch.stack(copies).mean(0) for name, copies in sets.items()}


@contextmanager
def swapped(weights: dict[str, Tensor], other: dict[str, Tensor] | None) -> Iterator[None]:
    """Within the block, `weights` hold the values of `other`; afterwards their own again, to the bit."""
    if other is None:
        yield
        return
    own = {name: weight.detach().clone() for name, weight in weights.items()}
    with torch.no_grad():
        try:
            for name, weight in weights.items():
                weight.copy_(other[name])
            yield
        finally:
            for name, weight in weights.items():
                weight.copy_(own[name])
