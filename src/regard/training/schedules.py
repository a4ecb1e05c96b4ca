"""Learning-rate schedules: how large a step the optimiser takes, as a function of the step number.

Steps are counted from 1, so the first update takes `rate(1, steps)`; `steps` is the length of the whole run.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from regard.settings import Part, SettingsError


class Schedule(Part, family="regard.training.schedules"):
    """The learning rate of each step. The optimiser multiplies it by the `rates` of a group of parameters."""

    learning_rate: float = Field(1e-3, gt=0)
    """The highest rate, reached at the end of the warm-up."""
    warmup: int | float = Field(0, ge=0)
    """Steps during which the rate rises in a straight line from learning_rate / warmup; below 1 the share of them."""

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of update number `step` (from 1) in a run of `steps`."""
        raise NotImplementedError

    def _warmup(self, steps: int) -> int:
        return math.ceil(self.warmup * steps) if self.warmup < 1 else int(self.warmup)

    def _rise(self, step: int, steps: int) -> float:
        warmup = self._warmup(steps)
        return min(1.0, step / warmup) if warmup else 1.0

    def _progress(self, step: int, start: int, steps: int) -> float:
        """0 at `start`, 1 at `steps` and after."""
        return min(1.0, max(0.0, (step - start) / max(1, steps - start)))


class Constant(Schedule, kind="constant"):
    """The same rate at every step after the warm-up.

    rate = η · min(1, n / w)
    """

    def rate(self, step: int, steps: int) -> float:
        return self.learning_rate * self._rise(step, steps)


class Linear(Schedule, kind="linear"):
    """A straight line from the highest rate down to a share `final` of it at the last step.

        rate = η · n / w                            while n ≤ w
        rate = η · (1 − (1 − final) · p)            p = (n − w) / (N − w)

    Source   Devlin et al. 2019, arXiv:1810.04805, §A.2 (w = 10,000, final = 0).
    """

    final: float = Field(0.0, ge=0, le=1)

    def rate(self, step: int, steps: int) -> float:
        down = 1 - (1 - self.final) * self._progress(step, self._warmup(steps), steps)
        return self.learning_rate * self._rise(step, steps) * down


class Cosine(Schedule, kind="cosine"):
    """Half a cosine from the highest rate down to a share `final` of it at the last step.

        rate = η · n / w                                             while n ≤ w
        rate = η · (final + (1 − final) · (1 + cos πp) / 2)          p = (n − w) / (N − w)

    Source   Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, one period; warm-up and final = 0.1 as in
             Brown et al. 2020, arXiv:2005.14165, §B.
    """

    final: float = Field(0.1, ge=0, le=1)

    def rate(self, step: int, steps: int) -> float:
        wave = (1 + math.cos(math.pi * self._progress(step, self._warmup(steps), steps))) / 2
        return self.learning_rate * self._rise(step, steps) * (self.final + (1 - self.final) * wave)


class InverseSquareRoot(Schedule, kind="inverse-square-root"):
    """Falls with the square root of the step, whatever the length of the run.

        rate = η · min(n / w, √(w / n))

    Source   Vaswani et al. 2017, arXiv:1706.03762, eq. 3, with the peak named, not derived from d_model.
    """

    warmup: int = Field(4000, ge=1)

    def rate(self, step: int, steps: int) -> float:
        return self.learning_rate * min(step / self.warmup, math.sqrt(self.warmup / step))


class Noam(Schedule, kind="noam"):
    """The schedule of the 2017 Transformer; its peak follows from the width of the model.

        rate = scale · d_model^(−1/2) · min(n^(−1/2), n · w^(−3/2))     scale = learning_rate, here 1

    Source   Vaswani et al. 2017, arXiv:1706.03762, eq. 3 (w = 4000).
    """

    learning_rate: float = Field(1.0, gt=0)
    """A factor on the paper's formula."""
    warmup: int = Field(4000, ge=1)
    d_model: int | None = Field(None, ge=1)
    """None takes the model's."""

    def rate(self, step: int, steps: int) -> float:
        if self.d_model is None:
            raise SettingsError("Noam.d_model: the schedule needs the width of the model; write d_model=512.")
        return self.learning_rate * self.d_model**-0.5 * min(step**-0.5, step * self.warmup**-1.5)


class WSD(Schedule, kind="wsd"):
    """Warm-up, stable, decay: constant for most of the run, then down to a share `final` at its end.

        rate = η · min(1, n / w)                          before the last `decay` · N steps
        rate = η · (1 − (1 − final) · shape(p))           p = how much of the decay is done; shape is p or √p

    Source   Hu et al. 2024 (MiniCPM), arXiv:2404.06395, §4; the shape 1 − √p is from Hägele et al. 2024,
             arXiv:2405.18392, §3, who found it better than the straight line.
    Differs  a run can be prolonged from any checkpoint before the decay, as no rate there depends on N.
    """

    decay: float = Field(0.2, gt=0, le=1)
    """The share of the run in which the rate falls."""
    final: float = Field(0.0, ge=0, le=1)
    shape: Literal["linear", "sqrt"] = "sqrt"

    def rate(self, step: int, steps: int) -> float:
        done = self._progress(step, steps - round(self.decay * steps), steps)
        down = done if self.shape == "linear" else math.sqrt(done)
        return self.learning_rate * self._rise(step, steps) * (1 - (1 - self.final) * down)
