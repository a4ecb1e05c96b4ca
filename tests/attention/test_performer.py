"""Random features: what they estimate, how they are drawn, and when again."""

import pytest
import torch

from regard.attention import Causal, Dot, Performer, View
from regard.attention.performer import directions
from regard.layers import Sizes
from regard.positions import NoPosition
from tests.laws.members import close

SIZES = Sizes(d_model=16, n_heads=2, n_kv_heads=2, head_dim=8, d_ff=8, context_length=64, place="decoder.0.attention")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
@pytest.mark.parametrize("kernel", ["positive", "trigonometric"])
def test_attention_becomes_softmax_as_features_grow(kernel):
    softmax = Dot().build(SIZES).double()
    for p in softmax.parameters():
        p.normal_(std=0.15)
    x = torch.randn(1, 40, 16, dtype=torch.float64)
    slots = torch.arange(40)[None]
    given = (None, View(Causal(), slots, slots, square=True), NoPosition().build(SIZES), None)
    exact, errors = softmax(x, *given), []
    for features in (32, 512, 8192):
        module = Performer(features=features, kernel=kernel).build(SIZES).double()
        module.load_state_dict({**module.state_dict(), **softmax.state_dict()})
        errors.append((module(x, *given) - exact).square().mean().sqrt() / exact.std())
    assert errors[0] > 1.5 * errors[1] > 2.5 * errors[2]
    assert errors[2] < 0.05


@pytest.mark.parametrize("kernel", ["positive", "trigonometric"])
def test_products_of_features_are_exp_of_the_score_on_average(kernel):
    q, k = torch.randn(2, 1, 1, 5, 8, dtype=torch.float64, generator=generator()) / 2
    module = Performer(features=200_000, kernel=kernel, draw="independent").build(SIZES)
    got = module.features(q) @ module.features(k).mT
    assert ((got / (q @ k.mT / 8**0.5).exp() - 1).abs() < 0.05).all()


def test_orthogonal_directions_by_their_gram():
    """Right angles within each block of e, and the lengths of independent draws: mean of the square e."""
    vectors = directions(8 * 500 + 3, 8, "orthogonal", generator())
    assert vectors.shape == (4003, 8)
    blocks = vectors[:4000].view(500, 8, 8)
    gram = blocks @ blocks.mT
    lengths = gram.diagonal(dim1=1, dim2=2)
    close(gram, torch.diag_embed(lengths))
    assert abs(lengths.mean() - 8) < 0.3
    assert abs(lengths.var() - 16) < 3  # chi-square of 8 degrees
    assert vectors.mean(0).abs().max() < 0.1
    loose = directions(4000, 8, "independent", generator()).view(500, 8, 8)
    assert ((loose @ loose.mT) - torch.diag_embed((loose @ loose.mT).diagonal(dim1=1, dim2=2))).abs().max() > 1


def test_features_are_a_function_of_seed_place_and_draw():
    one, other = (Performer(features=16, redraw_every=10).build(SIZES) for _ in range(2))
    first = one.omega.clone()
    assert torch.equal(first, other.omega)
    one.redraw(7, 0)
    started = one.omega.clone()
    assert not torch.equal(started, first)
    kept = one.omega
    for step in range(1, 10):
        one.redraw(7, step)
    assert torch.equal(one.omega, started)
    one.redraw(7, 10)
    assert one.omega is kept
    assert not torch.equal(one.omega, started)
    other.redraw(7, 10)
    assert torch.equal(one.omega, other.omega)
    other.redraw(8, 10)
    assert not torch.equal(one.omega, other.omega)
    assert "omega" in one.state_dict()
    still = Performer(features=16, redraw_every=0).build(SIZES)
    still.redraw(7, 0)
    assert torch.equal(still.omega, first)
    elsewhere = Sizes(**{**vars(SIZES), "place": "decoder.1.attention"})
    assert not torch.equal(Performer(features=16).build(elsewhere).omega, first)
