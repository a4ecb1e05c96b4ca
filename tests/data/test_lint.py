"""What the linter says of small sets whose faults are known, counted by hand."""

import pytest

from regard.data.examples import Example
from regard.data.lint import lint
from regard.text import Tokenizer


def findings(rows, **options):
    given = ((part, Example(text, None, label, f"line {n}")) for n, (part, text, label) in enumerate(rows, start=1))
    return {one.what: one for one in lint(given, **options)}


def test_a_clean_set_gets_no_warning():
    found = findings([(0, "a b", "x"), (0, "c d", "y"), (1, "e f", "x")])
    assert found["texts"].says == "3 texts, 1 of them to validate"
    assert found["labels"].says == "2 labels: x 66.7%, y 33.3%"
    assert not [one for one in found.values() if one.level == "warning"]


def test_repeats_leaks_and_empty_texts():
    found = findings([(0, "a", None), (0, "a", None), (0, "a", None), (1, "a", None), (0, " ", None), (1, "b", None)])
    assert found["repeated"].says == "2 texts (33.3%) repeat another of their part"
    assert found["repeated"].examples == ("3 × a",)
    assert found["leaked"].says.startswith("1 texts of the validation part are trained on")
    assert found["empty"].examples == ("line 5",)


def test_labels_that_contradict_are_named_with_their_places():
    found = findings([(0, "fine", "good"), (0, "fine", "bad"), (0, "so", "good"), (0, "so", "good")])
    assert found["contradictions"].examples == ("fine: good (line 1), bad (line 2)",)


@pytest.mark.parametrize(("rare", "warned"), [(1, True), (2, False)])
def test_imbalance_is_a_ratio_above_ten(rare, warned):
    rows = [(0, f"t{n}", "often") for n in range(20)] + [(0, f"r{n}", "rare") for n in range(rare)]
    assert ("imbalance" in findings(rows)) == warned


def test_what_is_cut_and_unknown_is_counted_in_tokens():
    tokenizer = Tokenizer.train(["abcd"], "characters", special=("unknown",))
    found = findings([(0, "abcd", None), (0, "abzz", None), (0, "ab", None)], tokenizer=tokenizer, length=3)
    assert found["lengths"].says == "a text has 4 tokens (median), at most 4"
    assert (
        found["truncation"].says == "66.7% of texts are longer than the 3 tokens that are read, and lose 20.0% of all"
    )
    assert found["truncation"].level == "warning"
    assert found["unknown"].says == "20.00% of tokens are unknown to the tokenizer"


@pytest.mark.parametrize(("length", "level"), [(200, "note"), (2, "warning")])
def test_the_masks_that_are_drawn_are_measured(length, level):
    tokenizer = Tokenizer.train(["ab"], "characters", special=("mask",))
    found = findings([(0, "ab" * (length // 2) + " " * 0, None)] * 40, tokenizer=tokenizer, rate=0.15)
    assert found["masks"].level == level
