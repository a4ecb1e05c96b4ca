"""The contract of a stack: its settings, what a model calls, and what an encoder hands to a decoder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from regard.attention import Cache, Entry, Mask, Memory, Padding, Prefix
from regard.layers import Table
from regard.settings import Part, RegardError

if TYPE_CHECKING:
    from regard.model.config import ModelConfig

# Bounds keep every product of sizes countable, and a hostile file from building layers without end.
Width = Annotated[int, Field(ge=1, le=2**24)]
Number = Annotated[int, Field(ge=1, le=2**12)]


class AnyStack(Part, family="regard.model.config"):
    """A stack of layers of either kind; without a `kind` it is a Transformer's."""

    n_layers: Number = 12
    n_heads: Number | None = None
    dropout: float | None = Field(None, ge=0, lt=1)

    @classmethod
    def resolve(cls, value: Any) -> Part:
        if isinstance(value, dict) and "kind" not in value:
            value = {"kind": "transformer", **value}
        return super().resolve(value)


class Encoded(NamedTuple):
    """An encoder's output, and who of it may be seen."""

    x: Float[Tensor, "b s d"]
    mask: Mask
    last: Float[Tensor, "b d"] | None = None
    """What a recurrent encoder ends with."""

    def gather(self, rows: Int[Tensor, "n"]) -> Encoded:
        """These rows, in this order."""
        mask, padding, last = self.mask, self.mask.padding, None if self.last is None else self.last[rows]
        if padding is not None:
            mask = Padding(padding.lengths_[rows], None if padding.start is None else padding.start[rows])
        return Encoded(self.x[rows], mask, last)


class StackModule(nn.Module):
    """What a model knows of its stacks: `forward`, and of an encoder `encode`, of a decoder its cache's entries."""

    layers: nn.ModuleList

    def __init__(self, config: ModelConfig, name: str, vocab_size: int, tokens: Table | None = None) -> None:
        super().__init__()
        self.config: Any = config.stacks[name]
        self.causal = name == "decoder"
        self.input = config.reads(name).build(vocab_size, replace(config.sizes(name), place=name), tokens)
        self.limit: int | None = None
        """The longest row that it can read; None: any."""

    def forward(
        self,
        ids: Tensor,
        mask: Mask | None = None,
        cache: Cache | None = None,
        encoded: Encoded | None = None,
        segments: Int[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b t d"]:
        """The last layer's output for ids [b t], or for what an input has read [b t d].

        With a cache, ids are the next tokens, padded on the right as mask says.
        """
        raise NotImplementedError

    def encode(self, source: Tensor, mask: Mask | None = None) -> Encoded:
        """What a decoder reads of this stack: its output, and who of it may be seen."""
        mask = mask or Mask()
        read, lengths = self.input.read(source, mask.lengths)
        if read is not source:  # sound is shortened on the way
            mask = Mask() if lengths is None else Padding(lengths)
        return self.encoded(read, mask)

    def encoded(self, x: Tensor, mask: Mask) -> Encoded:
        """`encode` of what the input has read."""
        raise NotImplementedError

    def entries(self, capacity: int | None) -> list[Entry]:
        """What each layer keeps of the tokens seen, still empty, with room for `capacity` of them (None: it grows)."""
        raise NotImplementedError

    def memories(self) -> list[Memory]:
        """What layers keep of an encoder's output, still empty."""
        raise NotImplementedError


def check_cached(mask: Mask) -> None:
    """Refuse a mask that does not go with a cache."""
    if not mask.made_of(Padding, Prefix) or (mask.padding is not None and mask.padding.start is not None):
        raise RegardError("a cache takes one document a row, padded on the right: pad there, or leave the cache out.")
