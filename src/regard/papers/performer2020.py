"""Softmax attention can be estimated in linear time: orthogonal random directions and positive features err least.

    exp(q · k) = E φ(q) · φ(k)
    trigonometric   φ(x) = e^(+|x|²/2) [cos ω · x, sin ω · x]    mean square error e^|q+k|² (1 − e^−|q−k|²)² / (2m SM²)
    positive        φ(x) = e^(−|x|²/2) e^(ω · x)                 mean square error e^|q+k|² (1 − e^−|q+k|²) SM² / m

with SM = exp(q · k) and m independent ω ~ N(0, 1): where SM is small the first grows and the second vanishes.

Source   Choromanski et al. 2021, arXiv:2009.14794, lemmas 1 and 2, theorem 2, figure 4.
Printed  the mean square error of attention's output for 4,096 tokens of 16 features, by the number of random features,
         over 15 draws of the input (figure 4): curves, no numbers.
Here     the same sizes, the mechanism `performer` as it stands, 15 draws of the directions. Values are from N(0, 1),
         queries and keys from N(0, 1) ("plain"), or half as large ("short"): of length 1 after the scale of 1/√16.
Proxy    how the paper's input is "appropriately normalized" is not said; here it is drawn once, and the directions 15
         times. Nothing is trained, so perplexity with Performer layers stays unchecked.
"""

from __future__ import annotations

import math
import statistics

import torch
from torch import Tensor

from regard.attention import Performer
from regard.attention.performer import PerformerModule, directions
from regard.attention.recurrent import divided
from regard.layers import Sizes
from regard.papers.base import Check, Reproduction
from regard.papers.tools import MARKERS, panels

TOKENS, SIZE, DRAWS = 4096, 16, 15
FEATURES = (8, 16, 32, 64, 128, 256)
KINDS = {
    "positive, orthogonal": ("positive", "orthogonal"),
    "positive, independent": ("positive", "independent"),
    "trigonometric, orthogonal": ("trigonometric", "orthogonal"),
    "trigonometric, independent": ("trigonometric", "independent"),
}


def mechanism(features: int, kernel: str, draw: str) -> PerformerModule:
    """The mechanism with so many random numbers a token: half as many directions where each gives cosine and sine."""
    directions = features // 2 if kernel == "trigonometric" else features
    sizes = Sizes(d_model=SIZE, n_heads=1, n_kv_heads=1, head_dim=SIZE, d_ff=1, context_length=TOKENS)
    settings = Performer.from_dict({"features": directions, "kernel": kernel, "draw": draw, "redraw_every": 1})
    return settings.build(sizes)


def errors(q: Tensor, k: Tensor, v: Tensor, names: list[str], seed: int) -> dict[str, list[list[float]]]:
    """By kind, number of features and draw of the directions: the mean square error of the output."""
    q, k, v = q[None, None], k[None, None], v[None, None]
    exact = torch.softmax(q @ k.mT / SIZE**0.5, -1) @ v
    return {name: [_errors(mechanism(m, *KINDS[name]), q, k, v, exact, seed) for m in FEATURES] for name in names}


def _errors(module: PerformerModule, q: Tensor, k: Tensor, v: Tensor, exact: Tensor, seed: int) -> list[float]:
    found = []
    for number in range(DRAWS):
        module.redraw(seed, number)
        phi_q, phi_k = module.query_features(q), module.features(k)
        y = divided(phi_q @ (phi_k.mT @ v), phi_q @ phi_k.sum(-2, keepdim=True).mT)
        found.append((y - exact).square().mean().item())
    return found


def estimates(angle: float, m: int, random: torch.Generator, draws: int = 20_000) -> dict[str, tuple[float, float]]:
    """Kernel → the relative mean square error of exp(q · k), measured and by lemma 2, for vectors at an angle."""
    # Of square ½ each.
    q, k = torch.zeros(2, SIZE, dtype=torch.float64)
    q[0], k[0], k[1] = 0.5**0.5, 0.5**0.5 * math.cos(math.pi * angle), 0.5**0.5 * math.sin(math.pi * angle)
    omega = directions(m * draws, SIZE, "independent", random).view(draws, m, SIZE)
    a, b = omega @ q, omega @ k
    truth, near, far = (q * k).sum().exp(), (q + k).square().sum(), (q - k).square().sum()
    positive = (a + b - 0.5).exp().mean(-1)
    trigonometric = math.exp(0.5) * (a - b).cos().mean(-1)
    by_lemma = {
        "positive": near.exp() * (1 - (-near).exp()) * truth**2 / m,
        "trigonometric": near.exp() * (1 - (-far).exp()) ** 2 / (2 * m * truth**2),
    }
    measured = {"positive": positive, "trigonometric": trigonometric}
    return {
        name: ((got - truth).square().mean().item() / truth.item() ** 2, by_lemma[name].item() / truth.item() ** 2)
        for name, got in measured.items()
    }


