"""Inputs against the learned table, and the vectors that a table begins with."""

import pytest
import torch

from regard.inputs import Factorised, OneHot, TokenInput, WordVectors
from regard.inputs.word_vectors import begin_with
from regard.layers import Sizes
from regard.model import LanguageHead, ModelConfig, StackConfig, Transformer
from regard.planning import plan
from regard.training.optimisers import group_parameters

SIZES = Sizes(d_model=8, n_heads=2, n_kv_heads=2, head_dim=4, d_ff=16, context_length=16)
IDS = torch.tensor([[3, 1, 3, 0], [10, 2, 2, 7]])


def model(input, tied=True):
    return Transformer(
        ModelConfig(
            vocab_size=11,
            d_model=8,
            n_heads=2,
            context_length=16,
            input=input,
            head=LanguageHead(tied=tied),
            decoder=StackConfig(n_layers=1),
        )
    ).double()


def gradients(model):
    model.zero_grad()
    loss = model(IDS, IDS)
    loss.objective.backward()
    return loss.objective.detach(), {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("tied", [True, False])
def test_one_hot_equals_the_learned_table_in_value_and_gradient(tied):
    learned, hot = model(TokenInput(), tied), model(OneHot(), tied)
    hot.load_state_dict(
        {name.replace("tokens.", "tokens.words."): tensor for name, tensor in learned.state_dict().items()}
    )
    (one, ours), (other, theirs) = gradients(hot), gradients(learned)
    assert torch.allclose(one, other, atol=1e-12)
    for name, gradient in theirs.items():
        assert torch.allclose(ours[name.replace("tokens.", "tokens.words.")], gradient, atol=1e-12)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("input", [Factorised(width=3), WordVectors(width=3)])
def test_factorised_equals_a_table_that_is_the_product(input, tied):
    factorised, learned = model(input, tied), model(TokenInput(), tied)
    table = factorised.decoder.input.tokens
    others = {name: tensor for name, tensor in factorised.state_dict().items() if "tokens." not in name}
    product = table.words.matrix() @ table.wide.matrix().T
    assert torch.linalg.matrix_rank(product) == 3
    assert torch.allclose(table.matrix(), product, atol=1e-15)
    learned.load_state_dict({**others, "decoder.input.tokens.weight": product})
    assert torch.allclose(factorised(IDS), learned(IDS), atol=1e-12)
    shapes = {name: tuple(p.shape) for name, p in table.named_parameters()}
    assert shapes == {"words.weight": (11, 3), "wide.weight": (8, 3)}


@pytest.mark.parametrize("input", [TokenInput(), OneHot(), Factorised(width=3), WordVectors(width=3)])
def test_a_tied_head_reads_the_table_that_the_input_has(input):
    """x · e_w for every word, whichever way it is computed."""
    table = input.table(11, SIZES).double()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in table.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random, dtype=torch.float64))
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    narrow, words = table.tied(x)
    vectors = table(torch.arange(11))
    assert torch.allclose(narrow @ words.T, x @ vectors.T, atol=1e-12)
    assert torch.allclose(table.matrix(), vectors, atol=1e-12)


def test_the_table_of_every_input_is_an_embedding_to_the_optimiser():
    for input, name in ((OneHot(), "words.weight"), (Factorised(width=3), "words.weight"), (WordVectors(), "weight")):
        groups = group_parameters(model(input))
        assert list(groups["embeddings"]) == [f"decoder.input.tokens.{name}"]
    assert "decoder.input.tokens.wide.weight" in group_parameters(model(Factorised(width=3)))["matrices"]


def test_frozen_vectors_stay_and_what_widens_them_learns():
    frozen = model(WordVectors(width=3, trained=False))
    table = frozen.decoder.input.tokens
    assert not table.words.matrix().requires_grad
    assert table.wide.matrix().requires_grad
    assert not group_parameters(frozen)["embeddings"]
    assert not model(WordVectors(trained=False)).decoder.input.tokens.matrix().requires_grad


@pytest.mark.parametrize("width", [None, 3])
def test_words_begin_with_their_vectors_and_others_are_as_large(width):
    table = WordVectors(width=width).table(4000, SIZES)
    words = table.words if width else table
    with torch.no_grad():
        words.weight.normal_(std=0.02)
    vectors = torch.randn(1000, width or 8) * 0.4
    ids = torch.randperm(4000)[:1000]
    begin_with(table, ids, vectors)
    assert torch.equal(words.matrix()[ids], vectors)
    others = torch.ones(4000, dtype=torch.bool).index_fill(0, ids, False)
    assert words.matrix()[others].std().item() == pytest.approx(0.4, rel=0.05)
    before = words.matrix().clone()
    begin_with(table, ids[:0], vectors[:0])
    assert torch.equal(words.matrix(), before)


def test_albert_saves_what_its_paper_says():
    """§3.1 by hand: v e + e d for v d, at the paper's 30,000 words, e = 128 and d = 4096."""
    config = ModelConfig(vocab_size=30_000, d_model=4096, n_heads=64, decoder=StackConfig(n_layers=1))
    narrow = plan(config.replace(input=Factorised(width=128))).parameters["embedding"]
    assert narrow == 30_000 * 128 + 128 * 4096
    assert plan(config).parameters["embedding"] == 30_000 * 4096
