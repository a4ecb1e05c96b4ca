"""Taps: named spots of a forward pass where a value can be looked at, or replaced, while somebody listens.

    x = tap(self.place, "weights", x)

is the identity and leaves no trace in a compiled graph. Under `with taps(hear):` each tap calls
`hear("decoder.3.attention.weights", x)`; what that returns takes the place of x, None leaves it.
While somebody listens, mechanisms take their plain formula, since a fused kernel has nothing to show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

Hear = Callable[[str, Tensor], Tensor | None]

_hearers: list[Hear] = []
_formulas: list[bool] = []


def tap(place: str, name: str, x: Tensor) -> Tensor:
    """x itself, or what a listener puts in its place."""
    if torch.compiler.is_compiling() or not _hearers:
        return x
    for hear in _hearers:
        heard = hear(f"{place}.{name}" if place else name, x)
        x = x if heard is None else heard
    return x


def listening() -> bool:
    """Whether mechanisms should take the plain formula: somebody listens, or a test asked for it."""
    return not torch.compiler.is_compiling() and bool(_hearers or _formulas)


@contextmanager
def taps(hear: Hear) -> Iterator[None]:
    """Listen to every tap inside the block. Blocks may be nested; the outer one hears first."""
    _hearers.append(hear)
    try:
        yield
    finally:
        _hearers.remove(hear)


@contextmanager
def formulas() -> Iterator[None]:
    """Take every mechanism's plain formula instead of its kernel inside the block."""
    _formulas.append(True)
    try:
        yield
    finally:
        _formulas.pop()