@torch.no_grad()
def reproduce(seed: int = 0) -> Reproduction:
    random = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, TOKENS, SIZE, generator=random)
    short = errors(q / 2, k / 2, v, list(KINDS), seed)
    plain = errors(q, k, v, [name for name in KINDS if "orthogonal" in name], seed)
    mean = {name: [statistics.mean(each) for each in rows] for name, rows in short.items()}
    mean |= {f"plain {name}": [statistics.mean(each) for each in rows] for name, rows in plain.items()}
    angles = [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0]
    lemma = [estimates(angle, 16, random) for angle in angles]

    def ratio(one: str, other: str) -> list[float]:
        return [a / b for a, b in zip(mean[one], mean[other], strict=True)]

    def said(ratios: list[float], digits: int) -> str:
        return ", ".join(f"{value:.{digits}f} with {m}" for m, value in zip(FEATURES, ratios, strict=True))

    orthogonal = ratio("positive, orthogonal", "positive, independent")
    positive = ratio("plain positive, orthogonal", "plain trigonometric, orthogonal")
    briefly = ratio("positive, orthogonal", "trigonometric, orthogonal")
    both = mean["positive, orthogonal"]
    off = [abs(got / by - 1) for each in lemma for name, (got, by) in each.items() if by > 1e-9]
    checks = (
        Check(
            "Orthogonal directions err less than independent ones: positive features, short vectors",
            "below for every number of features (figure 4, left; theorem 2)",
            f"error of orthogonal over independent: {said(orthogonal, 2)}",
            statistics.mean(orthogonal) < 1 and sum(value < 1 for value in orthogonal) > len(orthogonal) / 2,
        ),
        Check(
            "Positive features err less than trigonometric ones: orthogonal directions, plain vectors",
            "below for every number of features (figure 4, right)",
            f"error of positive over trigonometric: {said(positive, 5)}",
            max(positive) < 1,
        ),
        Check(
            "The error falls as features are added: positive, orthogonal, short vectors",
            "about as 1/m (lemma 2)",
            f"{both[0]:.2e} with {FEATURES[0]} to {both[-1]:.2e} with {FEATURES[-1]}: {both[0] / both[-1]:.1f} times "
            f"less for {FEATURES[-1] // FEATURES[0]} times as many",
            both == sorted(both, reverse=True) and both[-1] < both[0] / 4,
        ),
        Check(
            "The error of one weight is that of lemma 2, for both kernels",
            "the two formulas above",
            f"16 directions, vectors of square ½ at nine angles, 20,000 draws: at most {max(off):.0%} off",
            max(off) < 0.15,
        ),
        Check(
            "Where a weight is smallest, positive features err least and trigonometric ones most, relative to it",
            "figure 2 (ratio of the two errors, unbounded as the angle grows)",
            f"opposite vectors: {lemma[-1]['positive'][0]:.1e} against {lemma[-1]['trigonometric'][0]:.1e}; equal "
            f"ones: {lemma[0]['positive'][0]:.1e} against {lemma[0]['trigonometric'][0]:.1e}",
            lemma[-1]["positive"][0] < lemma[-1]["trigonometric"][0]
            and lemma[0]["positive"][0] > lemma[0]["trigonometric"][0],
        ),
    )

    picture, (left, right) = panels(2, width=9.0, height=3.8)
    for (name, rows), marker in zip(short.items(), MARKERS, strict=False):
        spread = [statistics.stdev(each) for each in rows]
        style = "-" if "orthogonal" in name else "--"
        left.errorbar(FEATURES, mean[name], spread, label=name, marker=marker, markersize=4, linestyle=style, capsize=2)
    left.set_xscale("log", base=2)
    left.set_yscale("log")
    left.set(
        xlabel="random features a token", ylabel="mean square error of the output", title="4,096 tokens, short vectors"
    )
    for name, marker in zip(("positive", "trigonometric"), MARKERS, strict=False):
        measured = [max(each[name][0], 1e-6) for each in lemma]
        right.semilogy(angles, measured, marker, label=f"{name}, measured", markersize=4)
        right.semilogy(angles, [max(each[name][1], 1e-6) for each in lemma], "-", label=f"{name}, lemma 2", linewidth=1)
    right.set(xlabel="angle between q and k (of π)", ylabel="square error of exp(q · k), relative")
    right.set(title="16 directions, vectors of square ½")
    for axes in (left, right):
        axes.legend(fontsize=7, frameon=False)
    notes = (
        "Features are counted as numbers a token, so that equal counts cost the same: a direction gives one positive "
        "feature but two trigonometric ones.",
        f"For short vectors the second claim depends on the number: error of positive over trigonometric "
        f"{said(briefly, 2)}. Trigonometric features fail where their sum comes near zero, which more of them prevent.",
    )
    return Reproduction(checks, picture, notes)
