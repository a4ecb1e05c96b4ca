"""The two modules that hold every matrix of a model: `Linear` and `Embedding`.

All weights are used through them, inside their own `forward`, so that quantised weights, adapters and sharding
have one door each. Weights are stored as the field stores them: Linear [out in], Embedding [v d].
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


class Linear(nn.Module):
    """y = x Wᵀ + b.

    `residual` says that y is added to the residual stream; initialisation scales such layers by depth.
    """

    def __init__(self, d_in: int, d_out: int, bias: bool = True, residual: bool = False) -> None:
        super().__init__()
        self.residual = residual
        self.weight = nn.Parameter(torch.empty(d_out, d_in))
        self.bias = nn.Parameter(torch.empty(d_out)) if bias else None

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        d_out, d_in = self.weight.shape
        return f"{d_in} → {d_out}, bias={self.bias is not None}"


class Embedding(nn.Module):
    """A row of the table for each id; `project` goes the other way, which is what a tied head does."""

    def __init__(self, vocab_size: int, d: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, d))

    def forward(self, ids: Int[Tensor, "*b"]) -> Float[Tensor, "*b d"]:
        return F.embedding(ids, self.weight)

    def project(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b v"]:
        return F.linear(x, self.weight)

    def extra_repr(self) -> str:
        return "{} × {}".format(*self.weight.shape)


def fused(x: Float[Tensor, "*b i"], linears: tuple[Linear, ...]) -> tuple[Tensor, ...]:
    """Several linear maps of the same x as one product: the same numbers as calling each, in less time."""
    weight = torch.cat([linear.weight for linear in linears])
    bias = None
    if linears[0].bias is not None:
        bias = torch.cat([linear.bias for linear in linears])  # type: ignore[misc]
    return F.linear(x, weight, bias).split([linear.weight.shape[0] for linear in linears], dim=-1)
