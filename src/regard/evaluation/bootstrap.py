"""How far a score of a test set could have come out otherwise, by drawing its sentences anew.

Draw n of the n sentences with replacement, score them, and again; the interval holds the middle of those scores. Two
systems are compared on the same draws, which is far sharper than two intervals side by side.

Source   Efron 1979 (the bootstrap); Koehn 2004, "Statistical significance tests for machine translation evaluation".
Cost     a sum of n rows and a score for each draw; nothing is translated or compared again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from regard.settings import RegardError

Statistics = np.ndarray
"""[sentences, counts]: what a score needs of each sentence, which adds up to what it needs of a set."""


@dataclass(frozen=True)
class Difference:
    """What a system scores above another on the same sentences."""

    value: float
    low: float
    high: float
    greater: float
    """The share of draws in which it scores higher, equal ones counted half."""

    def __str__(self) -> str:
        return f"{self.value:+.2f} ({self.low:+.2f} to {self.high:+.2f}), higher in {self.greater:.1%} of the draws"


@dataclass(frozen=True)
class Bootstrap:
    """confidence: the share of draws that an interval holds. samples: draws; the same ones for every score."""

    confidence: float = 0.95
    samples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise RegardError(
                f"confidence is {self.confidence}, and a share between 0 and 1 was expected, such as 0.95."
            )
        if self.samples < 1:
            raise RegardError(f"samples is {self.samples}, and one draw or more was expected, such as 1000.")

    def interval(self, statistics: Statistics, score: Callable[[Statistics], float]) -> tuple[float, float]:
        """Between which values the score lies in the middle share of the draws. score: summed counts → a number."""
        return self._middle([score(sums) for (sums,) in self._draws(statistics)])

    def intervals(self, n: int, scores: Callable[[np.ndarray], Mapping[str, float]]) -> dict[str, tuple[float, float]]:
        """Intervals of scores that need not be sums. scores: rows [n] drawn of the n sentences → name: number."""
        random = np.random.default_rng(self.seed)
        drawn = [scores(random.integers(n, size=n)) for _ in range(self.samples)]
        return {name: self._middle([draw[name] for draw in drawn]) for name in drawn[0]}

    def difference(self, ours: Statistics, theirs: Statistics, score: Callable[[Statistics], float]) -> Difference:
        """Our score minus theirs; row i of both is the same sentence."""
        drawn = np.array([score(a) - score(b) for a, b in self._draws(ours, theirs)])
        low, high = self._middle(drawn)
        greater = float(np.mean(drawn > 0) + np.mean(drawn == 0) / 2)
        return Difference(score(ours.sum(axis=0)) - score(theirs.sum(axis=0)), low, high, greater)

    def _draws(self, *systems: Statistics) -> Iterator[tuple[Statistics, ...]]:
        random, n = np.random.default_rng(self.seed), len(systems[0])
        for _ in range(self.samples):
            rows = random.integers(n, size=n)
            yield tuple(statistics[rows].sum(axis=0) for statistics in systems)

    def _middle(self, scores: list[float] | np.ndarray) -> tuple[float, float]:
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(scores, [tail, 1 - tail])
        return float(low), float(high)

    def __str__(self) -> str:
        return f"{self.confidence:.0%} of {self.samples:,} draws of the sentences (seed {self.seed})"
