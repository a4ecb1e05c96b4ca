"""Recurrent stacks and cells: what each place knows of the others, and how long a first token is remembered."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor

from figures.common import COLOURS, heat, label, panels, started
from regard.layers import taps
from regard.model import Cell, ModelConfig, RecurrentConfig, Transformer, Xavier

WIDTH, LENGTH = 64, 16


def stack(kinds: tuple[str, ...]) -> Figure:
    """How strongly each vector of an encoder depends on each token, measured by its gradient."""
    ways = {
        "forwards": RecurrentConfig(),
        "in both directions": RecurrentConfig(bidirectional=True),
        "a pyramid of two": RecurrentConfig(n_layers=3, bidirectional=True, pyramid=2),
    }
    figure, every = panels(len(ways))
    for axes, (name, way) in zip(every, ways.items(), strict=True):
        config = ModelConfig(
            vocab_size=WIDTH, d_model=WIDTH, encoder=way, decoder=RecurrentConfig(), initialisation=Xavier()
        )
        heat(axes, dependence(Transformer(config)), name, "token", "vector")
    return figure


def dependence(model: Transformer) -> Tensor:
    """The size of the gradient of each of the encoder's vectors by each token, [s t], the largest of each row 1."""
    x = torch.randn(1, LENGTH, WIDTH, requires_grad=True)
    with taps(lambda place, _: x if place == "encoder.input" else None):
        out = model.encode(torch.arange(LENGTH)[None]).x[0]
    sums = (out * torch.randn(WIDTH)).sum(-1)
    rows = [torch.autograd.grad(each, x, retain_graph=True)[0][0].norm(dim=-1) for each in sums]
    return torch.stack([row / row.max() for row in rows])


def cell(kinds: tuple[str, ...]) -> Figure:
    """How much of a change of the first token is left in the state, token after token, before anything is learnt."""
    figure, (axes,) = panels(1)
    for kind, colour in zip(kinds, COLOURS, strict=False):
        part = Cell.resolve(kind)
        assert isinstance(part, Cell)
        module = started(part.build(WIDTH, WIDTH), std=0.1)
        x = torch.randn(64, 40, WIDTH)
        changed = torch.cat([torch.randn(64, 1, WIDTH), x[:, 1:]], 1)
        empty = (torch.zeros(64, WIDTH),) * part.states
        left = (module(x, empty)[0] - module(changed, empty)[0]).norm(dim=-1).mean(0)
        axes.semilogy((left / left[0]).numpy(), color=colour, label=kind)
    label(axes, "what is left of a change of the first token", "tokens since", "share of the state's change")
    axes.legend(fontsize=8)
    return figure
