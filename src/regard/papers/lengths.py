"""Train short, read long: a small decoder over bytes, and its loss where more stands before a byte than in training.

The text is the built-in one; the last tenth is held out. The same bytes are predicted from windows of every length,
those in the last half of a trained window: what a length changes is only how much of the text before them is seen.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from regard.data.builtin import python_docs
from regard.inputs import TokenInput
from regard.model import MLP, ModelConfig, PreNorm, StackConfig, Transformer, Xavier
from regard.papers.tools import MARKERS, train
from regard.positions import Position
from regard.seeds import derive_seed
from regard.settings import RegardError
from regard.training.optimisers import Muon
from regard.training.schedules import Cosine

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAINED = 64
"""The trained length, in bytes."""
TIMES = (1, 2, 4, 8)
SLACK = 0.05
"""Bits a byte by which a loss may rise and still count as kept: about what another seed changes."""


@cache
def text() -> tuple[Int[Tensor, "n"], Int[Tensor, "m"]]:
    """Bytes to train on, and bytes held out."""
    every = torch.frombuffer(bytearray("\n".join(python_docs()).encode()), dtype=torch.uint8).long()
    held = len(every) // 10
    return every[:-held], every[-held:]


def model(position: Position, seed: int = 0, trained: int = TRAINED) -> Transformer:
    """A decoder of two layers of four heads and 64 features."""
    return Transformer(
        ModelConfig(
            vocab_size=256,
            d_model=64,
            n_heads=4,
            context_length=trained,
            input=TokenInput(scale="sqrt_d_model"),
            initialisation=Xavier(),
            decoder=StackConfig(n_layers=2, position=position, feedforward=MLP(activation="gelu"), residual=PreNorm()),
        ),
        seed,
    )


def learn(position: Position, steps: int, seed: int = 0, trained: int = TRAINED, rows: int = 16) -> Transformer:
    """A decoder trained on windows of `trained` bytes; the same windows for every position."""
    learner, (bytes_, _) = model(position, seed, trained), text()
    random = torch.Generator().manual_seed(derive_seed(seed, "lengths"))
    window = torch.arange(trained + 1)

    def loss(step: int) -> Tensor:
        start = torch.randint(len(bytes_) - trained, (rows, 1), generator=random)
        drawn = bytes_[start + window]
        found = learner(drawn[:, :-1], drawn[:, 1:])
        return found.objective / found.target_count

    train(learner, loss, steps, optimiser=Muon(), schedule=Cosine(learning_rate=2e-2, warmup=steps // 10))
    return learner.eval()


@torch.no_grad()
def bits(learner: Transformer, length: int, windows: int = 128, trained: int = TRAINED) -> float:
    """Bits a byte of held-out text where up to `length` bytes are seen. Infinite where the model refuses to read them.

    Whatever the length, the same trained / 2 bytes are predicted in each of the windows.
    """
    _, held = text()
    if length > (longest := max(TIMES) * trained):
        raise ValueError(f"windows end where {longest} bytes stand before them, not {length}")
    ends = torch.linspace(longest, len(held) - 2, windows).long()[:, None]
    drawn = held[ends + torch.arange(-length, 1)]
    nats = 0.0
    for part in drawn.split(max(1, 16_384 // length)):
        try:
            logits: Float[Tensor, "b t v"] = learner(part[:, :-1])
        except RegardError:  # it has no positions there
            return math.inf
        last = slice(-trained // 2, None)
        nats += F.cross_entropy(logits[:, last].flatten(0, 1), part[:, 1:][:, last].flatten(), reduction="sum").item()
    return nats / math.log(2) / (windows * trained // 2)


def draw(axes: Axes, read: dict[str, list[float]]) -> None:
    """The loss of each encoding at each length."""
    lengths = [TRAINED * times for times in TIMES]
    for (name, values), marker in zip(read.items(), MARKERS, strict=False):
        axes.plot(lengths, values, marker=marker, label=name, markersize=4)
    axes.set_xscale("log", base=2)
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.set(xlabel="bytes in the window", ylabel="bits a byte", title=f"Trained on {TRAINED} bytes")
    axes.legend(fontsize=8, frameon=False)


def reach(learner: Transformer) -> int:
    """How many bytes a window may have until the loss has risen by more than `SLACK`, in steps that widen."""
    shares = (16, 17, 18, 20, 24, 32, 48, 64, 96, 128)
    lengths = [TRAINED * share // 16 for share in shares]
    allowed = bits(learner, lengths[0]) + SLACK
    kept = [length for length in lengths if bits(learner, length) <= allowed]
    return max(length for at, length in enumerate(lengths) if kept[: at + 1] == lengths[: at + 1])
