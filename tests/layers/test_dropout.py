"""Dropout: how many numbers are dropped, what the others become, and that its gradient is the same mask."""

import pytest
import torch

from regard.layers import dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_part_is_dropped_and_the_rest_made_larger(dtype, p):
    torch.manual_seed(0)
    x = torch.full((301, 333), 3.0, dtype=dtype, requires_grad=True)
    y = dropout(x, p, training=True)
    y.sum().backward()
    n = x.numel()
    assert abs((y == 0).sum().item() - n * p) < 5 * (n * p * (1 - p)) ** 0.5
    torch.testing.assert_close(y[y != 0], (3 / (1 - p)) * torch.ones_like(y[y != 0]), rtol=8e-3, atol=0)
    torch.testing.assert_close(x.grad * 3, y, rtol=8e-3, atol=0)


def test_rows_and_columns_are_dropped_apart():
    torch.manual_seed(1)
    dropped = (dropout(torch.ones(500, 400), 0.3, training=True) == 0).double()
    for axis, other in ((0, 500), (1, 400)):
        assert ((dropped.mean(axis) - 0.3).abs() < 5 * (0.3 * 0.7 / other) ** 0.5).all()
    neighbours = (dropped[:, 1:] * dropped[:, :-1]).mean().item()
    assert abs(neighbours - 0.09) < 5e-3


def test_nothing_is_dropped_out_of_training():
    x = torch.randn(7)
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0, training=True) is x


def test_the_generator_of_torch_decides():
    x = torch.ones(5, 7)
    torch.manual_seed(3)
    first, second = dropout(x, 0.5, training=True), dropout(x, 0.5, training=True)
    torch.manual_seed(3)
    assert dropout(x, 0.5, training=True).equal(first)
    assert not first.equal(second)


def test_a_part_that_is_almost_all():
    assert torch.isfinite(dropout(torch.ones(100), 1 - 1e-9, training=True)).all()
