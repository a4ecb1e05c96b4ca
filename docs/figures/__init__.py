"""The picture of each mechanism, drawn by running its code on something small: nothing here knows a formula.

One function a family, so that a new kind has its picture by itself. `draw(page)` gives the figure of a page.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image

from figures.attention import attention, pattern
from figures.heads import head
from figures.layers import feedforward, initialisation, inputs, norm, residual
from figures.positions import positions, scaling
from figures.recurrent import cell, stack
from regard.pages import Page

FAMILIES: dict[str, Callable[..., Figure]] = {
    "input": inputs,
    "positions": positions,
    "scaling": scaling,
    "attention": attention,
    "pattern": pattern,
    "norm": norm,
    "residual": residual,
    "feed-forward": feedforward,
    "stack": stack,
    "cell": cell,
    "head": head,
    "initialisation": initialisation,
}

QUICK = {"attention": {"steps": 2}, "residual": {"depth": 2}}


def draw(page: Page, quick: bool = False) -> Figure:
    """The figure of a page. `quick` takes less of what takes long: for tests."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FAMILIES[page.family](page.kinds, **QUICK.get(page.family, {}) if quick else {})


def save(figure: Figure, path: Path) -> None:
    """A PNG 700 pixels wide. A palette makes it a third as large; this method keeps the colours of small spots."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100)
    image = Image.open(buffer).convert("RGB")
    image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
