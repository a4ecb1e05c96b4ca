"""The contract of an input: ids become vectors, positions are added, and dropout is applied.

    x_t = dropout(norm(scale · table(id_t) + S[segment_t] + position_t))

Inputs differ in their table alone: a module from ids to vectors, which a tied head reads too. What reads features and
not ids has a `front` instead, which makes vectors of them, and may make fewer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from regard.layers import Embedding, Norm, Sizes, Table, dropout, tap
from regard.settings import Part


class Input(Part, family="regard.inputs"):
    """What turns a stack's ids into vectors.

    reads: whether ids [b s] or features [b s f] come in. Features are for the encoder of an encoder–decoder.
    """

    reads: ClassVar[Literal["ids", "features"]] = "ids"

    scale: float | Literal["sqrt_d_model"] = 1.0
    segments: int = Field(0, ge=0, le=2**16)
    norm: Norm | None = None

    def table(self, vocab_size: int, sizes: Sizes) -> Table:
        """The module that gives each id its vector: forward(ids [b t]) → [b t d]."""
        raise NotImplementedError

    def front(self, sizes: Sizes) -> nn.Module | None:
        """What makes vectors of features: forward(source [b s f], lengths) → (x [b t d], lengths)."""
        return None

    def flops(self, vocab_size: int, sizes: Sizes) -> int:
        """Operations for the vector of one token, beside those of linear maps."""
        return 0

    def build(self, vocab_size: int, sizes: Sizes, tokens: Table | None = None) -> InputModule:
        """`tokens`: another stack's table, to be shared."""
        return InputModule(self, sizes, tokens if tokens is not None else self.table(vocab_size, sizes))


class InputModule(nn.Module):
    def __init__(self, settings: Input, sizes: Sizes, tokens: Table) -> None:
        super().__init__()
        self.scale = sizes.d_model**0.5 if settings.scale == "sqrt_d_model" else float(settings.scale)
        self.dropout, self.place = sizes.dropout, sizes.place
        self.front = settings.front(sizes)
        self.tokens = tokens
        self.segments = Embedding(settings.segments, sizes.d_model) if settings.segments else None
        self.norm = settings.norm.build(sizes.d_model) if settings.norm is not None else None

    def read(self, source: Tensor, lengths: Int[Tensor, "b"] | None) -> tuple[Tensor, Int[Tensor, "b"] | None]:
        """What an encoder takes for its row, and how much of it is real: the row, or what a front makes of it."""
        return (source, lengths) if self.front is None else self.front(source, lengths)

    def forward(
        self,
        ids: Tensor,
        add_positions: Callable[[Tensor], Tensor],
        segments: Int[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b t d"]:
        """ids [b t], or [b t d] what `read` gave."""
        x = self.tokens(ids)
        if self.scale != 1.0:
            x = x * self.scale
        if self.segments is not None:
            x = x + self.segments(torch.zeros_like(ids) if segments is None else segments)
        x = add_positions(x)
        if self.norm is not None:
            x = self.norm(x)
        return tap(self.place, "input", dropout(x, self.dropout, self.training))
