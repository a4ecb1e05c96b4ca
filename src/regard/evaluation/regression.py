"""How close numbers are predicted.

    MSE = mean (ŷ − y)²     MAE = mean |ŷ − y|     R² = 1 − Σ (ŷ − y)² / Σ (y − ȳ)²
    Pearson r = cov(ŷ, y) / (σ_ŷ σ_y)              Spearman ρ = r of the ranks, equal values sharing their mean rank

Source   Pearson 1895; Spearman 1904. A correlation with a constant counts as 0, and so does R² of constant truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from regard.evaluation.bootstrap import Bootstrap
from regard.evaluation.measures import DRAWS, Measure, lines, measured, plain

CONVENTIONS = {
    "pearson": "from −1 to 1; 0 where one side is constant",
    "spearman": "Pearson of ranks; ties share their mean rank",
    "r2": "1 − squared error over that of the mean of the truth; may be below 0",
    "mse": "mean squared error; lower is better",
    "mae": "mean absolute error; lower is better",
}


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Correlation of x [n] and y [n]."""
    x, y = x - x.mean(), y - y.mean()
    spread = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / spread if spread > 0 else 0.0


def ranks(x: np.ndarray) -> np.ndarray:
    """From 1 on; equal values share the mean of their ranks."""
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2)[place])


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Correlation of the ranks of x [n] and y [n]."""
    return pearson(ranks(x), ranks(y))


@dataclass(frozen=True)
class RegressionScores:
    """How close numbers are predicted."""

    measures: dict[str, Measure]

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {"measures": plain(self.measures)}

    def __str__(self) -> str:
        return "\n".join(lines(self.measures))


def values(true: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """All measures of true [n] and predicted [n] numbers."""
    wrong, spread = predicted - true, true - true.mean()
    constant = not (spread @ spread) > 0
    return {
        "pearson": pearson(predicted, true),
        "spearman": spearman(predicted, true),
        "r2": 0.0 if constant else float(1 - (wrong @ wrong) / (spread @ spread)),
        "mse": float(np.mean(wrong * wrong)),
        "mae": float(np.mean(np.abs(wrong))),
    }


def regression_scores(true: np.ndarray, predicted: np.ndarray, bootstrap: Bootstrap | None = DRAWS) -> RegressionScores:
    """Of numbers true [n] and predicted [n]."""
    true, predicted = np.asarray(true, np.float64), np.asarray(predicted, np.float64)
    found = measured(
        len(true), lambda rows: values(true[rows], predicted[rows]), CONVENTIONS, bootstrap, numbers=tuple(CONVENTIONS)
    )
    return RegressionScores(found)
