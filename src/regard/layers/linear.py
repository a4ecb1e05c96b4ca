"""The two modules that hold every matrix of a model: `Linear` and `Embedding`.

All weights are used through them, so that quantised weights, adapters and sharding have one door each: `forward`, or
`matrix()` where something must see the numbers themselves. Weights are stored as the field stores them: Linear
[out in], Embedding [v d].
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from regard.layers.product import linear


class Linear(nn.Module):
    """y = x Wᵀ + b.

    `residual` says that y is added to the residual stream; initialisation scales such layers by depth. `gain`
    multiplies the first values.
    """

    def __init__(self, d_in: int, d_out: int, bias: bool = True, residual: bool = False) -> None:
        super().__init__()
        self.residual, self.gain = residual, 1.0
        self.weight = nn.Parameter(torch.empty(d_out, d_in))
        self.bias = nn.Parameter(torch.empty(d_out)) if bias else None

    def matrix(self) -> Float[Tensor, "o i"]:
        return self.weight

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        return linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        d_out, d_in = self.weight.shape
        return f"{d_in} → {d_out}, bias={self.bias is not None}"


class Embedding(nn.Module):
    """A row of the table for each id. A tied head reads the same table through `matrix()`."""

    def __init__(self, vocab_size: int, d: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, d))

    def matrix(self) -> Float[Tensor, "v d"]:
        return self.weight

    def forward(self, ids: Int[Tensor, "*b"]) -> Float[Tensor, "*b d"]:
        return F.embedding(ids, self.weight)

    def extra_repr(self) -> str:
        return "{} × {}".format(*self.weight.shape)


def fused(x: Float[Tensor, "*b i"], linears: tuple[Linear, ...]) -> tuple[Tensor, ...]:
    """Several linear maps of the same x as one product: the same numbers as calling each, in less time."""
    weight = torch.cat([map_.matrix() for map_ in linears])
    bias = None
    if linears[0].bias is not None:
        bias = torch.cat([map_.bias for map_ in linears])  # type: ignore[misc]
    return linear(x, weight, bias).split([map_.weight.shape[0] for map_ in linears], dim=-1)
