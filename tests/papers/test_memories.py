"""The parts of the papers on linear memories: what they measure, against numbers known beforehand."""

import pytest
import torch

from regard.papers import katharopoulos2020, performer2020, schlag2021, schmidhuber1991


def generator():
    return torch.Generator().manual_seed(0)


def test_a_memory_of_orthogonal_keys_is_full_at_their_size():
    assert schmidhuber1991.recalled(16, 16, True, generator()) < 1e-20
    # 32 pairs on 16 directions: each recalls its own value and one other.
    assert schmidhuber1991.recalled(32, 16, True, generator()) == pytest.approx(1.0, abs=0.1)
    assert schmidhuber1991.recalled(33, 16, False, generator()) == pytest.approx(2.0, rel=0.15)


def test_a_memory_is_no_better_than_the_rank_of_its_features():
    """10 one-hot values through 4 features: a matrix of rank 4 misses 6 of 10; softmax misses none."""
    four = schlag2021.missed(10, lambda x: x[:, :4].exp(), seed=0, steps=60)
    assert 0.6 - 1e-6 <= four < 0.75
    assert schlag2021.missed(10, None, seed=0, steps=60) < 0.02


@pytest.mark.parametrize("rule", ["delta", "sum", "sum, normalised"])
def test_a_store_recalls_the_value_of_its_key(rule):
    """One pair, keys at right angles, β = 1: each rule gives the value back."""
    store = schlag2021.Store(rule)
    with torch.no_grad():
        for table in (store.k, store.q):
            table.weight.zero_()
            table.weight[:, :2] = 1.0  # the one feature r_0 r_1
        store.beta.weight.zero_()
        store.beta.bias.fill_(50.0)
    got = store(torch.tensor([[3]]), torch.tensor([[7]]), torch.tensor([3]))
    torch.testing.assert_close(got, store.v[7][None])
    again = store(torch.tensor([[3, 3]]), torch.tensor([[7, 9]]), torch.tensor([3]))
    wanted = {"delta": store.v[9], "sum": store.v[7] + store.v[9], "sum, normalised": (store.v[7] + store.v[9]) / 2}
    torch.testing.assert_close(again, wanted[rule][None])


def test_estimates_follow_the_lemma():
    for measured, lemma in performer2020.estimates(0.5, 8, generator(), draws=20_000).values():
        assert measured == pytest.approx(lemma, rel=0.1)


def test_both_kernels_have_as_many_numbers_a_token():
    x = torch.randn(1, 1, 3, performer2020.SIZE)
    for kernel, draw in performer2020.KINDS.values():
        assert performer2020.mechanism(32, kernel, draw).features(x).shape[-1] == 32


def test_a_whole_text_is_the_area_under_its_steps():
    assert katharopoulos2020.whole([2.0] * len(katharopoulos2020.LENGTHS)) == pytest.approx(2.0 * 3072)
    straight = [length / 1000 for length in katharopoulos2020.LENGTHS]
    below = 128 * 0.128 / 2  # before the first length its own time is taken
    assert katharopoulos2020.whole(straight) == pytest.approx(3.072 * 3072 / 2 + below)


def test_the_three_forms_are_one():
    assert max(katharopoulos2020.forms(0)) < 1e-12
