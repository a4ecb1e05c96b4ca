"""A routed product equals float64 in value and gradient, and is the same to the bit each time."""

import pytest
import torch

from regard.layers.product import linear


@pytest.mark.parametrize("rows", [1, 15, 16, 70])
@pytest.mark.parametrize("biased", [False, True])
def test_linear_against_float64(rows, biased):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(2, rows, 33, generator=random).requires_grad_()
    weight = torch.randn(20, 33, generator=random).requires_grad_()
    bias = torch.randn(20, generator=random).requires_grad_() if biased else None
    leaves = [p for p in (x, weight, bias) if p is not None]
    y = linear(x, weight, bias)
    assert torch.equal(y, linear(x, weight, bias))
    exact = x.double() @ weight.double().T + (0 if bias is None else bias.double())
    torch.testing.assert_close(y.double(), exact, rtol=1e-5, atol=1e-5)
    upstream = torch.randn(y.shape, generator=random)
    got = torch.autograd.grad(y, leaves, upstream)
    wanted = torch.autograd.grad(exact, leaves, upstream.double())
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)


def test_precision_settings_are_left_as_they_were():
    before = torch.backends.mkldnn.matmul.fp32_precision
    linear(torch.randn(64, 8), torch.randn(8, 8))
    assert torch.backends.mkldnn.matmul.fp32_precision == before
