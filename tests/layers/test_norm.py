"""Norms by hand, and in float64."""

import math

import torch

from regard.layers import LayerNorm, RMSNorm


def test_by_hand():
    """x = (1, 3): mean 2, variance 1, mean square 5."""
    x = torch.tensor([1.0, 3.0], dtype=torch.float64)
    torch.testing.assert_close(LayerNorm(eps=0.0).build(2).double()(x), torch.tensor([-1.0, 1.0], dtype=torch.float64))
    expected = x / math.sqrt(5)
    torch.testing.assert_close(RMSNorm(eps=0.0).build(2).double()(x), expected)
    torch.testing.assert_close(RMSNorm(eps=4.0).build(2).double()(x), x / 3)


def test_unit_offset_starts_at_the_identity():
    one, other = RMSNorm().build(4), RMSNorm(unit_offset=True).build(4)
    x = torch.randn(3, 4)
    assert torch.equal(other.weight, torch.zeros(4))
    torch.testing.assert_close(one(x), other(x))


def test_half_precision_keeps_statistics_in_single():
    x = torch.full((1, 1024), 300.0, dtype=torch.bfloat16)
    for norm in (LayerNorm(), RMSNorm()):
        assert torch.isfinite(norm.build(1024).bfloat16()(x)).all()
    big = torch.full((1, 64), 1e30, dtype=torch.bfloat16)
    assert torch.isfinite(RMSNorm().build(64).bfloat16()(big * 1e-12)).all()
