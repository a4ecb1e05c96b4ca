"""The modules that hold every matrix of a model: `Linear`, `Linears` and `Embedding`.

All weights are used through them, so that quantised weights, adapters and sharding have one door each: `forward`, or
`matrix()` where something must see the numbers themselves. Weights are stored as the field stores them: Linear
[out in], Linears [m out in], Embedding [v d].
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from regard.layers.grouped import grouped
from regard.layers.product import linear


class Linear(nn.Module):
    """y = x Wᵀ + b.

    `residual` says that y is added to the residual stream; initialisation scales such layers by depth. `gain`
    multiplies the first values, and with `orthogonal` those are square orthogonal matrices, one below the other.
    """

    def __init__(self, d_in: int, d_out: int, bias: bool = True, residual: bool = False) -> None:
        super().__init__()
        self.residual, self.gain, self.orthogonal = residual, 1.0, False
        self.weight = nn.Parameter(torch.empty(d_out, d_in))
        self.bias = nn.Parameter(torch.empty(d_out)) if bias else None

    def matrix(self) -> Float[Tensor, "o i"]:
        return self.weight

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        return linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        d_out, d_in = self.weight.shape
        return f"{d_in} → {d_out}, bias={self.bias is not None}"


class Linears(nn.Module):
    """`m` linear maps of one shape, stacked: rows of x that stand sorted by their map, each through its own.

    `used` is the number of maps that a token goes through. `residual` and `gain` are as in `Linear`.
    """

    def __init__(self, m: int, d_in: int, d_out: int, used: int, residual: bool = False) -> None:
        super().__init__()
        self.residual, self.gain, self.used = residual, 1.0, used
        self.weight = nn.Parameter(torch.empty(m, d_out, d_in))

    def matrix(self) -> Float[Tensor, "m o i"]:
        return self.weight

    def forward(self, x: Float[Tensor, "n i"], ends: Int[Tensor, "m"]) -> Float[Tensor, "n o"]:
        """Map number m takes the rows before `ends[m]` that no map before it has taken; the last ends at n."""
        return grouped(x, self.weight, ends)

    def extra_repr(self) -> str:
        m, d_out, d_in = self.weight.shape
        return f"{m} × ({d_in} → {d_out}), {self.used} used"


class Table(nn.Module):
    """A vector for each id, however it is made: what an input begins with, and what a tied head reads."""

    def matrix(self) -> Float[Tensor, "v d"]:
        """All vectors."""
        raise NotImplementedError

    def tied(self, x: Float[Tensor, "*b d"]) -> tuple[Float[Tensor, "*b w"], Float[Tensor, "v w"]]:
        """x and a matrix whose products are those of x and all vectors, where there is a shorter way to them."""
        return x, self.matrix()

    def forward(self, ids: Int[Tensor, "*b"]) -> Float[Tensor, "*b d"]:
        raise NotImplementedError


class Embedding(Table):
    """A row of the table for each id."""

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
