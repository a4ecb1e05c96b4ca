"""Scores of labels: hand-worked numbers, and scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest

from regard.evaluation.bootstrap import Bootstrap
from regard.evaluation.classification import (
    average_precision,
    classification_scores,
    confusion,
    label_scores,
    matthews,
    multilabel_scores,
    nll,
)

LABELS = ("no", "yes")


def _probabilities(predicted: list[int], n: int) -> np.ndarray:
    return np.eye(n)[predicted] * 0.6 + 0.4 / n


def test_by_hand() -> None:
    true = np.array([1, 1, 1, 0, 0, 0, 0, 0])
    found = classification_scores(true, _probabilities([1, 1, 0, 1, 0, 0, 0, 0], 2), LABELS, None)
    values = {name: measure.value for name, measure in found.measures.items()}
    # tp 2, fp 1, fn 1, tn 4
    assert values["accuracy"] == 6 / 8
    assert values["f1"] == 2 / 3
    assert values["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert values["matthews"] == pytest.approx((2 * 4 - 1 * 1) / np.sqrt(3 * 3 * 5 * 5))
    assert values["nll"] == pytest.approx(-(6 * np.log(0.8) + 2 * np.log(0.2)) / 8)
    assert found.confusion is not None
    assert found.confusion.tolist() == [[4, 1], [1, 2]]
    assert found.per_label.support.tolist() == [5, 3]


def test_as_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(1)
    true = draw.integers(0, 4, 300)  # the fifth label is never true, the sixth neither true nor predicted
    probabilities = np.concatenate([draw.dirichlet(np.ones(5), 300), np.zeros((300, 1))], axis=1)
    predicted = probabilities.argmax(axis=1)
    found = classification_scores(true, probabilities, tuple("abcdef"), None)
    values = {name: measure.value for name, measure in found.measures.items()}
    assert values["accuracy"] == pytest.approx(sklearn.accuracy_score(true, predicted))
    for average in ("macro", "weighted"):
        expected = sklearn.f1_score(true, predicted, average=average, zero_division=0)
        assert values[f"{average}_f1"] == pytest.approx(expected)
    assert values["matthews"] == pytest.approx(sklearn.matthews_corrcoef(true, predicted))
    assert values["nll"] == pytest.approx(sklearn.log_loss(true, probabilities, labels=range(6)), rel=1e-6)
    scores = sklearn.precision_recall_fscore_support(true, predicted, labels=range(6), zero_division=0)
    ours = found.per_label
    for mine, theirs in zip((ours.precision, ours.recall, ours.f1, ours.support), scores, strict=True):
        np.testing.assert_allclose(mine, theirs)
    assert found.confusion is not None
    np.testing.assert_array_equal(found.confusion, sklearn.confusion_matrix(true, predicted, labels=range(6)))


def test_many_labels_as_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(2)
    true = draw.integers(0, 2, (200, 4))
    true[:, 3] = 0
    probabilities = np.round(draw.random((200, 4)) * 0.6 + 0.4 * true, 2)  # rounded: some are equal
    given = probabilities >= 0.5
    found = multilabel_scores(true, probabilities, tuple("abcd"), None)
    values = {name: measure.value for name, measure in found.measures.items()}
    for average in ("micro", "macro"):
        expected = sklearn.f1_score(true, given, average=average, zero_division=0)
        assert values[f"{average}_f1"] == pytest.approx(expected)
    assert values["subset_accuracy"] == pytest.approx(sklearn.accuracy_score(true, given))
    assert found.average_precision is not None
    for place in range(3):
        expected = sklearn.average_precision_score(true[:, place], probabilities[:, place])
        assert found.average_precision[place] == pytest.approx(expected)
    assert np.isnan(found.average_precision[3])
    assert found.to_dict()["per_label"]["d"]["average_precision"] is None


def test_average_precision_by_hand() -> None:
    # by falling score: true, false, true → precision 1 at the first, 2/3 at the last
    assert average_precision(np.array([1, 0, 1]), np.array([0.9, 0.8, 0.7])) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(np.array([1, 0]), np.array([0.5, 0.5])) == 0.5  # found together


def test_nothing_divided_by_nothing_is_0() -> None:
    counts = confusion(np.array([0, 0]), np.array([0, 0]), 3)
    assert matthews(counts) == 0
    assert label_scores(counts).f1.tolist() == [1, 0, 0]
    assert label_scores(counts).macro_f1 == 1  # of the labels that occur
    assert np.isfinite(nll(np.array([1]), np.array([[1.0, 0.0]]))).all()


def test_intervals_hold_the_value_and_shrink_with_more_texts() -> None:
    draw = np.random.default_rng(3)

    def width(n: int) -> float:
        true = draw.integers(0, 2, n)
        right = draw.random(n) < 0.8
        found = classification_scores(
            true, _probabilities(np.where(right, true, 1 - true).tolist(), 2), LABELS, Bootstrap(samples=200)
        )
        accuracy = found.measures["accuracy"]
        assert accuracy.low is not None
        assert accuracy.high is not None
        assert accuracy.low < accuracy.value < accuracy.high
        return accuracy.high - accuracy.low

    few, many = width(100), width(1600)
    assert few == pytest.approx(2 * 1.96 * np.sqrt(0.8 * 0.2 / 100), rel=0.35)  # the normal approximation
    assert many == pytest.approx(few / 4, rel=0.35)


def test_printed_with_conventions() -> None:
    found = classification_scores(
        np.array([0, 1]), _probabilities([0, 1], 2), ("a", "ein langer Name"), Bootstrap(samples=9)
    )
    text = str(found)
    for part in ("accuracy", "100.00%", "0/0 = 0", "of the label 'ein langer Name'", "precision", "nats a text"):
        assert part in text
