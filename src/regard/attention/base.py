"""The contract of an attention mechanism: it owns its projections, its scores and its output.

The stack knows only

    y = forward(x, memory, view, position, entry)

with x [b t d] the looking tokens, memory [b s d] what they look at (None: themselves), the `View` of the mask, the
module of the position encoding, and the cache's entry of this layer (None: no cache). That leaves room for compressed
caches, recurrent states, gates, and scores of any kind.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.cache import Entry, Memory
from regard.attention.mask import View
from regard.layers import Linear, Sizes
from regard.positions import PositionModule
from regard.settings import Part

OFFERS = {
    "self": "look at its whole sentence, as an encoder must",
    "causal": "look back only, as a decoder must",
    "cross": "read another stack",
    "cache": "go on from what it has seen",
    "turn": "let a position turn its queries and keys",
    "scores": "take a bias on its scores",
    "weights": "give the share of each token that it sees",
    "patterns": "see a part of the tokens only",
    "documents": "keep packed documents apart",
}


Bias = Literal["all", "qkv", "none"]
"""Which linear maps have a bias: all, all but the output, or none."""


class Attention(Part, family="regard.attention"):
    """Who looks at whom, and how strongly."""

    offers: ClassVar[frozenset[str]] = frozenset()
    """What the mechanism can do, of `OFFERS`."""

    unmoved: ClassVar[tuple[str, ...]] = ()
    """Ends of the names of parameters that no gradient reaches; the file says why."""

    def check(self, sizes: Sizes) -> None:
        """Refuse sizes that do not go with this mechanism: raises `SettingsError`."""

    def build(self, sizes: Sizes) -> AttentionModule:
        raise NotImplementedError

    def doors(self, sizes: Sizes) -> Sizes:
        """The heads that a position meets, where they are not the layer's: how many there are, and how wide."""
        return sizes

    def entry(self, capacity: int | None) -> Entry:
        """An empty entry of the cache, for `capacity` tokens (None: grown as needed)."""
        raise NotImplementedError

    def flops(self, sizes: Sizes, t: int, s: int) -> int:
        """Operations of scores and mixture for t looking and s seen tokens; the projections are counted apart."""
        return 4 * t * s * sizes.n_heads * sizes.head_dim

    def memory(self) -> Memory:
        """An empty entry for the encoder's output."""
        return Memory()


class AttentionModule(nn.Module):
    """Heads, and the four maps that most mechanisms have."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.head_dim = sizes.n_heads, sizes.n_kv_heads, sizes.head_dim
        self.place = sizes.place

    def make_maps(self, settings: Any, sizes: Sizes) -> None:
        """The linear maps: these, in most mechanisms."""
        d, e, some = sizes.d_model, sizes.head_dim, settings.bias != "none"
        self.q = Linear(d, sizes.n_heads * e, some)
        self.k = Linear(d, sizes.n_kv_heads * e, some)
        self.v = Linear(d, sizes.n_kv_heads * e, some)
        self.o = Linear(sizes.n_heads * e, d, settings.bias == "all", residual=True)

    def split(self, x: Float[Tensor, "b t he"]) -> Float[Tensor, "b h t e"]:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def for_each_query(self, x: Float[Tensor, "b g s e"]) -> Float[Tensor, "b h s e"]:
        """Each key-value head as many times as queries share it."""
        share = self.n_heads // self.n_kv_heads
        return x if share == 1 else x.repeat_interleave(share, dim=1)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        memory: Float[Tensor, "b s d"] | None,
        view: View,
        position: PositionModule,
        entry: CacheSlot | None,
    ) -> Float[Tensor, "b t d"]:
        raise NotImplementedError


class CacheSlot:
    """A layer's entry together with where this step writes into it; made by the stack for one forward pass."""

    def __init__(self, entry: Entry, slots: Tensor, reach: int, even: bool) -> None:
        self.entry, self.slots, self.reach, self.even = entry, slots, reach, even
