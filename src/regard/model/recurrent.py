"""A stack of recurrent layers, where a Transformer's may stand: the translators of 2014, with and without attention.

    encoder  h→_s = cell(x_s, h→_{s−1})    h←_s = cell(x_s, h←_{s+1})    m_s = [h→_s; h←_s]
             upper layers of a pyramid read [m_{2s}; m_{2s+1}]
    decoder  s_0 = tanh(W_0 m),  m = [h→ of the last word; h← of the first], or another encoder's mean
    before   c_t = attention(s_{t−1}, m)    s_t = cell([x_t; c_t], s_{t−1})
    after    s_t = cell(x_t, s_{t−1})       c_t = attention(s_t, m)
    fed      as after, with cell([x_t; y_{t−1}], s_{t−1})
    all      y_t = tanh(W_y [s_t; c_t]), which the head reads; without attention y_t = s_t

Source   Sutskever, Vinyals & Le 2014, arXiv:1409.3215, and Cho et al. 2014, arXiv:1406.1078 (without attention);
         Bahdanau, Cho & Bengio 2014, arXiv:1409.0473, §3 and A.2 (before); Luong, Pham & Manning 2015,
         arXiv:1508.04025, §3, eq. 5, and §3.3 (after, fed); Chan et al. 2015, arXiv:1508.01211, §3.1 (the pyramid).
Cost     the cells' and the attention's; W_0 has d² parameters for each vector of the decoder's states, W_y has 2 d².
         Without attention, or after: whole rows in one call a layer. Before loops over the lowest layer, fed over all.
Differs  Bahdanau's maxout over s_{t−1}, x_t and c_t is y_t here, and s_0 comes from both directions, not from h← alone.
         Each direction has half of the width. Attention maps what it mixes (W_v, W_o). A pyramid's odd last vector is
         paired with zeros. Chan et al. feed c_t, and not y_t. The lowest layer asks before the step, the top one after.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attention import (
    Additive,
    Attention,
    Cache,
    CacheSlot,
    Causal,
    Documents,
    Entry,
    Mask,
    Memory,
    Padding,
    State,
    View,
)
from regard.layers import Linear, Sizes, Table, listening, tap, taps
from regard.model.base import AnyStack, Encoded, Number, StackModule, check_cached
from regard.model.cells import GRU, Cell, States, kept
from regard.positions import PositionModule
from regard.settings import RegardError

if TYPE_CHECKING:
    from regard.model.config import ModelConfig

Look = Callable[[Float[Tensor, "b t d"]], Float[Tensor, "b t d"]]
"""What states see of the source when they ask."""


class RecurrentConfig(AnyStack, kind="recurrent"):
    """A stack of recurrent layers, each as wide as the model."""

    n_layers: Number = 1
    n_heads: Number | None = 1
    """Of the attention."""
    cell: Cell = GRU()
    bidirectional: bool = False
    """Whether an encoder reads in both directions, with half of the width for each."""
    pyramid: int = Field(0, ge=0)
    """How many of an encoder's upper layers read pairs of the vectors below, and so halve the row."""
    cross: Attention | None = Additive()
    """How a decoder looks at the encoder; none: all it gets is what it starts from."""
    order: Literal["before", "after", "fed"] = "before"
    """Whether it looks before a step, which uses what it saw, or after it; fed: what leaves enters the next step."""


