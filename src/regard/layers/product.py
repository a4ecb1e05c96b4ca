"""Matrix products on the library that is fastest for them.

On a CPU torch hands float32 products to MKL. On processors that are not Intel's, oneDNN runs the same product 1.05 to
1.7 times as fast, forward and backward. The switch that torch has for it is global and would make the small products
inside attention six times slower, so it is turned on around the products of a linear map, one by one.

float32 stays float32. The switch *permits* oneDNN to compute in bfloat16, which it does on processors with AMX, so it
is used only where a trial product agrees with float64. Results are equal to the bit from run to run, and differ from
MKL's by the order of summation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

FEW_ROWS = 16
"""Products with fewer rows (a step of generation) are bound by reading the weights and stay with `F.linear`."""

_operators = torch.library.Library("regard", "FRAGMENT")
_operators.define("mm(Tensor a, Tensor b) -> Tensor")


@contextmanager
def _onednn() -> Iterator[None]:
    """Within, the float32 products of this process go to oneDNN."""
    # torch.backends.mkldnn.matmul.fp32_precision is this same pair of calls behind more Python.
    before = torch._C._get_fp32_precision_getter("mkldnn", "matmul")
    torch._C._set_fp32_precision_setter("mkldnn", "matmul", "bf16")
    try:
        yield
    finally:
        torch._C._set_fp32_precision_setter("mkldnn", "matmul", before)


def _onednn_mm(a: Tensor, b: Tensor) -> Tensor:
    with _onednn():
        return torch.mm(a, b)


def _save(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradient(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    a, b = ctx.saved_tensors
    da = torch.ops.regard.mm(g, b.t()) if ctx.needs_input_grad[0] else None
    db = torch.ops.regard.mm(a.t(), g) if ctx.needs_input_grad[1] else None
    return da, db


_operators.impl("mm", _onednn_mm, "CPU")
torch.library.register_fake("regard::mm", lambda a, b: a.new_empty(a.shape[0], b.shape[1]), lib=_operators)
torch.library.register_autograd("regard::mm", _gradient, setup_context=_save, lib=_operators)


def _onednn_is_exact() -> bool:
    """Whether oneDNN is here and its float32 product is one: bfloat16 would err by 1e-3 of the largest value."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch._C, "_set_fp32_precision_setter"):
        return False
    a = torch.arange(96 * 128, dtype=torch.float64).sin().view(96, 128)
    b = torch.arange(128 * 64, dtype=torch.float64).cos().view(128, 64)
    exact = a @ b
    error = (_onednn_mm(a.float(), b.float()).double() - exact).abs().max() / exact.abs().max()
    return bool(error < 1e-5)


ONEDNN = _onednn_is_exact()


def mm(
    a: Float[Tensor, "n k"], b: Float[Tensor, "k m"], out: Float[Tensor, "n m"] | None = None, add: bool = False
) -> Float[Tensor, "n m"]:
    """a · b by the faster library, into `out` or, with `add`, onto it. Without a gradient."""
    with _onednn() if ONEDNN and a.device.type == "cpu" and a.dtype == torch.float32 else nullcontext():
        if out is not None and add:
            return out.addmm_(a, b)
        return torch.mm(a, b, out=out)


class _Product(torch.autograd.Function):
    """x [n i] · weight [o i]ᵀ → [n o], outside of compiled graphs; `regard::mm` does the same and costs 60 µs more."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _onednn_mm(x, weight.t())

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        dx = _onednn_mm(g, weight) if ctx.needs_input_grad[0] else None
        dweight = _onednn_mm(g.t(), x) if ctx.needs_input_grad[1] else None
        return dx, dweight


def linear(
    x: Float[Tensor, "*b i"], weight: Float[Tensor, "o i"], bias: Float[Tensor, "o"] | None = None
) -> Float[Tensor, "*b o"]:
    """x Wᵀ + b by the fastest library for this device, type and size.

    Under autocast, in other types than float32, on other devices and for few rows this is `F.linear`.
    """
    routed = (
        ONEDNN
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() >= FEW_ROWS * x.shape[-1]
        and not torch.is_autocast_enabled("cpu")
    )
    if not routed:
        return F.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1])
    if not torch.is_grad_enabled() and not torch.compiler.is_compiling():
        with _onednn():
            made = torch.mm(rows, weight.t()) if bias is None else torch.addmm(bias, rows, weight.t())
        return made.view(*x.shape[:-1], weight.shape[0])
    y: Tensor = torch.ops.regard.mm(rows, weight.t()) if torch.compiler.is_compiling() else _Product.apply(rows, weight)
    y = y.view(*x.shape[:-1], weight.shape[0])
    return y if bias is None else y + bias
