"""Numbers as they are reported: a value, the interval it came from, and the convention behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regard.evaluation.bootstrap import Bootstrap

DRAWS = Bootstrap()


@dataclass(frozen=True)
class Measure:
    """One number of a test set and what it depends on."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    convention: str = ""
    share: bool = True
    """A share of one, which people read in percent."""

    def __str__(self) -> str:
        return "".join(cell for cell in self.cells() if cell)

    def cells(self) -> tuple[str, str, str]:
        """The number, its interval in brackets and the convention, as they are printed."""
        interval = "" if self.low is None or self.high is None else f" ({self._in(self.low)} to {self._in(self.high)})"
        return f"{self.name} {self._in(self.value)}", interval, f"  {self.convention}" if self.convention else ""

    def _in(self, value: float) -> str:
        return f"{100 * value:.2f}%" if self.share else f"{value:.4f}"


def measured(
    n: int,
    scores: Callable[[np.ndarray], Mapping[str, float]],
    conventions: Mapping[str, str],
    bootstrap: Bootstrap | None,
    numbers: Sequence[str] = (),
) -> dict[str, Measure]:
    """Name → measure. scores: rows of the n examples → name: value; numbers: those that are not shares."""
    values = scores(np.arange(n))
    ends = {} if bootstrap is None else bootstrap.intervals(n, scores)
    found = {}
    for name, value in values.items():
        low, high = ends.get(name, (None, None))
        found[name] = Measure(name, float(value), low, high, conventions.get(name, ""), name not in numbers)
    return found


def lines(measures: Mapping[str, Measure]) -> list[str]:
    """A line a measure: name, value, interval and convention, each in its column."""
    rows = [(measure.name, measure._in(measure.value), *measure.cells()[1:]) for measure in measures.values()]
    widths = [max(len(row[column]) for row in rows) for column in range(3)] if rows else []
    return [f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}{row[2]:<{widths[2]}}{row[3]}".rstrip() for row in rows]


def plain(measures: Mapping[str, Measure]) -> dict[str, dict[str, Any]]:
    """Plain values that JSON can hold."""
    return {
        name: {"value": measure.value, "low": measure.low, "high": measure.high, "convention": measure.convention}
        for name, measure in measures.items()
    }