class Rows(NamedTuple):
    """Where the tokens of each row are: the first `lengths` (None: all), cut into documents (None: one)."""

    lengths: Int[Tensor, "b"] | None
    documents: Int[Tensor, "b t"] | None

    def real(self, x: Float[Tensor, "b t d"]) -> Bool[Tensor, "b t"] | None:
        """Which slots hold tokens; None: all."""
        return None if self.lengths is None else torch.arange(x.shape[1], device=x.device) < self.lengths[:, None]

    def reversed(self, x: Tensor) -> Tensor:
        """The tokens [b t …] of each row from its last to its first; its padding stays behind them."""
        if self.lengths is None:
            return x.flip(1)
        slots = torch.arange(x.shape[1], device=x.device)
        last = self.lengths[:, None] - 1
        return picked(x, torch.where(slots <= last, last - slots, slots))

    def begins(self, backwards: bool = False) -> Bool[Tensor, "b t"] | None:
        """Which tokens are the first of a document; None: only each row's."""
        if self.documents is None:
            return None
        documents = self.reversed(self.documents) if backwards else self.documents
        return F.pad(documents[:, 1:] != documents[:, :-1], (1, 0))

    def paired(self, x: Float[Tensor, "b t d"]) -> tuple[Float[Tensor, "b s d2"], Rows]:
        """Two neighbours as one vector, and half as many of them."""
        real = self.real(x)
        if real is not None:
            x = x.masked_fill(~real[:, :, None], 0.0)
        x = F.pad(x, (0, 0, 0, x.shape[1] % 2)).unflatten(1, (-1, 2)).flatten(2)
        return x, Rows(None if self.lengths is None else (self.lengths + 1) // 2, None)


class Layer(nn.Module):
    """A cell that reads forwards, and in a bidirectional encoder one that reads backwards."""

    def __init__(self, config: RecurrentConfig, sizes: Sizes, pair: bool) -> None:
        super().__init__()
        self.place, self.n_states, self.pair = sizes.place, config.cell.states, pair
        self.width = sizes.d_model // (2 if config.bidirectional else 1)
        d_in = (2 if pair else 1) * sizes.d_model
        self.cell = config.cell.build(d_in, self.width)
        self.backwards = config.cell.build(d_in, self.width) if config.bidirectional else None

    def empty(self, x: Tensor) -> States:
        """The states of rows that have seen nothing."""
        return (torch.zeros(x.shape[0], self.width, dtype=self.cell.bias.dtype, device=x.device),) * self.n_states

    def forward(self, x: Float[Tensor, "b t i"], rows: Rows) -> Float[Tensor, "b t d"]:
        h, _ = self.cell(x, self.empty(x), rows.begins())
        if self.backwards is not None:
            back, _ = self.backwards(rows.reversed(x), self.empty(x), rows.begins(backwards=True))
            h = torch.cat([h, rows.reversed(back)], -1)
        return tap(self.place, "hidden", h)


class Cross(nn.Module):
    """How a decoder's states look at the source, and what leaves a step."""

    def __init__(self, config: RecurrentConfig, attention: Attention, sizes: Sizes) -> None:
        super().__init__()
        d = sizes.d_model
        self.attention = attention.build(sizes)
        self.readout = Linear(2 * d, d)
        self.feed = Linear(d, config.cell.gates * d, bias=False) if config.order != "after" else None
        self.nowhere = PositionModule()

    def look(self, encoded: Encoded, memory: Memory) -> Look:
        """The attention to a source, whose keys and values are made once for all steps."""
        source, slots = encoded.x, torch.arange(encoded.x.shape[1], device=encoded.x.device)[None]
        view, kept_ = View(encoded.mask, slots[:, :1], slots), CacheSlot(memory, slots[:, :1], 1, True)

        def look(x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
            one = x.reshape(len(source), -1, x.shape[-1])  # rows that share a source are more tokens of one row
            return self.attention(one, source, view, self.nowhere, kept_).reshape(x.shape)

        return look

    def ask(self, look: Look, h: Float[Tensor, "b d"], t: int, weights: list[Tensor]) -> Float[Tensor, "b d"]:
        """One step's look. Each has taps of its own, `decoder.0.cross.7.weights`; all weights are shown at last."""
        if not listening():
            return look(h[:, None])[:, 0]
        place = self.attention.place
        self.attention.place = f"{place}.{t}"
        try:
            with taps(lambda where, x: weights.append(x) if where.endswith(".weights") else None):
                return look(h[:, None])[:, 0]
        finally:
            self.attention.place = place

    def given(self, drive: Float[Tensor, "b gates"], seen: Float[Tensor, "b d"]) -> Float[Tensor, "b gates"]:
        """What drives a step: its token, and what was seen."""
        return drive if self.feed is None else drive + self.feed(seen)

    def show(self, weights: list[Tensor]) -> None:
        """The weights of all steps together, to be looked at only."""
        if weights:
            tap(self.attention.place, "weights", torch.cat(weights, 2))

    def leave(self, h: Float[Tensor, "*b d"], context: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """y, of the state and what it saw."""
        return torch.tanh(self.readout(torch.cat([h, context], -1)))


class RecurrentStack(StackModule):
    """See the file's docstring."""

    config: RecurrentConfig

    def __init__(self, config: ModelConfig, name: str, vocab_size: int, tokens: Table | None = None) -> None:
        super().__init__(config, name, vocab_size, tokens)
        stack, sizes = self.config, config.sizes(name)
        d, self.dropout = sizes.d_model, sizes.dropout
        pairs = [layer >= stack.n_layers - stack.pyramid for layer in range(stack.n_layers)]
        self.layers = nn.ModuleList(Layer(stack, config.sizes(name, layer), pair) for layer, pair in enumerate(pairs))
        self.start = self.cross = None
        if self.causal and config.encoder is not None:
            self.start = Linear(d, stack.n_layers * stack.cell.states * d)
            if stack.cross is not None:
                asks = 0 if stack.order == "before" else stack.n_layers - 1
                self.cross = Cross(stack, stack.cross, replace(config.sizes(name, asks), place=f"{name}.{asks}.cross"))

    @property
    def steps(self) -> list[Layer]:
        """The layers, as what they are."""
        return list(self.layers)  # type: ignore[arg-type]

    def entries(self, capacity: int | None) -> list[Entry]:
        return [State() for _ in self.layers]

    def memories(self) -> list[Memory]:
        return [self.config.cross.memory() if self.config.cross is not None else Memory()]

    def forward(
        self,
        ids: Tensor,
        mask: Mask | None = None,
        cache: Cache | None = None,
        encoded: Encoded | None = None,
        segments: Int[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b t d"]:
        mask = mask or Mask()
        self._check(mask, cache, encoded)
        x, rows, shift = self._read(ids, mask, segments)
        y = self._write(x, rows, cache, encoded) if self.causal else self._through(x, rows)[0]
        if cache is not None:
            cache.advance(mask.lengths, ids.shape[1])
        return y if shift is None else picked(y, (torch.arange(y.shape[1], device=y.device) - shift) % y.shape[1])

    def encoded(self, ids: Tensor, mask: Mask) -> Encoded:
        if not mask.made_of(Padding):
            raise RegardError("an encoder whose output is read takes one text a row: leave the documents out.")
        self._check(mask, None, None)
        x, rows, _ = self._read(ids, mask, None)
        x, rows = self._through(x, rows)
        ends = x.new_full(x.shape[:1], x.shape[1], dtype=torch.long) if rows.lengths is None else rows.lengths
        last = picked(x, (ends[:, None] - 1).clamp_min(0))[:, 0]
        if self.config.bidirectional:
            half = x.shape[2] // 2
            last = torch.cat([last[:, :half], x[:, 0, half:]], -1)
        return Encoded(x, Mask() if rows.lengths is None else Padding(rows.lengths), last)

    def _check(self, mask: Mask, cache: Cache | None, encoded: Encoded | None) -> None:
        if mask.prefix is not None:
            raise RegardError("a recurrent stack reads word by word and cannot take a prefix: make it a 'transformer'.")
        if not mask.made_of(Padding, Documents, Causal):
            raise RegardError("a recurrent stack knows padding and documents only: make it a 'transformer'.")
        if cache is not None:
            check_cached(mask)
        if encoded is not None and mask.documents is not None:
            raise RegardError("a recurrent decoder writes one text for each source: leave the documents out.")

    def _read(
        self, ids: Tensor, mask: Mask, segments: Tensor | None
    ) -> tuple[Float[Tensor, "b t d"], Rows, Int[Tensor, "b 1"] | None]:
        """The vectors of the tokens, from slot 0 on, and by how many slots they were shifted for that."""
        x = self.input(ids, lambda x: x, segments)
        documents, start = mask.documents, mask.padding.start if mask.padding is not None else None
        if start is None:
            return x, Rows(mask.lengths, documents), None
        at = (torch.arange(x.shape[1], device=x.device) + start[:, None]) % x.shape[1]
        return picked(x, at), Rows(mask.lengths, None if documents is None else picked(documents, at)), start[:, None]

    def _through(self, x: Float[Tensor, "b t d"], rows: Rows) -> tuple[Float[Tensor, "b s d"], Rows]:
        """An encoder's layers."""
        for layer in self.steps:
            if layer.pair:
                x, rows = rows.paired(x)
            x = self._drop(layer(x, rows))
        return x, rows

    def _write(
        self, x: Float[Tensor, "b t d"], rows: Rows, cache: Cache | None, encoded: Encoded | None
    ) -> Float[Tensor, "b t d"]:
        """A decoder's layers."""
        states, y = self._begin(x, cache, encoded)
        real = rows.real(x) if cache is not None else None  # otherwise nobody reads what comes after a row's end
        order, cross, look, context = self.config.order, self.cross, None, None
        if cross is not None and encoded is not None:
            look = cross.look(encoded, Memory() if cache is None else cache.memories[0])
        if cross is not None and look is not None and order == "fed":
            x, y, states = self._fed(x, y, states, real, cross, look)
        else:
            for number, layer in enumerate(self.steps):
                if number == 0 and cross is not None and look is not None and order == "before":
                    x, context, states[0] = self._before(x, states[0], real, cross, look)
                else:
                    x, states[number] = layer.cell(x, states[number], rows.begins(), real)
                x = self._drop(tap(layer.place, "hidden", x))
            if cross is not None and look is not None:
                x = cross.leave(x, look(x) if context is None else context)
        if cache is not None:
            if look is not None and order == "fed":
                states[-1] += (y,)
            for entry, of_layer in zip(cache.entries, states, strict=True):
                assert isinstance(entry, State)
                entry.write(*of_layer)
        return x if look is None else self._drop(x)

    def _begin(
        self, x: Float[Tensor, "b t d"], cache: Cache | None, encoded: Encoded | None
    ) -> tuple[list[States], Float[Tensor, "b d"]]:
        """The states of each layer before the first token, and what left the step before it, if that is fed."""
        known = [entry.tensors for entry in cache.entries if isinstance(entry, State)] if cache is not None else []
        n = self.config.cell.states
        if known and known[-1] is not None:
            return [of_layer[:n] for of_layer in known if of_layer is not None], known[-1][-1]
        states = [layer.empty(x) for layer in self.steps]
        y = states[0][0]
        if encoded is not None and self.start is not None:
            first = torch.tanh(self.start(summary(encoded))).to(y.dtype)
            first = first.repeat_interleave(len(x) // len(first), 0)  # rows may share a source
            parts = first.chunk(n * len(states), -1)
            states = [parts[number * n : (number + 1) * n] for number in range(len(states))]
        return states, y

    def _before(
        self,
        x: Float[Tensor, "b t d"],
        states: States,
        real: Bool[Tensor, "b t"] | None,
        cross: Cross,
        look: Look,
    ) -> tuple[Float[Tensor, "b t d"], Float[Tensor, "b t d"], States]:
        """The lowest layer, each step of which begins with a look: h, what was seen, and the last states."""
        cell = self.steps[0].cell
        weights: list[Tensor] = []
        drive, out, contexts = cell.drive(x), [], []
        for t in range(x.shape[1]):
            context = cross.ask(look, states[0], t, weights)
            new = cell.step(cross.given(drive[:, t], context), states)
            states = new if real is None else kept(real[:, t, None], new, states)
            out.append(new[0])
            contexts.append(context)
        cross.show(weights)
        return torch.stack(out, 1), torch.stack(contexts, 1), states

    def _fed(
        self,
        x: Float[Tensor, "b t d"],
        y: Float[Tensor, "b d"],
        states: list[States],
        real: Bool[Tensor, "b t"] | None,
        cross: Cross,
        look: Look,
    ) -> tuple[Float[Tensor, "b t d"], Float[Tensor, "b d"], list[States]]:
        """All layers, step by step: what leaves each step, that of the last, and the last states."""
        cells = [layer.cell for layer in self.steps]
        weights: list[Tensor] = []
        drive, hidden, out = cells[0].drive(x), [], []
        for t in range(x.shape[1]):
            new: list[States] = []
            h, before = y, states
            for number, cell in enumerate(cells):
                drives = cell.drive(h) if number else cross.given(drive[:, t], h)
                new.append(cell.step(drives, states[number]))
                h = self._drop(new[-1][0])
            last, y = y, cross.leave(h, cross.ask(look, h, t, weights))
            states = new
            out.append(y)
            hidden.append([of_layer[0] for of_layer in new])
            if real is not None:
                (y,) = kept(real[:, t, None], (y,), (last,))
                states = [kept(real[:, t, None], *both) for both in zip(new, before, strict=True)]
        for layer, every in zip(self.steps, zip(*hidden, strict=True), strict=True):
            tap(layer.place, "hidden", torch.stack(every, 1))
        cross.show(weights)
        return torch.stack(out, 1), y, states

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


def summary(encoded: Encoded) -> Float[Tensor, "b d"]:
    """An encoder's output in one vector: its last states, or of one that has none the mean of its vectors."""
    if encoded.last is not None:
        return encoded.last
    x, padding = encoded.x, encoded.mask.padding
    if padding is None:
        return x.mean(1)
    real = padding.allowed(x.new_zeros(1, 1, 1), torch.arange(x.shape[1], device=x.device)[None, None])[:, 0]
    return (x * real[:, :, None]).sum(1) / padding.lengths_.clamp_min(1)[:, None]


def picked(x: Tensor, at: Int[Tensor, "b n"]) -> Tensor:
    """Row b's entries `at[b]`, of x [b t …]."""
    return x.gather(1, at.view(*at.shape, *[1] * (x.dim() - 2)).expand(-1, -1, *x.shape[2:]))
