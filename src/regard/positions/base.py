"""The contract of a position encoding: a few doors, each the identity unless the encoding uses it.

The model knocks at every door and never asks who is inside:

    add(x, at)                       once, on the input                    learned, sinusoidal
    turn(q, k, q_at, k_at)           in each layer, on queries and keys    rotary, xPos
    bias(q, k, q_at, k_at, seen)     in each layer, on the scores          ALiBi, T5, Shaw, Transformer-XL, CoPE, …
    values(weights, q_at, k_at)      in each layer, beside the mixture     Shaw

q and k arrive unscaled, as [b h t e] and [b g s e]; `bias` gets the keys of the heads that share them repeated, [b h s
e]. A bias broadcasts to [b h t s] and has b = 1 where rows stand alike and it reads no text; it is added to the scaled
scores, or where it is made of q and k (`inside_scale`) to the products before they are scaled. `seen()` [b 1 t s] says
who may look (None: everybody), so that padding and other documents cannot leak through an encoding that reads the
text. What depends on positions alone is made once a forward pass, for all layers: `Places` keeps it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from regard.layers import Sizes
from regard.settings import Part


class Places:
    """Where tokens stand: their positions, and what encodings made of them, so that layers share the work."""

    def __init__(self, index: Int[Tensor, "b t"]) -> None:
        self.index = index
        self._made: dict[str, tuple[Tensor, ...]] = {}
        self._seen: Places | None = None
        self._between: dict[str, Tensor] = {}

    def once(self, key: str, make: Callable[[Int[Tensor, "b t"]], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """make(index), computed the first time that `key` asks for it."""
        if key not in self._made:
            self._made[key] = make(self.index)
        return self._made[key]

    def between(self, seen: Places, key: str, make: Callable[[Int[Tensor, "#b t s"]], Tensor]) -> Tensor:
        """make(t − s), t these positions and s those that they see, computed the first time that `key` asks for it."""
        if self._seen is not seen:
            self._seen, self._between = seen, {}
        if key not in self._between:
            self._between[key] = make(self.index[:, :, None] - seen.index[:, None, :])
        return self._between[key]


class Position(Part, family="regard.positions"):
    """How a stack tells where a token stands."""

    needs: ClassVar[frozenset[str]] = frozenset()
    """What the layers' attention must offer: turn (queries and keys to turn), scores (a bias may be added), weights
    (a share for each token seen), causal (only what came before)."""

    shared: ClassVar[bool] = True
    """One module for all layers that name the same settings (True), or one for each layer."""

    bounded: ClassVar[bool] = False
    """Whether no position beyond context_length is known."""

    relative: ClassVar[bool] = False
    """Whether shifting all positions by the same number changes nothing (a law checks it)."""

    unmoved: ClassVar[tuple[str, ...]] = ()
    """Ends of the names of parameters that no gradient reaches; the file says why."""

    def check(self, sizes: Sizes) -> None:
        """Refuse sizes that do not go with this encoding: raises `SettingsError`."""

    def build(self, sizes: Sizes) -> PositionModule:
        raise NotImplementedError


class PositionModule(nn.Module):
    """All doors, closed: no position at all. Encodings override the ones they use."""

    inside_scale: ClassVar[bool] = False
    """Whether the bias is made of q and k, and so is scaled with their products."""

    reads_weights: bool = False
    """Whether `values` is in use: the mechanism must then take its plain formula."""

    def add(self, x: Float[Tensor, "b t d"], at: Places) -> Float[Tensor, "b t d"]:
        return x

    def turn(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b g s e"],
        q_at: Places,
        k_at: Places,
    ) -> tuple[Float[Tensor, "b h t e"], Float[Tensor, "b g s e"]]:
        return q, k

    def bias(
        self,
        q: Float[Tensor, "b h t e"],
        k: Float[Tensor, "b h s e"],
        q_at: Places,
        k_at: Places,
        seen: Callable[[], Bool[Tensor, "#b 1 #t s"] | None],
    ) -> Float[Tensor, "#b #h t s"] | None:
        return None

    def values(self, weights: Float[Tensor, "b h t s"], q_at: Places, k_at: Places) -> Float[Tensor, "b h t e"] | None:
        return None
