"""A stack of layers: input, positions, N blocks, and what stands after the last.

An encoder stack sees all; a decoder stack is causal, may read an encoder, and may keep a cache.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.attention import Cache, CacheSlot, Entry, Mask, Memory, Padding, View
from regard.layers import Table
from regard.model.base import Encoded, StackModule, check_cached
from regard.model.block import Block
from regard.model.config import ModelConfig, StackConfig
from regard.positions import PositionModule
from regard.settings import RegardError, of_layer


class Stack(StackModule):
    config: StackConfig

    def __init__(self, config: ModelConfig, name: str, vocab_size: int, tokens: Table | None = None) -> None:
        super().__init__(config, name, vocab_size, tokens)
        stack, sizes = self.config, config.sizes(name)

        # One module for all layers that name the same encoding and have such heads as it asks for, or one for each
        # layer: as the encoding says.
        parts = [of_layer(stack.position, layer) for layer in range(stack.n_layers)]
        heads = [of_layer(stack.attention, layer).doors(sizes) for layer in range(stack.n_layers)]
        heads = [met if part.needs else sizes for part, met in zip(parts, heads, strict=True)]
        keys = [(part, met, 0 if part.shared else n) for n, (part, met) in enumerate(zip(parts, heads, strict=True))]
        distinct = list(dict.fromkeys(keys))
        self.positions = nn.ModuleList(part.build(met) for part, met, _ in distinct)
        self.position_of_layer = [distinct.index(key) for key in keys]
        self.nowhere = PositionModule()  # what cross-attention meets
        self.limit = sizes.context_length if any(part.bounded for part in parts) else None

        kinds = [of_layer(stack.attention, layer) for layer in range(stack.n_layers)]
        self.one_way = next((kind.kind for kind in kinds if not {"self", "patterns"} <= kind.offers), None)

        cross = self.causal and config.encoder is not None
        self.layers = nn.ModuleList(Block(stack, config.sizes(name, layer), cross) for layer in range(stack.n_layers))
        patterns = [of_layer(stack.pattern, layer) for layer in range(stack.n_layers)]
        self.patterns = list(dict.fromkeys(patterns))
        self.pattern_of_layer = [self.patterns.index(pattern) for pattern in patterns]
        self.end = stack.residual.end(stack.norm, sizes)

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
        mask = mask or Mask()
        t = ids.shape[1]
        reach = t if cache is None else cache.longest + t
        if self.limit is not None and reach > self.limit:
            raise RegardError(
                f"this text is {reach} tokens long, and the model's learned positions end at {self.limit}: "
                "shorten it, or train a model with a longer context_length."
            )
        view = self._view(mask, cache, t, ids.device)
        views = [view.narrowed(pattern) for pattern in self.patterns]
        x = self.input(ids, lambda x: self._add_positions(x, view), segments)
        stream = self.config.residual.begin(x)
        source_view = None
        if encoded is not None:
            s_slots = torch.arange(encoded.x.shape[1], device=ids.device)[None]
            source_view = View(encoded.mask, view.q_slots, s_slots, q_mask=mask)
        for layer, block in enumerate(self.layers):
            slot = source_slot = None
            if cache is not None:
                slot = CacheSlot(cache.entries[layer], view.q_slots, reach, cache.even)
                source_slot = CacheSlot(cache.memories[layer], view.q_slots, reach, cache.even) if encoded else None
            position = self.positions[self.position_of_layer[layer]]
            seen = views[self.pattern_of_layer[layer]]
            stream = block(stream, seen, position, self.nowhere, slot, encoded and encoded.x, source_view, source_slot)
        if cache is not None:
            cache.advance(mask.lengths, t)
        return self.end(stream)

    def encoded(self, x: Tensor, mask: Mask) -> Encoded:
        return Encoded(self(x, mask), mask)

    def entries(self, capacity: int | None) -> list[Entry]:
        kinds = (of_layer(self.config.attention, layer) for layer in range(len(self.layers)))
        return [kind.entry(capacity) for kind in kinds]

    def memories(self) -> list[Memory]:
        return [self.config.cross.memory() for _ in self.layers]

    def _view(self, mask: Mask, cache: Cache | None, t: int, device: torch.device) -> View:
        slots = torch.arange(t, device=device)[None]
        if self.one_way is not None and mask.prefix is not None:
            raise RegardError(f"{self.one_way} attention cannot take a prefix: choose 'dot' attention.")
        if cache is None:
            return View(mask.backwards() if self.causal else mask, slots, slots, square=True)
        check_cached(mask)
        if cache.longest and not mask.made_of(Padding):
            raise RegardError("a prefix is read at once: give it with the first tokens of a cache, and not after them.")
        if cache.even and cache.longest == 0 and mask.lengths is None:
            return View(mask.backwards(), slots, slots, square=True)
        q_slots = slots + (cache.longest if cache.even else cache.lengths[:, None])
        k_slots = torch.arange(cache.longest + t, device=device)[None]
        fresh = None if mask.lengths is None else slots < mask.lengths[:, None]
        # The newest token of even rows sees all there is.
        look = Mask() if cache.even and t == 1 else mask.without(Padding).backwards()
        return View(look, q_slots, k_slots, fresh=fresh)

    def _add_positions(self, x: Float[Tensor, "b t d"], view: View) -> Float[Tensor, "b t d"]:
        for position in self.positions:
            assert isinstance(position, PositionModule)
            x = position.add(x, view.q_at)
        return x
