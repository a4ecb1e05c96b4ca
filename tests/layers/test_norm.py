"""Norms by hand, and in float64."""

import math

import torch

from regard.layers import DyT, LayerNorm, RMSNorm, ScaleNorm


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
    for norm in (LayerNorm(), RMSNorm(), ScaleNorm(), DyT()):
        assert torch.isfinite(norm.build(1024).bfloat16()(x)).all()
    big = torch.full((1, 64), 1e30, dtype=torch.bfloat16)
    assert torch.isfinite(RMSNorm().build(64).bfloat16()(big * 1e-12)).all()


def test_scale_norm_puts_all_tokens_at_one_distance():
    """x = (3, 4) of length 5, and g = √2."""
    x = torch.tensor([3.0, 4.0], dtype=torch.float64)
    expected = math.sqrt(2) * torch.tensor([0.6, 0.8], dtype=torch.float64)
    torch.testing.assert_close(ScaleNorm().build(2).double()(x), expected)
    norm = ScaleNorm(eps=50.0).build(2).double()
    torch.testing.assert_close(norm(x), x / 50 * math.sqrt(2))
    y = norm(torch.zeros(2, dtype=torch.float64, requires_grad=True))
    y.sum().backward()
    assert torch.equal(y, torch.zeros_like(y))
    assert torch.isfinite(norm.scale.grad).all()
    norm = ScaleNorm().build(7)
    norm.scale.data.fill_(3.0)
    torch.testing.assert_close(norm(torch.randn(5, 7)).norm(dim=-1), torch.full((5,), 3.0))


def test_dyt_by_hand():
    x = torch.tensor([2.0, -4.0], dtype=torch.float64)
    norm = DyT().build(2).double()
    torch.testing.assert_close(norm(x), torch.tensor([math.tanh(1), -math.tanh(2)], dtype=torch.float64))
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([3.0, 1.0]))
        norm.bias.copy_(torch.tensor([0.0, 5.0]))
    torch.testing.assert_close(norm(x), torch.tensor([3 * math.tanh(1), 5 - math.tanh(2)], dtype=torch.float64))
    small = torch.full((2,), 1e-6, dtype=torch.float64)
    torch.testing.assert_close(DyT(alpha=0.8).build(2).double()(small), 0.8 * small)
