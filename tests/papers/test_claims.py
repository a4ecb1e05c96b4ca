"""The papers that take seconds are run as they are; of those that take minutes, what they measure with."""

import pytest
import torch

from regard.papers import bahdanau2014, layernorm, parallelism
from regard.papers.run import reproduce
from regard.papers.vaswani2017 import BASE, formula


@pytest.mark.parametrize(
    ("name", "fails"),
    [
        ("vaswani2017", "One vocabulary gives all printed numbers to the million"),
        ("gpt-scaling", "The heads of every GPT-3 are together as wide as the model"),
    ],
)
def test_what_holds_of_a_table_and_what_does_not(name, fails):
    found = reproduce(name)
    assert [check.claim for check in found.checks if not check.holds] == [fails]
    assert found.verdict == "reproduced in part"


def test_the_formula_of_2017_by_hand():
    """65 M is 44.1 M in twelve layers and 41,000 pieces of 512."""
    layers = 6 * (4 * 512 * 512 + 2 * 512 * 2048) + 6 * (8 * 512 * 512 + 2 * 512 * 2048)
    vectors = 6 * (4 * 512 + 2048 + 512 + 2 * 1024) + 6 * (8 * 512 + 2048 + 512 + 3 * 1024)
    assert formula(BASE, vocabulary=0) == layers + vectors
    assert round(formula(BASE, vocabulary=41_000) / 1e6) == 65


def test_without_training_nothing_is_claimed():
    """The verdicts come from what is measured: a model of two steps bears out neither paper's claims."""
    found = bahdanau2014.reproduce(steps=2)
    assert found.verdict != "reproduced"
    assert not next(check for check in found.checks if check.claim == "Attention wins over all lengths together").holds
    found = layernorm.reproduce(steps=2)
    assert [check.holds for check in found.checks] == [True, True, True, False, False]


def test_a_chain_is_the_longest_way():
    x = torch.ones(1, requires_grad=True)
    y = x * 2  # MulBackward, over AccumulateGrad
    assert parallelism.chain(y) == 2
    for _ in range(5):
        y = (y + x) * y
    assert parallelism.chain(y) == 2 + 5 * 2
    deep = x
    for _ in range(5000):  # deeper than Python recurses
        deep = deep + 1
    assert parallelism.chain(deep) == 5001


def test_the_translator_without_attention_reads_one_vector():
    """Of two sentences with equal last states nothing else reaches the words; with attention every state does."""
    torch.manual_seed(0)
    source = torch.tensor([[3, 4, 5, 6]])
    for attention in (True, False):
        model = bahdanau2014.Translator(28, 8, attention)
        read = {}

        def keep(module, inputs, output, read=read):
            read["h"] = output[0]
            output[0].retain_grad()

        model.reader.register_forward_hook(keep)
        logits, alignment = model(source, source)
        logits.square().sum().backward()
        moved = (read["h"].grad[0] != 0).any(dim=-1).tolist()
        assert moved == ([True] * 4 if attention else [True, False, False, True])
        assert torch.allclose(alignment.sum(-1), torch.ones(1, 4))


def test_rows_of_unequal_length_are_padded_and_backwards():
    import numpy as np

    rows = layernorm.Rows([2, 3], np.random.default_rng(0), more=1)
    assert rows.ids.shape == (2, 8)
    a, b = rows.ids[0, :2].tolist()
    assert rows.ids[0].tolist() == [a, b, 1, b, a, 0, 0, 0]
    assert rows.targets[0].tolist() == [-100, -100, b, a, 0, -100, -100, -100]
    assert rows.real.sum(dim=1).tolist() == [5, 7]


def test_statistics_of_real_words_leave_padding_out():
    norm = layernorm.BatchNorm(3).train()
    x = torch.randn(2, 4, 3)
    norm.real = torch.tensor([[True] * 4, [True, True, False, False]])
    y = norm(x)
    real = x[norm.real]
    expected = (real - real.mean(0)) / (real.var(0, correction=0) + 1e-5).sqrt()
    assert torch.allclose(y[norm.real], expected, atol=1e-5)
    assert (y[~norm.real] == 0).all()
