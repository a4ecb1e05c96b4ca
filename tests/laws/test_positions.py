"""A relative encoding ignores a shift, and only a relative one does."""

import pytest
import torch

from regard.layers import Sizes
from regard.positions import KINDS, Places, Position
from tests.laws.members import label, parts

SIZES = Sizes(d_model=12, n_heads=2, n_kv_heads=2, head_dim=6, d_ff=16, context_length=64)


def scores(position, shift):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(1, 9, 12, generator=random, dtype=torch.float64)
    at = Places(torch.arange(9)[None] + shift)
    x = position.add(x, at)
    q = k = x.unflatten(-1, (2, 6)).transpose(1, 2)
    q, k = position.turn(q, k, at, at)
    result = q @ k.transpose(-1, -2)
    bias = position.bias(q, k, at, at, lambda: None)
    return result if bias is None else result + bias


@pytest.mark.parametrize("part", parts("position"), ids=label)
def test_a_relative_encoding_ignores_a_shift(part):
    settings = Position.resolve(part)
    position = settings.build(SIZES).double()
    with torch.no_grad():
        for parameter in position.parameters():
            parameter.normal_()
    difference = (scores(position, 0) - scores(position, 17)).abs().max()
    assert (difference < 1e-10) == KINDS[part["kind"]].relative
