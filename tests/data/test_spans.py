"""Span corruption: nothing is lost, as much is cut out as asked, and every way to cut is as likely as every other."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data.spans import corrupt, counts, draw, sizes

SENTINEL = 10_000


def runs_of(cut):
    """The lengths of the runs of True and of False, in order, by hand."""
    groups = [(value, len(list(group))) for value, group in itertools.groupby(cut.tolist())]
    return [n for value, n in groups if value], [n for value, n in groups if not value]


def reassembled(source, target):
    """The text again: each sentinel of the source gives way to what follows it in the target."""
    answers, rest = {}, target.tolist()
    for word in rest:
        if word > SENTINEL - 5000:
            answers[word] = here = []
        else:
            here.append(word)
    return [word for place in source.tolist() for word in answers.get(place, [place])]


@given(st.integers(0, 400), st.floats(0.01, 0.95), st.floats(1, 12), st.integers(0, 2**32))
def test_source_and_target_make_the_text_again(n, density, mean_length, seed):
    random = np.random.default_rng(seed)
    text = random.integers(0, 50, n)
    cut = draw(n, density, mean_length, random)
    source, target = corrupt(text, cut, SENTINEL)
    assert reassembled(source, target) == text.tolist()
    assert (len(source) + 1, len(target) + 1) == sizes(n, density, mean_length)


@given(st.integers(2, 400), st.floats(0.01, 0.95), st.floats(1, 12), st.integers(0, 2**32))
def test_as_much_is_cut_as_asked_in_runs_that_do_not_touch(n, density, mean_length, seed):
    cut = draw(n, density, mean_length, np.random.default_rng(seed))
    gone, kept = runs_of(cut)
    assert (cut.sum(), len(gone)) == counts(n, density, mean_length)
    assert not cut[0]
    assert cut[-1]
    assert len(gone) == len(kept)  # a run of kept words before each
    assert abs(cut.sum() - n * density) <= 0.5 or cut.sum() in (1, n - 1)
    if cut.sum() / mean_length >= 1 and n - cut.sum() >= len(gone) + 1:
        assert abs(len(gone) - cut.sum() / mean_length) <= 0.5


def test_the_example_of_the_paper():
    """Figure 2; X and Y count down."""
    words = ["Thank", "you", "for", "inviting", "me", "to", "your", "party", "last", "week"]
    ids = np.arange(len(words))
    cut = np.isin(words, ["for", "inviting", "last"])
    names = {SENTINEL: "X", SENTINEL - 1: "Y"}
    source, target = ([names.get(i) or words[i] for i in side.tolist()] for side in corrupt(ids, cut, SENTINEL))
    assert source == ["Thank", "you", "X", "me", "to", "your", "party", "Y", "week"]
    assert target == ["X", "for", "inviting", "Y", "last"]


def test_the_sizes_that_t5_was_trained_with():
    assert sizes(568, 0.15, 3.0) == (512, 114)


@pytest.mark.parametrize("n", [0, 1])
def test_a_text_too_short_to_cut_stays(n):
    source, target = corrupt(np.arange(n), draw(n, 0.15, 3.0, np.random.default_rng(0)), SENTINEL)
    assert (source.tolist(), target.tolist()) == (list(range(n)), [])


def ways(n, parts):
    """All ways to write n as so many positive numbers in order."""
    return [way for way in itertools.product(range(1, n + 1), repeat=parts) if sum(way) == n]


def test_every_way_to_cut_is_as_likely():
    """Nine words, four cut out in three runs: 3 ways to share these out, times 6 for the others."""
    n, density, mean_length = 9, 0.45, 1.5
    assert counts(n, density, mean_length) == (4, 3)
    expected = set(itertools.product(ways(4, 3), ways(5, 3)))
    random, draws = np.random.default_rng(0), 200 * len(expected)
    seen = Counter(tuple(map(tuple, runs_of(draw(n, density, mean_length, random)))) for _ in range(draws))
    assert set(seen) == expected
    chi_square = sum((seen[way] - 200) ** 2 / 200 for way in expected)
    assert chi_square < 2 * len(expected)  # 17 degrees of freedom: less than once in 100 000 by chance


def test_the_lengths_of_runs_have_the_mean_that_was_asked_for():
    random = np.random.default_rng(1)
    gone = [length for _ in range(50) for length in runs_of(draw(512, 0.15, 3.0, random))[0]]
    assert abs(np.mean(gone) - 3.0) < 0.05
    assert len(set(gone)) > 5
