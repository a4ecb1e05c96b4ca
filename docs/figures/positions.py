"""Figures of position encodings: what comes through each door, and what a layer then makes of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from figures.common import BLUE, COLOURS, GREY, heard, heat, label, make, panels, sizes, started, view_of
from regard.attention import Dot
from regard.positions import Places, Position, PositionModule, Rotary
from regard.positions.scaling import Scaling


def positions(kinds: tuple[str, ...]) -> Figure:
    """What comes through each door, and what a layer then makes of a sentence that says one word again and again."""
    length, many = 32, sizes()
    part = make(Position, kinds[0])
    module = started(part.build(many))
    at, view = Places(torch.arange(length)[None]), view_of(length, causal=True)
    shown: list[Callable[[Axes], None]] = []

    def show(values: Tensor, title: str, x: str, y: str, like: Tensor | None = None) -> None:
        shown.append(partial(heat, values=values, title=title, x=x, y=y, like=like))

    def uses(door: str) -> bool:
        return getattr(type(module), door) is not getattr(PositionModule, door)

    # Where positions are added, a word of zeros leaves them alone.
    word = torch.full((1, length, many.d_model), 0.0 if uses("add") else 1.0)
    x = module.add(word, at)
    layer = started(Dot(bias="none").build(many))
    for matrix in (layer.q, layer.k):
        matrix.weight.copy_(torch.eye(many.d_model))
    said, bare = (heard(layer, x, None, view, position, None) for position in (module, PositionModule()))
    if uses("add"):
        show(x[0].T, "what is added", "position", "feature")
        near = nn.functional.cosine_similarity(x[0, :, None], x, dim=-1)
        show(near, "cosine of two positions", "position", "position")
    if uses("turn"):
        ones = torch.ones(1, 1, length, many.head_dim)
        show(module.turn(ones, ones, at, at)[1][0, 0].T, "a key of ones, turned", "position", "feature")
        shown.append(partial(fading, parts={kinds[0]: part}))
    if uses("bias"):
        # What scores have more than those without positions; masked ones are no number on both sides.
        bias = (said["scores"] - bare["scores"])[0]
        heads = {"head 1": bias[0], f"head {many.n_heads}": bias[-1]}
        if torch.allclose(bias[0], bias[-1], equal_nan=True):
            heads = {"all heads": bias[0]}
        for name, values in heads.items():
            show(values, f"added to scores, {name}", "seen s", "looking t", bias)
    if uses("values"):
        middle = length // 2
        looking = torch.zeros(1, many.n_heads, length, length).index_fill(3, torch.tensor([middle]), 1.0)
        beside = module.values(looking, at, at)[0, 0]
        show(beside.T, f"added to the value of token {middle}", "looking t", "feature")
    weights = said["weights"][0, 0].masked_fill(~view.seen()[0, 0], float("nan"))
    show(weights, "weights of head 1", "seen s", "looking t", like=torch.tensor(0.3))
    if len(shown) == 1:
        shown.append(partial(shares, weights=weights))
    figure, every = panels(2 if len(shown) in (2, 4) else 3, -(-len(shown) // 3))
    for axes, draw_on in zip(every, shown, strict=True):
        draw_on(axes)
    return figure


def shares(axes: Axes, weights: Tensor) -> None:
    """A few rows of weights as curves."""
    for t, colour in zip((3, 7, 15, 31), COLOURS, strict=False):
        axes.plot(weights[t].numpy(), color=colour, label=f"t = {t}")
    axes.legend(fontsize=8)
    axes.set_ylim(0)
    label(axes, "the share of each token", "seen s", "weight")


def fading(axes: Axes, parts: dict[str, Position]) -> None:
    """The products of equal vectors by their distance, beside those of plain rotary positions."""
    at = Places(torch.arange(513)[None])
    for name, part in {"rotary": Rotary(), **parts}.items():
        ones = torch.ones(1, 1, 513, 64)
        q, k = part.build(sizes(head_dim=64)).turn(ones, ones, at, at)
        scores = (k[0, 0] @ q[0, 0, -1]).flip(0)
        axes.plot(scores.numpy(), color=BLUE if name in parts else GREY, label=name, linewidth=1)
    label(axes, "q · k of equal vectors", "distance t − s", "score")
    axes.legend(fontsize=7)


def scaling(kinds: tuple[str, ...]) -> Figure:
    """How fast each pair of features turns for a text four times as long, and beside its own rate."""
    figure, (left, right) = panels(2)
    parts = {kind: Rotary(scaling=make(Scaling, kind)) for kind in kinds}
    own = torch.tensor(Rotary().build(sizes(head_dim=64)).rates)
    for (name, part), colour in zip({"unscaled": Rotary(), **parts}.items(), (GREY, *COLOURS), strict=False):
        rates = torch.tensor(part.build(sizes(head_dim=64)).rates)
        left.plot(rates.numpy(), color=colour, label=name, linewidth=1.2)
        right.plot((rates / own).numpy(), color=colour, linewidth=1.2)
    left.set_yscale("log")
    right.set_ylim(0, 1.05)
    label(left, "turning", "pair of features", "radians a position")
    label(right, "slowed down", "pair of features", "share of the unscaled rate")
    left.legend(fontsize=8)
    return figure
