"""What the figures of every family share: small modules with random values, what their taps say, and axes."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from regard.attention import Causal, Mask, Pattern, View
from regard.inputs import Input
from regard.layers import Sizes, taps
from regard.model.initialisation import Normal, initialise
from regard.positions.scaling import Scaling
from regard.settings import Part

# Okabe and Ito's colours, which the colour-blind tell apart.
BLUE, ORANGE, GREEN, PINK, SKY, RED, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#888888",
)  # fmt: skip
COLOURS = (BLUE, RED, GREEN, ORANGE, PINK, SKY)

# Settings that make a kind's nature visible on a small grid.
LONGER = {"factor": 4.0, "original_length": 256}
EXTRAS: dict[type[Part], dict[str, dict[str, Any]]] = {
    Input: {"factorised": {"width": 16}},
    Pattern: {
        "window": {"size": 5},
        "dilated": {"size": 4, "step": 3},
        "global": {"size": 3, "tokens": 2},
        "bigbird": {"block": 3, "random": 1},
    },
    Scaling: {"linear": {"factor": 4.0}, "ntk": {"factor": 4.0}, "yarn": LONGER, "llama3": LONGER},
}


def sizes(**changes: Any) -> Sizes:
    usual = {"d_model": 64, "n_heads": 4, "n_kv_heads": 4, "head_dim": 16, "d_ff": 64, "context_length": 64}
    return Sizes(**{**usual, "causal": True, **changes})


def make(family: type[Part], kind: str) -> Any:
    return family.resolve({"kind": kind, **EXTRAS.get(family, {}).get(kind, {})})


def started(module: nn.Module, std: float = 1.0) -> Any:
    """The module with random values of this size in its matrices and tables."""
    initialise(nn.ModuleDict({"part": module}), Normal(std=std, residual="plain"), seed=0)
    return module.eval().requires_grad_(False)


def panels(columns: int, rows: int = 1, height: float = 2.7) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(7, height * rows), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8)


def heat(axes: Axes, values: Tensor, title: str, x: str, y: str, like: Tensor | None = None, up: bool = False) -> None:
    """Values [y x] as colours: from 0 up, or around 0 where some are below it. What is not finite stays white.

    `like`: values that have the same colours elsewhere. `up`: the first row stands at the bottom.
    """
    like = values if like is None else like
    known = like[like.isfinite()]
    low, high = float(known.min()), float(known.max())
    reach = max(-low, high, 1e-12)
    signed = low < -0.02 * reach
    image = axes.imshow(
        values.masked_fill(~values.isfinite(), float("nan")).numpy(),
        cmap="PuOr" if signed else "viridis",
        vmin=-reach if signed else 0.0,
        vmax=reach,
        aspect="auto",
        origin="lower" if up else "upper",
        interpolation="nearest",
    )
    label(axes, title, x, y)
    axes.figure.colorbar(image, ax=axes, pad=0.02).ax.tick_params(labelsize=7)


def view_of(length: int, causal: bool) -> View:
    slots = torch.arange(length)[None]
    return View(Causal() if causal else Mask(), slots, slots, square=True)


def heard(module: nn.Module, *inputs: Any, instead: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """What the taps say in one forward pass, by the tap's own name, and the "output"; `instead` replaces values."""
    found: dict[str, Tensor] = {}

    def hear(name: str, x: Tensor) -> Tensor | None:
        name = name.rpartition(".")[2]
        found[name] = x.detach()
        return (instead or {}).get(name)

    with taps(hear), torch.no_grad():
        found["output"] = module(*inputs)
    return found
