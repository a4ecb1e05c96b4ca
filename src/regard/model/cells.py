"""Recurrent cells: a state of fixed size, which each token changes, is all that is known of the tokens before it.

    GRU     r, z = σ(W x + U h + b)        h̃ = tanh(W x + b + r ⊙ (U h + c))        h' = (1 − z) ⊙ h̃ + z ⊙ h
    LSTM    i, f, o = σ(W x + U h + b)     g = tanh(W x + U h + b)      c' = f ⊙ c + i ⊙ g      h' = o ⊙ tanh(c')

with W, U and b of its own for each gate.

Source   Cho et al. 2014, arXiv:1406.1078, §2.3, eq. 5–8 (GRU). Hochreiter & Schmidhuber 1997,
         doi:10.1162/neco.1997.9.8.1735, with the forget gate of Gers, Schmidhuber & Cummins 2000,
         doi:10.1162/089976600300015015 (LSTM). U starts orthogonal: Saxe, McClelland & Ganguli 2013, arXiv:1312.6120;
         the forget gate's bias at 1: Jozefowicz, Zaremba & Sutskever 2015, ICML, "An Empirical Exploration of
         Recurrent Network Architectures".
Cost     3 (GRU) or 4 (LSTM) times n (d + n + 1) parameters for a state of n, the GRU n more; twice that in operations.
Differs  Cho et al. reset the state before its matrix, U (r ⊙ h); here it is done after, as in cuDNN and torch, so that
         one product serves all gates. One bias a gate where torch keeps two that are only ever added.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from regard.attention.recurrent import in_full
from regard.layers import Linear, listening
from regard.settings import Part

States = tuple[Float[Tensor, "b n"], ...]
"""What a cell remembers: h, and of an LSTM c."""


class Cell(Part, family="regard.model.cells"):
    """What a token does to the state."""

    gates: ClassVar[int]
    states: ClassVar[int]
    """How many vectors the state has; the first is what leaves the cell."""

    def build(self, d_in: int, width: int) -> CellModule:
        raise NotImplementedError


class CellModule(nn.Module):
    """A cell for whole rows: `forward`; and for one token: `drive`, then `step`."""

    def __init__(self, settings: Cell, d_in: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.input = Linear(d_in, settings.gates * width, bias=False)
        self.recurrent = Linear(width, settings.gates * width, bias=False)
        self.recurrent.orthogonal = True
        self.bias = nn.Parameter(torch.empty(settings.gates * width))

    def drive(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b gates"]:
        """W x + b of all gates, which needs no state."""
        return self.input(x) + self.bias

    def step(self, drive: Float[Tensor, "b gates"], states: States) -> States:
        """The lesson: one token, as written above."""
        raise NotImplementedError

    def kernel(self, x: Float[Tensor, "b t i"], states: States) -> tuple[Float[Tensor, "b t n"], States]:
        """The same numbers from torch's own loop."""
        raise NotImplementedError

    def forward(
        self,
        x: Float[Tensor, "b t i"],
        states: States,
        begins: Bool[Tensor, "b t"] | None = None,
        real: Bool[Tensor, "b t"] | None = None,
    ) -> tuple[Float[Tensor, "b t n"], States]:
        """h after each token, and the states after the last: `begins` marks tokens that meet an empty state, and
        those that are not `real` leave the state alone."""
        with in_full(x):
            x = x.to(self.bias.dtype)
            if begins is None and real is None and not listening():
                return self.kernel(x, states)
            drive, out = self.drive(x), []
            for t in range(x.shape[1]):
                before = states
                if begins is not None:
                    before = tuple(state.masked_fill(begins[:, t, None], 0.0) for state in before)
                states = self.step(drive[:, t], before)
                if real is not None:
                    states = kept(real[:, t, None], states, before)
                out.append(states[0])
            return torch.stack(out, 1), states


class GRU(Cell, kind="gru"):
    gates: ClassVar[int] = 3
    states: ClassVar[int] = 1

    def build(self, d_in: int, width: int) -> GRUModule:
        return GRUModule(self, d_in, width)


class GRUModule(CellModule):
    """Gates in the order r, z, h̃."""

    def __init__(self, settings: GRU, d_in: int, width: int) -> None:
        super().__init__(settings, d_in, width)
        self.reset_bias = nn.Parameter(torch.empty(width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.bias)
        nn.init.zeros_(self.reset_bias)

    def step(self, drive: Float[Tensor, "b gates"], states: States) -> States:
        (h,) = states
        n, recalled = self.width, self.recurrent(h)
        reset, update = torch.sigmoid(drive[:, : 2 * n] + recalled[:, : 2 * n]).chunk(2, -1)
        new = torch.tanh(drive[:, 2 * n :] + reset * (recalled[:, 2 * n :] + self.reset_bias))
        return (new + update * (h - new),)

    def kernel(self, x: Float[Tensor, "b t i"], states: States) -> tuple[Float[Tensor, "b t n"], States]:
        inner = torch.cat([torch.zeros_like(self.bias)[self.width :], self.reset_bias])
        weights = [self.input.matrix(), self.recurrent.matrix(), self.bias, inner]
        out, h = torch.gru(x, states[0][None], weights, True, 1, 0.0, torch.is_grad_enabled(), False, True)
        return out, (h[0],)


class LSTM(Cell, kind="lstm"):
    gates: ClassVar[int] = 4
    states: ClassVar[int] = 2

    def build(self, d_in: int, width: int) -> LSTMModule:
        return LSTMModule(self, d_in, width)


class LSTMModule(CellModule):
    """Gates in the order i, f, g, o."""

    def __init__(self, settings: LSTM, d_in: int, width: int) -> None:
        super().__init__(settings, d_in, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.bias)
        with torch.no_grad():
            self.bias[self.width : 2 * self.width] = 1.0

    def step(self, drive: Float[Tensor, "b gates"], states: States) -> States:
        h, c = states
        write, forget, new, leave = (drive + self.recurrent(h)).chunk(4, -1)
        c = torch.sigmoid(forget) * c + torch.sigmoid(write) * torch.tanh(new)
        return torch.sigmoid(leave) * torch.tanh(c), c

    def kernel(self, x: Float[Tensor, "b t i"], states: States) -> tuple[Float[Tensor, "b t n"], States]:
        weights = [self.input.matrix(), self.recurrent.matrix(), self.bias, torch.zeros_like(self.bias)]
        before = [state[None] for state in states]
        out, h, c = torch.lstm(x, before, weights, True, 1, 0.0, torch.is_grad_enabled(), False, True)
        return out, (h[0], c[0])


def kept(real: Bool[Tensor, "b 1"], new: tuple[Tensor, ...], old: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The new states of rows whose token is real, and the old ones of others."""
    return tuple(torch.where(real, one, other) for one, other in zip(new, old, strict=True))
