"""Position encodings by hand."""

import math

import pytest
import torch

from regard.layers import Sizes
from regard.model import ModelConfig, StackConfig, Transformer
from regard.positions import Learned, Places, Rotary, Sinusoidal
from regard.settings import RegardError, SettingsError


def sizes(d=4, head=4, context=8):
    return Sizes(d_model=d, n_heads=1, n_kv_heads=1, head_dim=head, d_ff=8, context_length=context)


def test_sinusoidal_by_hand():
    """d = 4: the rates are 1 and 1/100."""
    table = Sinusoidal().build(sizes()).table(torch.tensor([[0, 3]]))
    expected = [0, 1, 0, 1], [math.sin(3), math.cos(3), math.sin(0.03), math.cos(0.03)]
    torch.testing.assert_close(table[0], torch.tensor(expected, dtype=torch.float64))


def test_sinusoidal_halves_are_the_same_numbers_in_another_order():
    at = torch.arange(50)[None]
    one = Sinusoidal().build(sizes(d=10)).table(at)
    other = Sinusoidal(layout="half").build(sizes(d=10)).table(at)
    assert torch.equal(torch.cat([one[..., 0::2], one[..., 1::2]], -1), other)


@pytest.mark.parametrize("layout", ["interleaved", "half"])
def test_sinusoidal_of_an_odd_size(layout):
    table = Sinusoidal(layout=layout).build(sizes(d=5)).table(torch.arange(7)[None])
    assert table.shape == (1, 7, 5)
    assert len({tuple(row) for row in table[0].tolist()}) == 7


def test_sinusoidal_offset_is_a_linear_map():
    """§3.5 of the 2017 paper: PE(t + k) is a linear function of PE(t), the same for all t."""
    table = Sinusoidal().build(sizes(d=8)).table(torch.arange(100)[None])[0]
    solution = torch.linalg.lstsq(table[:60], table[7:67]).solution
    torch.testing.assert_close(table[60:93] @ solution, table[67:], atol=1e-6, rtol=0)


def test_rotary_by_hand():
    """A head of 4 features, base 100: feature pairs (0, 2) and (1, 3) turn by t and t/10."""
    rotary = Rotary(base=100.0).build(sizes())
    x = torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]], dtype=torch.float64)
    at = Places(torch.tensor([[5]]))
    turned, _ = rotary.turn(x, x, at, at)
    c, s, c1, s1 = math.cos(5), math.sin(5), math.cos(0.5), math.sin(0.5)
    expected = torch.tensor([1 * c - 3 * s, 2 * c1 - 4 * s1, 1 * s + 3 * c, 2 * s1 + 4 * c1], dtype=torch.float64)
    torch.testing.assert_close(turned.flatten(), expected)
    neighbours, _ = Rotary(base=100.0, interleaved=True).build(sizes()).turn(x, x, at, at)
    expected = torch.tensor([1 * c - 2 * s, 1 * s + 2 * c, 3 * c1 - 4 * s1, 3 * s1 + 4 * c1], dtype=torch.float64)
    torch.testing.assert_close(neighbours.flatten(), expected)


def test_rotary_fraction_leaves_the_rest():
    x = torch.randn(1, 2, 6, 8, dtype=torch.float64)
    at = Places(torch.arange(6)[None])
    turned, _ = Rotary(fraction=0.5).build(sizes(head=8)).turn(x, x, at, at)
    assert torch.equal(turned[..., 4:], x[..., 4:])
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert not torch.allclose(turned[:, :, 1:, :4], x[:, :, 1:, :4])


def test_rotary_of_an_odd_head_is_refused():
    with pytest.raises(SettingsError, match="head_dim 5"):
        ModelConfig(vocab_size=9, d_model=15, n_heads=3, decoder=StackConfig(position=Rotary()))


def test_learned_positions_end():
    config = ModelConfig(vocab_size=9, d_model=4, n_heads=1, context_length=8, decoder=StackConfig(position=Learned()))
    model = Transformer(config)
    model(torch.zeros(1, 8, dtype=torch.long))
    with pytest.raises(RegardError, match="9 tokens long"):
        model(torch.zeros(1, 9, dtype=torch.long))
    cache = model.cache(1)
    model(torch.zeros(1, 8, dtype=torch.long), cache=cache)
    with pytest.raises(RegardError, match="9 tokens long"):
        model(torch.zeros(1, 1, dtype=torch.long), cache=cache)
