"""What papers share: a short training loop, the score on a task, seconds of a call, and the style of the pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from regard.data.batches import IGNORE, Batch
from regard.data.synthetic import TaskBatches
from regard.model import Transformer
from regard.training.optimisers import AdamW, Optimiser
from regard.training.schedules import Constant, Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe & Ito 2008: told apart by all eyes. Lines also differ in `MARKERS` or dashes, for print without colours."""

MARKERS = ("o", "s", "^", "D", "v", "P", "x")

ADAM = AdamW(weight_decay=0.0)
STEADY = Constant(learning_rate=1e-3)


def train(
    model: nn.Module,
    loss: Callable[[int], Tensor],
    steps: int,
    *,
    optimiser: Optimiser = ADAM,
    schedule: Schedule = STEADY,
    clip: float | None = None,
) -> list[float]:
    """Train a model in place, and return the loss before each update.

    loss: step (from 0) → a scalar; a closure over the model and its data. clip: the largest norm of the gradient.
    A run that is no number any more stops there: the list ends with `inf` and is shorter than `steps`.
    """
    model.train()
    optimisers = optimiser.build(model)
    losses: list[float] = []
    for step in range(steps):
        value = loss(step)
        if not torch.isfinite(value):
            losses.append(float("inf"))
            break
        losses.append(value.item())
        value.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimisers.step(schedule.rate(step + 1, steps))
        optimisers.zero_grad()
    return losses


def task_loss(model: Transformer, batches: TaskBatches) -> Callable[[int], Tensor]:
    """The loss of a decoder on a task, in nats a token of the answer, for `train`."""

    def loss(step: int) -> Tensor:
        batch = batches.at(step)
        return model(batch.inputs, batch.targets).objective / batch.target_count

    return loss


@torch.no_grad()
def accuracy(model: Transformer, batch: Batch) -> float:
    """The share of targets that a decoder finds likeliest, given all that stands before them."""
    model.eval()
    real = batch.targets != IGNORE
    return (model(batch.inputs).argmax(dim=-1) == batch.targets)[real].double().mean().item()


def seconds(call: Callable[[], object], repeat: int = 5) -> float:
    """The shortest of some calls, after one that warms up: what others do on the machine only ever adds.

    Inside `one_core` it counts the seconds of the processor, which depend on others the least.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    call()
    times = []
    for _ in range(repeat):
        begun = clock()
        call()
        times.append(clock() - begun)
    return min(times)


@contextmanager
def one_core() -> Iterator[None]:
    """One thread inside, so that a time is of work and not of how it was shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def panels(count: int = 1, width: float = 8.0, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    """A picture of some panels side by side, in inches at 100 dots each. Label every axis, with its unit.

    >>> picture, (left, right) = panels(2)
    >>> left.set(xlabel="length (tokens)", ylabel="time (ms)", title="…")
    """
    from matplotlib.figure import Figure

    picture = Figure(figsize=(width, height), dpi=100, layout="constrained")
    axes = list(picture.subplots(1, count, squeeze=False)[0])
    for each in axes:
        each.set_prop_cycle(color=COLOURS)
        each.grid(True, color="#DDDDDD", linewidth=0.6)
        each.set_axisbelow(True)
        each.spines[["top", "right"]].set_visible(False)
        each.tick_params(labelsize=9)
    return picture, axes
