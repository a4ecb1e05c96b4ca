"""A layer: look around (attention), look at the source (cross-attention), think (feed-forward)."""

from __future__ import annotations

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor, nn

from regard.attention import CacheSlot, View
from regard.layers import Linear, Linears, Sizes
from regard.model.config import StackConfig
from regard.positions import PositionModule
from regard.residual import Stream
from regard.settings import of_layer


class Block(nn.Module):
    def __init__(self, config: StackConfig, sizes: Sizes, cross: bool) -> None:
        super().__init__()

        def part(name: str) -> Sizes:
            return replace(sizes, place=f"{sizes.place}.{name}")

        self.attention = of_layer(config.attention, sizes.layer).build(part("attention"))
        self.cross = config.cross.build(part("cross")) if cross else None
        self.feedforward = of_layer(config.feedforward, sizes.layer).build(part("feedforward"))
        self.residual = config.residual.build(config.norm, sizes, steps=3 if cross else 2)
        for name, module in self.named_modules():
            if isinstance(module, (Linear, Linears)) and name.split(".")[-1] not in ("q", "k"):
                module.gain = config.residual.gain(sizes)

    def forward(
        self,
        stream: Stream,
        view: View,
        position: PositionModule,
        nowhere: PositionModule,
        slot: CacheSlot | None = None,
        source: Float[Tensor, "b s d"] | None = None,
        source_view: View | None = None,
        source_slot: CacheSlot | None = None,
    ) -> Stream:
        steps = [lambda x: self.attention(x, None, view, position, slot)]
        if self.cross is not None:
            cross = self.cross

            def read(x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
                # Rows that share a source are, to cross-attention, more tokens of one row.
                one = x if source is None else x.reshape(len(source), -1, x.shape[-1])
                return cross(one, source, source_view, nowhere, source_slot).reshape(x.shape)

            steps.append(read)
        steps.append(lambda x: self.feedforward(x, view.real()))
        return self.residual(stream, steps)
