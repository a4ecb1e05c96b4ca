"""A Transformer reads all words at once, always as an encoder and as a decoder in training; an RNN waits at every word.

    one after the other      encoder        O(1)
    (Table 1, column 3)      decoder        O(1) in training, as the answer is there; n passes when it writes
                             RNN            O(n) in training, O(n) when it writes
    operations of a layer    self-attention O(n² d),   recurrent O(n d²):     the first is less where n < d

Source   Vaswani et al. 2017, arXiv:1706.03762, §4 and table 1.
Printed  orders only: operations of a layer, how many must follow one another, and the longest path between two words.
Here     operations that follow one another are counted exactly: the longest chain in the graph that autograd records.
         Beside it the seconds of a small Transformer and of a GRU, reading at once and writing word by word, and those
         of one layer of each kind of width 512, all on one core and forward only.
Proxy    a core has nothing to run in parallel with, so seconds here show only that many small products are slower than
         a few large ones; what a thousand cores gain is in the chains.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from regard.attention import Mask, View
from regard.model import ModelConfig, StackConfig, Transformer
from regard.model.block import Block
from regard.papers.base import Check, Reproduction
from regard.papers.tools import MARKERS, one_core, panels, seconds

WIDTH, VOCABULARY = 128, 64
LENGTHS = (32, 64, 128, 256, 512)
LAYER = 512
"""The width of the layers that are timed alone."""


class Recurrent(nn.Module):
    """Two layers of GRU between an embedding and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.cells = nn.GRU(WIDTH, WIDTH, num_layers=2, batch_first=True)
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, ids: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, state = self.cells(self.embed(ids), state)
        return self.head(x), state


def chain(output: Tensor) -> int:
    """How many recorded operations must follow one another on the longest way from the weights to `output`."""
    assert output.grad_fn is not None
    longest: dict[object, int] = {}
    waiting = [output.grad_fn]
    while waiting:
        node = waiting[-1]
        before = [each for each, _ in node.next_functions if each is not None]
        unknown = [each for each in before if each not in longest]
        if unknown:
            waiting.extend(unknown)
        else:
            longest[node] = 1 + max((longest[each] for each in before), default=0)
            waiting.pop()
    return longest[output.grad_fn]


def transformer(family: str) -> Transformer:
    stack = StackConfig(n_layers=2)
    other = {"encoder": "decoder", "decoder": "encoder"}[family]
    stacks = {family: stack, other: None}
    return Transformer(ModelConfig(vocab_size=VOCABULARY, d_model=WIDTH, n_heads=4, context_length=1024, **stacks))


@torch.no_grad()
def write(model: Transformer, n: int) -> None:
    """n words of a decoder, each from the one before, with a cache."""
    cache, word = model.cache(1), torch.zeros(1, 1, dtype=torch.long)
    for _ in range(n):
        word = model(word, cache=cache).argmax(dim=-1)


@torch.no_grad()
def write_recurrent(model: Recurrent, n: int) -> None:
    state, word = None, torch.zeros(1, 1, dtype=torch.long)
    for _ in range(n):
        logits, state = model(word, state)
        word = logits.argmax(dim=-1)


def layers(n: int) -> dict[str, float]:
    """Seconds of one layer of self-attention and of one of GRU, of width `LAYER`, over n words."""
    config = ModelConfig(vocab_size=2, d_model=LAYER, encoder=StackConfig(n_layers=1), decoder=None)
    stack = Transformer(config).encoder
    assert stack is not None
    layer, nowhere, slots = cast(Block, stack.layers[0]), stack.nowhere, torch.arange(n)[None]
    view = View(Mask(), slots, slots, square=True)
    gru, x = nn.GRU(LAYER, LAYER, batch_first=True), torch.randn(1, n, LAYER)
    with torch.no_grad():
        return {
            "self-attention": seconds(lambda: layer.attention(x, None, view, nowhere, None), 3),
            "GRU": seconds(lambda: gru(x), 3),
        }


