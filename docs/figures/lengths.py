"""BLEU by the length of the source, as Bahdanau, Cho & Bengio drew it in 2014: a line a system, with its intervals."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from figures.common import COLOURS, label, panels
from regard.evaluation import LengthScores

DASHES = ("-", "--", "-.", ":")


def bleu_by_length(systems: Mapping[str, LengthScores]) -> Figure:
    """systems: name → scores; each point stands at the mean length of its sentences."""
    figure, (axes,) = panels(1, height=3.2)
    for n, (name, scores) in enumerate(systems.items()):
        lengths, values = [row.mean for row in scores.rows], [row.bleu.value for row in scores.rows]
        colour, dashes = COLOURS[n % len(COLOURS)], DASHES[n % len(DASHES)]
        axes.plot(lengths, values, dashes, marker="o", markersize=4, color=colour, label=name)
        lows = [row.bleu.value if row.bleu.low is None else row.bleu.low for row in scores.rows]
        highs = [row.bleu.value if row.bleu.high is None else row.bleu.high for row in scores.rows]
        axes.fill_between(lengths, lows, highs, color=colour, alpha=0.15, linewidth=0)
    label(axes, "BLEU by length", "length of the source (tokens)", "BLEU")
    axes.set_ylim(bottom=0)
    axes.grid(True, color="#DDDDDD", linewidth=0.6)
    axes.legend(fontsize=8, frameon=False)
    return figure
