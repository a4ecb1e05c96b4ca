"""Scores of numbers: by hand, scipy's where it is, and vectors compared by them."""

from __future__ import annotations

import numpy as np
import pytest

from regard.evaluation.bootstrap import Bootstrap
from regard.evaluation.embedding import retrieval_scores, similarity_scores
from regard.evaluation.regression import pearson, ranks, regression_scores, spearman


def test_by_hand() -> None:
    found = regression_scores(np.array([1.0, 2, 3, 4]), np.array([1.0, 2, 3, 8]), None).measures
    assert found["mse"].value == 4
    assert found["mae"].value == 1
    assert found["r2"].value == pytest.approx(1 - 16 / 5)
    assert found["spearman"].value == pytest.approx(1)
    assert found["pearson"].value == pytest.approx(11 / np.sqrt(5 * 29))  # Σ dx dy, Σ dx² and Σ dy² of 1 2 3 4, 1 2 3 8


def test_ties_share_their_mean_rank() -> None:
    assert ranks(np.array([3.0, 1, 3, 2])).tolist() == [3.5, 1, 3.5, 2]
    # d = 0.5, 0.5, 0: by the formula for ties, r of (1.5, 1.5, 3) and (1, 2, 3)
    assert spearman(np.array([1.0, 1, 2]), np.array([1.0, 2, 3])) == pytest.approx(np.sqrt(3) / 2)


def test_as_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(0)
    x, y = draw.integers(0, 9, 200).astype(float), draw.normal(size=200)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic)


def test_a_constant_correlates_with_nothing() -> None:
    found = regression_scores(np.array([1.0, 2]), np.array([3.0, 3]), Bootstrap(samples=20)).measures
    assert found["pearson"].value == found["spearman"].value == 0
    assert regression_scores(np.ones(3), np.arange(3.0), None).measures["r2"].value == 0


def test_retrieval_by_hand() -> None:
    texts = np.array([[1.0, 0], [0, 1], [1, 1]])
    queries = np.array([[2.0, 0.1], [3, 0], [0.9, 1]])  # nearest: 0, 0 (then 2, then 1), 2
    found = retrieval_scores(queries, texts, at=(1, 2), bootstrap=None)
    values = {name: measure.value for name, measure in found.measures.items()}
    assert values == {"accuracy@1": 2 / 3, "accuracy@2": 2 / 3, "mrr": pytest.approx((1 + 1 / 3 + 1) / 3)}
    assert found.candidates == 3


def test_equal_vectors_find_nothing() -> None:
    found = retrieval_scores(np.ones((4, 2)), np.ones((4, 2)), at=(1,), bootstrap=None).measures
    assert found["accuracy@1"].value == 0
    assert found["mrr"].value == 1 / 4


def test_similarity_is_of_cosines() -> None:
    first = np.array([[1.0, 0], [5, 0], [1, 0]])
    second = np.array([[1.0, 0.1], [1, 1], [0, 3]])
    found = similarity_scores(first, second, np.array([5.0, 3, 0]), None).measures
    assert found["spearman"].value == pytest.approx(1)
    cosine = np.array([1 / np.sqrt(1.01), 1 / np.sqrt(2), 0])
    assert found["pearson"].value == pytest.approx(np.corrcoef(cosine, [5, 3, 0])[0, 1])
