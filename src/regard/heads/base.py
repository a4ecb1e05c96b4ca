"""The contract of a head: what a stack's output is turned into. The loss is computed there, so that all logits need
never exist.
"""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from regard.layers import Sizes, Table
from regard.settings import Part


class Head(Part, family="regard.heads"):
    """What the last layer's output becomes."""

    whole: ClassVar[bool] = False
    """Whether it says something of a text as a whole, and so must stand on an encoder."""
    unmoved: ClassVar[tuple[str, ...]] = ()
    """Parameters, by the end of their names, that no target can move."""

    def build(self, vocab_size: int, sizes: Sizes, tokens: Table) -> nn.Module:
        """A module with `forward(x, tokens, targets=None, mask=None, **objective)`: outputs, or with targets a `Loss`.

        x [b t d]: the last layer's output. tokens: the table of a tied head. mask: who of x is real.
        """
        raise NotImplementedError
