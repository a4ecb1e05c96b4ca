"""Whether probabilities mean what they say: of all texts given 80 %, are 80 % right?

    ECE = Σ_bins (n_bin / n) |share right − mean probability|        Brier = mean Σ_labels (p − y)²

Bins hold equally many texts, sorted by probability; equal probabilities stay in one bin.

Source   Naeini et al. 2015 and Guo et al. 2017, arXiv:1706.04599, §2 (ECE, with bins of equal width there); Nguyen &
         O'Connor 2015, arXiv:1508.05154 (bins of equal mass); Brier 1950.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from regard.evaluation.classification import columns


@dataclass(frozen=True)
class Calibration:
    """What probabilities said and what was true: arrays [bins], by rising probability."""

    said: np.ndarray
    """Mean probability in the bin."""
    right: np.ndarray
    """Share of it that was so."""
    count: np.ndarray
    brier: float

    @property
    def error(self) -> float:
        """Expected calibration error."""
        return float(self.count @ np.abs(self.said - self.right) / self.count.sum())

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        rows = zip(self.said.tolist(), self.right.tolist(), self.count.tolist(), strict=True)
        return {
            "expected_calibration_error": self.error,
            "brier": self.brier,
            "bins": [{"said": said, "right": right, "count": int(count)} for said, right, count in rows],
        }

    def __str__(self) -> str:
        return (
            f"calibration error {100 * self.error:.2f}% ({len(self.count)} bins of equal mass), "
            f"Brier {self.brier:.4f} (sum over labels)"
        )

    def table(self) -> str:
        """A line a bin."""
        rows = [
            [f"{int(count):,}", f"{100 * said:.1f}%", f"{100 * right:.1f}%"]
            for said, right, count in zip(self.said, self.right, self.count, strict=True)
        ]
        return columns([["cases", "said", "right"], *rows])


def reliability(said: np.ndarray, so: np.ndarray, bins: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean probability, share that was so, count) a bin. said [n]: probabilities; so [n]: 0 or 1."""
    order = np.argsort(said, kind="stable")
    said, so = said[order].astype(np.float64), so[order].astype(np.float64)
    n = len(said)
    edges = [0]
    for k in range(1, bins + 1):
        edge = round(n * k / bins)
        while 0 < edge < n and said[edge] == said[edge - 1]:
            edge += 1
        if edge > edges[-1]:
            edges.append(edge)
    count = np.diff(edges)
    return np.add.reduceat(said, edges[:-1]) / count, np.add.reduceat(so, edges[:-1]) / count, count


def calibration(true: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> Calibration:
    """Of the likeliest labels. true [n]: numbers of labels, probabilities [n c]; or both [n c]: of every decision."""
    probabilities = probabilities.astype(np.float64)
    if true.ndim == 2:
        brier = float(((probabilities - true) ** 2).sum(axis=1).mean())
        return Calibration(*reliability(probabilities.ravel(), true.ravel(), bins), brier)
    truth = np.eye(probabilities.shape[1])[true]
    brier = float(((probabilities - truth) ** 2).sum(axis=1).mean())
    right = probabilities.argmax(axis=1) == true
    return Calibration(*reliability(probabilities.max(axis=1), right, bins), brier)
