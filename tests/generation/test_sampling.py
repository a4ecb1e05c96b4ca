"""Filters against brute force, draws against their probabilities."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.generation import Sampling
from regard.generation.sampling import Uniforms, draw, min_p, narrow, penalise, temper, top_k, top_p
from regard.settings import SettingsError

INFINITY = float("-inf")
LOGITS = st.lists(st.sampled_from([-3.0, -1.5, 0.0, 0.5, 0.75, 2.0, 4.0, 4.25]), min_size=1, max_size=9)


def kept(row: torch.Tensor) -> list[int]:
    return [word for word, value in enumerate(row.tolist()) if value != INFINITY]


def softmax(values: list[float]) -> list[float]:
    weights = [math.exp(value - max(values)) for value in values]
    return [weight / sum(weights) for weight in weights]


@given(LOGITS, st.integers(1, 12))
def test_top_k_keeps_words_with_fewer_than_k_likelier_ones(values, k):
    expected = [w for w, z in enumerate(values) if sum(other > z for other in values) < k]
    assert kept(top_k(torch.tensor([values]), k)[0]) == expected


@given(LOGITS, st.floats(0.01, 1))
def test_top_p_keeps_words_whose_likelier_ones_do_not_reach_p(values, p):
    probabilities = softmax(values)
    before = [sum(q for q, other in zip(probabilities, values, strict=True) if other > z) for z in values]
    if all(abs(mass - p) > 1e-6 for mass in before):  # else rounding decides
        assert kept(top_p(torch.tensor([values]).double(), p)[0]) == [w for w, m in enumerate(before) if m < p]


@given(LOGITS, st.floats(0, 1))
def test_min_p_keeps_words_p_times_as_likely_as_the_likeliest(values, p):
    probabilities = softmax(values)
    if all(abs(q - p * max(probabilities)) > 1e-9 for q in probabilities) or p == 0:
        expected = [w for w, q in enumerate(probabilities) if q >= p * max(probabilities)]
        assert kept(min_p(torch.tensor([values]).double(), p)[0]) == expected


def test_top_p_of_a_large_vocabulary_sorts_it_where_it_must():
    flat = torch.zeros(1, 1000) + torch.arange(1000) * 1e-4
    mass = flat[0].softmax(-1).flip(0).cumsum(0)
    assert len(kept(top_p(flat, 0.9)[0])) == int((mass < 0.9).sum()) + 1
    both = torch.cat([flat, torch.where(torch.arange(1000) == 5, 30.0, 0.0)[None]])
    assert [len(kept(row)) for row in top_p(both, 0.9)] == [int((mass < 0.9).sum()) + 1, 1]


def test_filters_renormalise_in_their_order():
    logits = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
    # k = 2 leaves 2/3 and 1/3, of which the first alone reaches 0.6; of all four it would not.
    assert kept(narrow(logits, Sampling(top_k=2, top_p=0.6))[0]) == [0]
    assert kept(narrow(logits, Sampling(top_p=0.6))[0]) == [0, 1]


def test_a_penalty_lowers_whatever_the_sign():
    logits, seen = torch.tensor([[2.0, -2.0, 1.0]]), torch.tensor([[True, True, False]])
    assert penalise(logits, seen, 2.0).tolist() == [[1.0, -4.0, 1.0]]


def test_a_tiny_temperature_stays_finite_and_takes_the_likeliest():
    cold = temper(torch.tensor([[1.0, 3.0, 2.0]]), 1e-30)
    assert cold.softmax(-1).tolist() == [[0.0, 1.0, 0.0]]


def test_a_filtered_word_is_never_drawn_not_even_at_the_edges():
    logits = torch.tensor([[INFINITY, 1.0, INFINITY, 2.0, INFINITY]]).expand(2, -1)
    chosen, _ = draw(logits, Sampling(), np.array([0.0, 1 - 2.0**-53]))
    assert chosen.tolist() == [1, 3]


def test_draws_have_the_probabilities_they_say():
    logits = torch.tensor([[0.5, 0.2, 0.2, 0.1]]).log().expand(20_000, -1)
    sampling = Sampling(seed=3, top_k=3)
    chosen, said = draw(logits, sampling, Uniforms(range(20_000)).at(0))
    expected = np.array([5, 2, 2, 0]) / 9
    counts = np.bincount(chosen.numpy(), minlength=4)
    assert np.abs(counts / 20_000 - expected).max() < 0.015
    assert np.allclose(said.numpy(), expected[chosen.numpy()], atol=1e-6)


@settings(max_examples=30)
@given(st.integers(0, 2**40), st.integers(0, 10_000))
def test_uniform_numbers_depend_on_seed_and_step_alone(seed, step):
    alone = Uniforms([seed]).at(step)
    among = Uniforms([7, seed, seed + 1])
    among.at(step + 1)
    assert among.at(step)[1] == alone[0]
    among.keep([1])
    assert among.at(step).tolist() == alone.tolist()
    assert 0 <= alone[0] < 1


def test_uniform_numbers_are_uniform_over_seeds_and_over_steps():
    over_seeds = Uniforms(range(10_000)).at(5)
    one = Uniforms([11])
    over_steps = np.array([one.at(step)[0] for step in range(10_000)])
    for numbers in (over_seeds, over_steps):
        counts = np.histogram(numbers, bins=20, range=(0, 1))[0]
        assert ((counts - 500) ** 2 / 500).sum() < 45  # χ² with 19 degrees of freedom: p = 0.0007
        assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.04


@pytest.mark.parametrize("wrong", [{"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}, {"min_p": 2}, {"topk": 3}])
def test_wrong_settings_are_one_sentence(wrong):
    with pytest.raises(SettingsError, match=r"Sampling"):
        Sampling(**wrong)
