"""Scores of tags: seqeval's conventions, worked by hand."""

from __future__ import annotations

import pytest

from regard.evaluation.bootstrap import Bootstrap
from regard.evaluation.tags import strict_entities, tag_scores
from regard.settings import RegardError


def _values(true: list[list[str]], predicted: list[list[str]], **options: object) -> dict[str, float]:
    found = tag_scores(true, predicted, bootstrap=None, **options)  # type: ignore[arg-type]
    return {name: measure.value for name, measure in found.measures.items()}


def test_the_example_that_seqeval_prints() -> None:
    # MISC: its start is wrong, so it is missed and something else found; PER is right
    true = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    predicted = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    found = tag_scores(true, predicted, bootstrap=None)
    values = {name: measure.value for name, measure in found.measures.items()}
    assert values["f1"] == values["precision"] == values["recall"] == 0.5
    assert values["macro_f1"] == 0.5
    assert values["token_accuracy"] == 0.8
    assert found.types == ("MISC", "PER")
    assert found.per_type.f1.tolist() == [0, 1]
    assert found.per_type.support.tolist() == [1, 1]


def test_an_entity_that_begins_with_i() -> None:
    true, predicted = [["B-NP", "I-NP", "O"]], [["I-NP", "I-NP", "O"]]
    assert _values(true, predicted)["f1"] == 1
    assert _values(true, predicted, scheme="bio")["f1"] == 0
    assert _values(true, predicted, scheme="bio")["token_accuracy"] == 2 / 3


def test_schemes_are_read_alike() -> None:
    bio = ["B-x", "I-x", "B-x", "O", "B-y"]
    iob1 = ["I-x", "I-x", "B-x", "O", "I-y"]
    bioes = ["B-x", "E-x", "S-x", "O", "S-y"]
    for other in (iob1, bioes):
        assert _values([bio], [other])["f1"] == 1
        assert _values([bio], [other])["token_accuracy"] == 1


def test_strict_schemes() -> None:
    assert strict_entities(["I-x", "B-x", "I-x", "I-y"], "bio") == [("x", 1, 3)]
    assert strict_entities(["B-x", "I-x", "I-x", "B-x", "I-x"], "iob1") == [("x", 1, 3), ("x", 3, 5)]
    # not closed, closed, of one word, closed by another type
    tags = ["B-x", "I-x", "O", "B-x", "I-x", "E-x", "S-y", "B-x", "E-y", "E-x"]
    assert strict_entities(tags, "bioes") == [("x", 3, 6), ("y", 6, 7)]


def test_partly_found_counts_as_both_errors() -> None:
    values = _values([["B-x", "I-x", "I-x"]], [["B-x", "I-x", "O"]])
    assert values["f1"] == 0
    values = _values([["B-x", "O", "B-y"]], [["B-x", "O", "B-x"]])
    assert values["precision"] == values["recall"] == 0.5


def test_surface_forms_count_once() -> None:
    words = [["Rome", "and", "Rome"], ["Ada", "Lovelace", "!"]]
    true = [["B-place", "O", "B-place"], ["B-person", "I-person", "O"]]
    predicted = [["B-place", "O", "B-place"], ["O", "O", "O"]]
    values = _values(true, predicted, words=words)
    assert values["f1"] == pytest.approx(2 * 2 / (3 + 2))
    assert values["surface_f1"] == pytest.approx(2 * 1 / (2 + 1))


def test_tags_of_another_shape_are_counted_by_word() -> None:
    found = tag_scores([["NOUN", "VERB", "NOUN"]], [["NOUN", "NOUN", "NOUN"]], bootstrap=None)
    assert found.unit == "word"
    assert found.measures["f1"].value == pytest.approx(2 / 3)
    assert dict(zip(found.types, found.per_type.recall.tolist(), strict=True)) == {"NOUN": 1, "VERB": 0}
    assert "words, as these tags mark no entities" in str(found)


def test_sentences_without_entities() -> None:
    values = _values([["O", "O"]], [["O", "O"]])
    assert values["f1"] == values["macro_f1"] == 0
    assert values["token_accuracy"] == 1


def test_intervals_and_a_length_that_differs() -> None:
    true = [["B-x", "O"], ["O", "B-x"], ["O", "O"]] * 20
    predicted = [["B-x", "O"], ["O", "O"], ["O", "O"]] * 20
    found = tag_scores(true, predicted, bootstrap=Bootstrap(samples=100)).measures["recall"]
    assert found.low is not None
    assert found.high is not None
    assert 0.3 < found.low < 0.5 < found.high < 0.7
    with pytest.raises(RegardError, match="sentence 2 has 1 true and 2"):
        tag_scores([["O"], ["O"]], [["O"], ["O", "O"]])
