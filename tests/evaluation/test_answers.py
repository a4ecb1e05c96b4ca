"""Scores of answers: SQuAD's definitions, in plain loops and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from regard.evaluation.answers import answer_scores, best_threshold, exact_match, f1, normalise, tokens


def test_normalised_as_squad_does() -> None:
    assert normalise("The  Cat's, a HAT!") == "cats hat"
    assert normalise("an-ant") == "anant"  # punctuation goes first, and leaves no gap
    assert normalise("theatre") == "theatre"


def test_by_hand() -> None:
    assert exact_match("the Eiffel Tower!", ["Eiffel tower"]) == 1
    assert f1("the tall Eiffel Tower", ["Eiffel Tower"]) == pytest.approx(2 * (2 / 3) * 1 / (2 / 3 + 1))
    assert f1("a b b", ["b b c", "x"]) == pytest.approx(1 * 2 * 2 / (2 + 3))  # a is an article; b counts twice
    assert f1("red", ["blue", "red car"]) == pytest.approx(2 / 3)  # the best of several


def test_no_answer() -> None:
    assert (exact_match("", []), f1("", [])) == (1, 1)
    assert (exact_match("Rome", []), f1("Rome", [])) == (0, 0)
    assert (exact_match("", ["Rome"]), f1("", ["Rome"])) == (0, 0)
    assert f1("the", ["the"]) == 1  # nothing is left of either


def test_german_articles() -> None:
    assert exact_match("der Rhein", ["Rhein"], "de") == 1
    assert exact_match("der Rhein", ["Rhein"], "en") == 0
    assert exact_match("„Rhein“", ["Rhein"], "de") == 1  # all of Unicode's punctuation


def test_chinese_by_character() -> None:
    assert tokens("在1998年,北京。", "zh") == ["在", "1998", "年", "北", "京"]
    assert exact_match("北京。", ["北京"], "zh") == 1
    assert f1("北京市", ["北京"], "zh") == pytest.approx(2 * 2 / (3 + 2))
    assert f1("北京市", ["北京"], "en") == 0


def test_the_best_threshold_by_trying_each() -> None:
    draw = np.random.default_rng(0)
    n = 60
    score = np.round(draw.normal(size=n), 1)  # some are equal
    answerable = draw.random(n) < 0.6
    exact = np.where(answerable, draw.random(n) < 0.5, 0).astype(float)
    overlap = np.where(answerable, np.maximum(exact, draw.random(n)), 0.0)
    found = best_threshold(score, exact, overlap, answerable)

    def total(threshold: float) -> float:
        gained = 0.0
        for no, right, has in zip(score, overlap, answerable, strict=True):
            if no > threshold:  # silent
                gained += 0.0 if has else 1.0
            else:
                gained += right if has else 0.0
        return gained / n

    tried = {threshold: total(threshold) for threshold in (-np.inf, *score)}
    assert found.f1 == pytest.approx(max(tried.values()))
    assert total(found.best) == pytest.approx(found.f1)
    assert {point[0]: pytest.approx(point[1]) for point in found.curve} == tried


def test_all_of_a_set() -> None:
    true = [["Rome"], ["the Rhine", "Rhine"], [], []]
    given, spans = ["Rome", "river Rhine", "", "Bonn"], ["Rome", "river Rhine", "x", "Bonn"]
    found = answer_scores(given, true, no_answer=[-2, -1, 3, 0.5], spans=spans, bootstrap=None)
    values = {name: measure.value for name, measure in found.measures.items()}
    assert values == {
        "exact_match": 0.5,
        "f1": pytest.approx((1 + 2 / 3 + 1 + 0) / 4),
        "answered_f1": pytest.approx((1 + 2 / 3) / 2),
        "unanswerable_f1": 0.5,
    }
    assert found.without == 2
    assert found.threshold is not None
    assert found.threshold.best == -1  # then both without an answer stay silent
    assert found.threshold.f1 == pytest.approx((1 + 2 / 3 + 2) / 4)
    assert "articles of 'en'" in str(found)