def reproduce(seed: int = 0) -> Reproduction:
    encoder, decoder, recurrent = transformer("encoder"), transformer("decoder"), Recurrent()

    def read(model: nn.Module, n: int) -> Tensor:
        logits = model(torch.zeros(1, n, dtype=torch.long))
        return logits[0] if isinstance(logits, tuple) else logits

    def at_once(model: nn.Module) -> dict[int, float]:
        with torch.no_grad():
            return {n: seconds(partial(read, model, n), 3) for n in LENGTHS}

    chains: dict[str, dict[int, int]] = {
        "encoder reads": {n: chain(read(encoder, n)) for n in LENGTHS},
        "decoder trains": {n: chain(read(decoder, n)) for n in LENGTHS},
        "decoder writes": {n: n * chain(read(decoder, 1)) for n in LENGTHS},
        "GRU trains": {n: chain(read(recurrent, n)) for n in LENGTHS},
        "GRU writes": {n: n * chain(read(recurrent, 1)) for n in LENGTHS},
    }
    widths = (64, 128, 256, 512, 1024, 2048, 4096)
    with one_core():
        times = {
            "encoder reads": at_once(encoder),
            "decoder trains": at_once(decoder),
            "decoder writes": {n: seconds(partial(write, decoder, n), 1) for n in LENGTHS},
            "GRU trains": at_once(recurrent),
            "GRU writes": {n: seconds(partial(write_recurrent, recurrent, n), 1) for n in LENGTHS},
        }
        alone = {n: layers(n) for n in widths}

    last = LENGTHS[-1]
    checks = (
        *(
            _order(name, chains[name], grows)
            for name, grows in zip(chains, (False, False, True, True, True), strict=True)
        ),
        Check(
            "So a decoder is trained much faster than it writes the same words",
            "training in parallel, generation one word after the other (§3.1, §4; no number)",
            f"{last} words: {1e3 * times['decoder trains'][last]:.0f} ms to read at once, "
            f"{1e3 * times['decoder writes'][last]:.0f} ms to write with a cache, "
            f"{times['decoder writes'][last] / times['decoder trains'][last]:.0f} times as long",
            times["decoder writes"][last] > 3 * times["decoder trains"][last],
        ),
        Check(
            f"A layer of self-attention is faster than a recurrent one on sentences shorter than its width, {LAYER}",
            "O(n² d) against O(n d²) operations (table 1)",
            ", ".join(
                f"n {n}: {1e3 * t['self-attention']:.1f} against {1e3 * t['GRU']:.1f} ms" for n, t in alone.items()
            ),
            all(t["self-attention"] < t["GRU"] for n, t in alone.items() if n < LAYER),
        ),
        Check(
            "Its time grows faster with length than the recurrent layer's, which grows in proportion",
            "n² against n (table 1)",
            ", ".join(f"{name} × {alone[4096][name] / alone[1024][name]:.1f}" for name in alone[4096])
            + " from 1,024 to 4,096 words",
            alone[4096]["self-attention"] / alone[1024]["self-attention"]
            > 1.2 * alone[4096]["GRU"] / alone[1024]["GRU"],
        ),
    )

    picture, (left, middle, right) = panels(3, width=12.0, height=3.8)
    for name, marker in zip(chains, MARKERS, strict=False):
        style: dict[str, Any] = {"linestyle": "--" if name.startswith("GRU") else "-", "marker": marker}
        left.plot(LENGTHS, list(chains[name].values()), label=name, markersize=5, **style)
        middle.plot(LENGTHS, [1e3 * time for time in times[name].values()], label=name, markersize=5, **style)
    for name, marker in zip(alone[widths[0]], MARKERS, strict=False):
        right.plot(widths, [1e3 * alone[n][name] for n in widths], marker=marker, markersize=5, label=name)
    for axes in (left, middle, right):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
    right.axvline(LAYER, color="#888888", linewidth=0.8)
    left.set(xlabel="length (words)", ylabel="operations", title="One after the other")
    middle.set(xlabel="length (words)", ylabel="time (ms)", title="Two layers of width 128, one core")
    right.set(xlabel="length (words)", ylabel="time (ms)", title=f"One layer of width {LAYER}")
    left.legend(fontsize=8, frameon=False)
    right.legend(fontsize=8, frameon=False)
    notes = (
        "Chains are the same on every machine, and the backward pass doubles each. To wait costs a single core little: "
        "there GRU and Transformer read in like times.",
    )
    return Reproduction(checks, picture, notes)


def _order(name: str, of: dict[int, int], grows: bool) -> Check:
    first, last = LENGTHS[0], LENGTHS[-1]
    claims = {
        "encoder reads": "An encoder reads a sentence in as many steps whatever its length",
        "decoder trains": "So does a decoder in training",
        "decoder writes": "When it writes, its steps grow with the length",
        "GRU trains": "An RNN's steps grow with the length in training already",
        "GRU writes": "And when it writes",
    }
    growth = of[last] / of[first]
    return Check(
        claims[name],
        "O(n) sequential operations" if grows else "O(1) sequential operations (table 1)",
        f"{of[first]:,} operations one after the other at {first} words, {of[last]:,} at {last}",
        growth > 0.9 * last / first if grows else growth == 1,
    )
