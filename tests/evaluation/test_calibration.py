"""Calibration: by hand, and with probabilities that are what they say."""

from __future__ import annotations

import numpy as np
import pytest

from regard.evaluation.calibration import calibration, reliability


def test_by_hand() -> None:
    said, right, count = reliability(np.array([0.9, 0.5, 0.7, 0.8]), np.array([1, 0, 1, 0]), bins=2)
    assert said.tolist() == pytest.approx([0.6, 0.85])
    assert right.tolist() == [0.5, 0.5]
    assert count.tolist() == [2, 2]
    probabilities = np.array([[0.9, 0.1], [0.5, 0.5], [0.3, 0.7], [0.2, 0.8]])
    found = calibration(np.array([0, 1, 1, 0]), probabilities, bins=2)  # right, wrong, right, wrong
    assert found.error == pytest.approx((0.1 + 0.35) / 2)
    assert found.brier == pytest.approx((2 * 0.01 + 2 * 0.25 + 2 * 0.09 + 2 * 0.64) / 4)


def test_brier_as_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(0)
    true, p = draw.integers(0, 2, 100), draw.random(100)
    found = calibration(true, np.stack([1 - p, p], axis=1))
    assert found.brier == pytest.approx(2 * sklearn.brier_score_loss(true, p))


def test_equal_probabilities_stay_in_one_bin() -> None:
    said, right, count = reliability(np.full(50, 0.8), np.arange(50) % 5 > 0, bins=10)
    assert count.tolist() == [50]
    assert right.tolist() == [0.8]
    assert said.tolist() == pytest.approx([0.8])


def test_honest_probabilities_are_calibrated_and_boasts_are_not() -> None:
    draw = np.random.default_rng(1)
    p = draw.uniform(0.5, 1, 20_000)
    true = np.where(draw.random(20_000) < p, 0, 1)
    honest = calibration(true, np.stack([p, 1 - p], axis=1))
    assert honest.error < 0.02
    assert honest.count.tolist() == [2000] * 10
    boast = (1 + p) / 2
    assert calibration(true, np.stack([boast, 1 - boast], axis=1)).error == pytest.approx(0.125, abs=0.02)


def test_of_many_labels_every_decision_counts() -> None:
    found = calibration(np.array([[1, 0], [0, 0]]), np.array([[0.8, 0.2], [0.4, 0.2]]), bins=1)
    assert found.said.tolist() == pytest.approx([0.4])
    assert found.right.tolist() == [0.25]
    assert found.brier == pytest.approx((0.04 + 0.04 + 0.16 + 0.04) / 2)
