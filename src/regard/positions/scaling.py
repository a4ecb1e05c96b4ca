"""Scaled rotary positions: slower turning, so that a model reads further than it was trained to.

    linear   θ_i ← θ_i / s
    ntk      base ← base · s^(r/(r−2)):  the fastest pair keeps its rate, the slowest has θ / s
    yarn     θ_i ← (1 − γ_i) θ_i / s + γ_i θ_i,  γ falling from 1 at the pair that turns β_fast times within the trained
             length L to 0 at the one that turns β_slow times; sines and cosines times 0.1 ln s + 1
    llama3   the same with γ = (L θ_i / 2π − low) / (high − low), from 0 to 1, and no factor on the sines

s is `factor`, r the number of features turned, θ_i = base^(−2i/r) the rate of pair i.

Source   linear: Chen et al. 2023, arXiv:2306.15595, §2.3. ntk (first posted by bloc97) and yarn: Peng et al. 2023,
         arXiv:2309.00071, §3. llama3: Llama Team 2024, arXiv:2407.21783, and its code.
Cost     none: other rates for the same turns.
Differs  The factor is fixed: rates that follow the length of the text would not fit the turned keys in a cache. YaRN's
         ramp ends at whole pairs, as its authors' code has it (`truncate=False`: between them). `attention` sets the
         factor on the sines; scores grow with its square.
"""

from __future__ import annotations

import math
from typing import Self

from pydantic import Field, model_validator

from regard.settings import Part, SettingsError


class Scaling(Part, family="regard.positions.scaling"):
    """How rotary positions stretch."""

    factor: float = Field(1.0, ge=1, allow_inf_nan=False)

    @property
    def size(self) -> float:
        """What sines and cosines are multiplied by."""
        return 1.0

    def rates(self, base: float, turned: int) -> list[float]:
        """The angle that each pair turns by from one position to the next."""
        raise NotImplementedError


def rates(base: float, turned: int) -> list[float]:
    """Unscaled: base^(−2i/r)."""
    return [math.exp(-2 * pair / turned * math.log(base)) for pair in range(turned // 2)]


class Linear(Scaling, kind="linear"):
    def rates(self, base: float, turned: int) -> list[float]:
        return [rate / self.factor for rate in rates(base, turned)]


class NTK(Scaling, kind="ntk"):
    def rates(self, base: float, turned: int) -> list[float]:
        return rates(base * self.factor ** (turned / max(turned - 2, 1)), turned)


class YaRN(Scaling, kind="yarn"):
    original_length: int = Field(4096, ge=1)
    beta_fast: float = Field(32.0, gt=0)
    beta_slow: float = Field(1.0, gt=0)
    attention: float | None = Field(None, gt=0)
    truncate: bool = True

    @property
    def size(self) -> float:
        return 0.1 * math.log(self.factor) + 1 if self.attention is None else self.attention

    def rates(self, base: float, turned: int) -> list[float]:
        def pair_that_turns(times: float) -> float:
            return turned * math.log(self.original_length / (2 * math.pi * times)) / (2 * math.log(base))

        first, last = pair_that_turns(self.beta_fast), pair_that_turns(self.beta_slow)
        if self.truncate:
            first, last = math.floor(first), math.ceil(last)
        first, last = max(first, 0), min(last, turned - 1)
        wide = last - first if last != first else 0.001
        kept = [1 - min(max((pair - first) / wide, 0.0), 1.0) for pair in range(turned // 2)]
        return _blend(rates(base, turned), kept, self.factor)


class Llama3(Scaling, kind="llama3"):
    factor: float = Field(8.0, ge=1, allow_inf_nan=False)
    original_length: int = Field(8192, ge=1)
    low: float = Field(1.0, gt=0)
    high: float = Field(4.0, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.high <= self.low:
            raise SettingsError(f"llama3 scaling goes from low {self.low} to high {self.high}: raise high")
        return self

    def rates(self, base: float, turned: int) -> list[float]:
        plain = rates(base, turned)
        turns = [self.original_length * rate / (2 * math.pi) for rate in plain]
        kept = [min(max((times - self.low) / (self.high - self.low), 0.0), 1.0) for times in turns]
        return _blend(plain, kept, self.factor)


def _blend(plain: list[float], kept: list[float], factor: float) -> list[float]:
    """Each rate between its own (kept = 1) and that divided by the factor (0)."""
    return [rate * (share + (1 - share) / factor) for rate, share in zip(plain, kept, strict=True)]
