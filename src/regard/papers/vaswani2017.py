"""The Transformer's sizes, its cost and its two constants follow from a handful of numbers.

    parameters   V d + N (e + c)     e = 4 d h d_k + 2 d f, c = e + 4 d h d_k, and what biases and norms add
    cost         seconds × GPUs × FLOP/s that a GPU sustains
    scores       Var(q · k) = d_k  where q and k have variance 1, so Var(q · k / √d_k) = 1
    rate         d^(−1/2) · min(n^(−1/2), n · w^(−3/2))        highest at n = w, where it is 1 / √(d w)

Source   Vaswani et al. 2017, arXiv:1706.03762, tables 2 and 3, §3.2.1 with footnote 4, §5.1–5.3, §6.1 with
         footnote 5.
Printed  65 M parameters (base) and 213 M (big), and eight variations, rounded to millions, for one table of about
         37,000 pieces shared by source, target and head; 3.3e18 and 2.3e19 FLOPs at 9.5 TFLOP/s for each of eight P100,
         12 hours and 3.5 days; w = 4000.
Here     each row of table 3 is built on the meta device and counted; the variance and the softmax's gradient are
         measured on random vectors; the rate is that of `regard.training.Noam`.
Proxy    nothing is trained, so BLEU and perplexity stay unchecked; rows (B) narrow keys but not values, for which
         regard has no setting: the formula alone counts them, which the built rows confirm to the last parameter.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from regard.model import ModelConfig
from regard.model.presets import preset
from regard.papers.base import Check, Reproduction
from regard.papers.tools import COLOURS, panels
from regard.planning import plan
from regard.training.schedules import Noam

VOCABULARY = 37_000


class Row(NamedTuple):
    """A row of table 3 that prints a number of parameters, in millions."""

    name: str
    printed: int
    n: int = 6
    d: int = 512
    f: int = 2048
    h: int = 8
    d_k: int = 64
    d_v: int = 64


BASE, BIG = Row("base", 65), Row("big", 213, d=1024, f=4096, h=16)
KEYS = (Row("d_k 16", 58, d_k=16), Row("d_k 32", 60, d_k=32))
DEPTHS = (Row("N 2", 36, n=2), Row("N 4", 50, n=4), Row("N 8", 80, n=8))
WIDTHS = (Row("d 256", 28, d=256, d_k=32, d_v=32), Row("d 1024", 168, d=1024, d_k=128, d_v=128))
INNER = (Row("d_ff 1024", 53, f=1024), Row("d_ff 4096", 90, f=4096))
ROWS = (BASE, *KEYS, *DEPTHS, *WIDTHS, *INNER, BIG)


def formula(row: Row, vocabulary: int = VOCABULARY) -> int:
    """Parameters by hand: one table, N layers of an encoder, N of a decoder; biases everywhere, norms of 2d."""
    keys, values = row.h * row.d_k, row.h * row.d_v
    attention = 2 * row.d * keys + 2 * row.d * values + 2 * keys + values + row.d
    feedforward = 2 * row.d * row.f + row.f + row.d
    encoder = attention + feedforward + 2 * 2 * row.d
    decoder = 2 * attention + feedforward + 3 * 2 * row.d
    return vocabulary * row.d + row.n * (encoder + decoder)


def config(row: Row) -> ModelConfig:
    """The row as a model, with keys as wide as values."""
    base = preset("transformer-base")
    assert base.encoder is not None
    stack = base.encoder.replace(n_layers=row.n)
    return base.replace(d_model=row.d, d_ff=row.f, n_heads=row.h, head_dim=row.d_v, encoder=stack, decoder=stack)


def reproduce(seed: int = 0) -> Reproduction:
    counts = {row.name: formula(row) for row in ROWS}
    built = {row.name: plan(config(row)).total for row in ROWS if row.d_k == row.d_v}
    random = torch.Generator().manual_seed(seed)
    widths = [16, 32, 64, 128, 256, 512, 1024]
    raw, scaled, moved, stuck = zip(*(scores(width, random) for width in widths), strict=True)
    checks = (
        _formula_is_model(counts, built),
        _sizes(counts),
        _differences(counts),
        _one_vocabulary(),
        *_cost(),
        _variance(widths, raw, scaled),
        _gradient(widths, moved, stuck),
        _rate(),
    )

    picture, (left, middle, right) = panels(3, width=11.0)
    places = range(len(ROWS))
    left.plot([row.printed for row in ROWS], places, "o", label="printed")
    left.plot([counts[row.name] / 1e6 for row in ROWS], places, "x", label="counted, 37,000 pieces", markersize=7)
    left.set_yticks(list(places), [row.name for row in ROWS])
    left.set(xlabel="parameters (millions)", title="Table 3", xlim=(0, 230))
    middle.loglog(widths, raw, "o-", label="q · k", base=2)
    middle.loglog(widths, scaled, "s-", label="q · k / √d_k", base=2)
    middle.loglog(widths, widths, "--", color=COLOURS[-1], label="d_k", linewidth=1, base=2)
    middle.set(xlabel="d_k", ylabel="variance of a score", title="Scores of random vectors")
    for d, style in ((512, "-"), (1024, "--")):
        schedule = Noam(d_model=d)
        steps = range(100, 40_001, 100)
        rates = [1e4 * schedule.rate(n, 100_000) for n in steps]
        right.plot([n / 1000 for n in steps], rates, style, label=f"d_model {d}")
    right.axvline(4, color="#888888", linewidth=0.8)
    right.set(xlabel="step (thousands)", ylabel="learning rate × 10⁴", title="Warm-up of 4,000 steps")
    for axes in (left, middle, right):
        axes.legend(fontsize=8, frameon=False)
    notes = (
        "A shared vocabulary of 41,000 pieces instead of 37,000 gives the printed number of every row but big, which "
        "needs 36,000: so counted, no one vocabulary gives the table, and neither number is the one in the text.",
        "The count of operations takes 25,000 source and 25,000 target tokens a step, as §5.1 says, and sentences of "
        "50 tokens; the paper's own figure is what eight busy GPUs could do in the time, hence larger.",
    )
    return Reproduction(checks, picture, notes)


def scores(width: int, random: torch.Generator, keys: int = 64, draws: int = 4000) -> tuple[float, float, float, float]:
    """Variance of q · k and of q · k / √d_k; and of both softmaxes the trace of the Jacobian, Σ p (1 − p)."""
    q = torch.randn(draws, width, generator=random)
    k = torch.randn(keys, width, generator=random)
    score = q @ k.T

    def gradient(score: torch.Tensor) -> float:
        return (1 - score.softmax(dim=-1).square().sum(dim=-1)).mean().item()

    halved = score / width**0.5
    return score.var().item(), halved.var().item(), gradient(halved), gradient(score)


def _formula_is_model(counts: dict[str, int], built: dict[str, int]) -> Check:
    same = sum(counts[name] == built[name] for name in built)
    return Check(
        "The parameters of a row follow from its N, d_model, d_ff, h and d_k",
        "numbers only, no formula (table 3)",
        f"{same} of {len(built)} models that were built have exactly as many as the formula says",
        same == len(built),
    )


def _sizes(counts: dict[str, int]) -> Check:
    off = {row.name: counts[row.name] / 1e6 / row.printed - 1 for row in ROWS}
    worst = max(off, key=lambda name: abs(off[name]))
    return Check(
        "With one vocabulary of 37,000 pieces the rows have about as many parameters as printed, within 7%",
        "base 65 M, big 213 M, d_model 256 28 M (table 3)",
        f"base {counts['base'] / 1e6:.1f} M, big {counts['big'] / 1e6:.1f} M, d_model 256 {counts['d 256'] / 1e6:.1f} "
        f"M; furthest off is {worst} with {off[worst]:+.1%}",
        max(map(abs, off.values())) <= 0.07,
    )


def _differences(counts: dict[str, int]) -> Check:
    """The vocabulary drops out of what rows of one width differ by."""
    rows = (*KEYS, *DEPTHS, *INNER)
    said = [row.printed - BASE.printed for row in rows]
    mine = [(counts[row.name] - counts["base"]) / 1e6 for row in rows]
    return Check(
        "Rows of base's width differ from it by as many parameters as printed, whatever the vocabulary (to 1 M, as "
        "both numbers are rounded)",
        ", ".join(f"{row.name} {n:+d} M" for row, n in zip(rows, said, strict=True)),
        ", ".join(f"{n:+.1f} M" for n in mine),
        max(abs(a - b) for a, b in zip(said, mine, strict=True)) <= 1.0,
    )


def _one_vocabulary() -> Check:
    """Which vocabularies round to the printed number, row by row."""
    bounds = {}
    for row in ROWS:
        rest = formula(row, vocabulary=0)
        bounds[row.name] = tuple((1e6 * (row.printed + half) - rest) / row.d for half in (-0.5, 0.5))
    low, high = max(low for low, _ in bounds.values()), min(high for _, high in bounds.values())
    small = [bound for name, bound in bounds.items() if name != "big"]
    fits = f"{max(low for low, _ in small):,.0f} to {min(high for _, high in small):,.0f}"
    return Check(
        "One vocabulary gives all printed numbers to the million",
        "about 37,000 pieces, shared by source and target (§5.1)",
        f"no: all rows but big need {fits} pieces, big needs {bounds['big'][0]:,.0f} to {bounds['big'][1]:,.0f}"
        if low > high
        else f"{low:,.0f} to {high:,.0f} pieces",
        low <= 37_500 and high >= 36_500 and low <= high,
    )


def _cost() -> list[Check]:
    checks = []
    for name, printed, hours, steps, pace in (
        ("base", 3.3e18, 12, 100_000, 0.4),
        ("big", 2.3e19, 84, 300_000, 1.0),
    ):
        by_time = hours * 3600 * 8 * 9.5e12
        by_steps = steps * pace * 8 * 9.5e12
        by_model = plan(preset(f"transformer-{name}").replace(context_length=50)).training_flops * 25_000 * steps
        checks.append(
            Check(
                f"Training {name} costs {_e(printed)} FLOPs: its time on eight P100 at 9.5 TFLOP/s",
                f"{_e(printed)} (table 2); {hours} h for {steps:,} steps of {pace} s (§5.2)",
                f"{_e(by_time, 2)} by {hours} h, {_e(by_steps, 2)} by {steps:,} steps; the model's own "
                f"operations are {_e(by_model)}, {by_model / printed:.0%} of it, which is how busy the GPUs were",
                _e(by_time) == _e(printed) and 0.1 < by_model / printed < 1,
            )
        )
    return checks


def _variance(widths: list[int], raw: tuple[float, ...], scaled: tuple[float, ...]) -> Check:
    off = max(abs(value / width - 1) for value, width in zip(raw, widths, strict=True))
    return Check(
        "The variance of q · k is d_k, and dividing by √d_k makes it 1",
        "mean 0 and variance d_k for components of variance 1 (footnote 4)",
        f"d_k 16: {raw[0]:.1f}, 64: {raw[2]:.1f}, 1024: {raw[-1]:.0f}, at most {off:.0%} off; divided: "
        f"{min(scaled):.2f} to {max(scaled):.2f}",
        off < 0.1,
    )


def _gradient(widths: list[int], moved: tuple[float, ...], stuck: tuple[float, ...]) -> Check:
    return Check(
        "Undivided, large scores push the softmax to where its gradient is small; divided, width does not matter",
        "“extremely small gradients” for large d_k, suspected, no number (§3.2.1)",
        f"Σ p (1 − p) over 64 keys, d_k {widths[0]} → {widths[-1]}: undivided {stuck[0]:.2f} → {stuck[-1]:.2f}, "
        f"divided {moved[0]:.2f} → {moved[-1]:.2f}",
        stuck[-1] < 0.25 * moved[-1] and abs(moved[-1] / moved[0] - 1) < 0.05,
    )


def _rate() -> Check:
    expected, measured, holds = [], [], []
    for name, d in (("base", 512), ("big", 1024)):
        rates = [Noam(d_model=d).rate(n, 100_000) for n in range(1, 20_001)]
        peak = max(range(len(rates)), key=rates.__getitem__)
        halves = [rates[n - 1] / rates[peak] for n in (2000, 16_000)]
        expected.append((d * 4000) ** -0.5)
        measured.append(f"{name} {_e(rates[peak], 2)} at step {peak + 1:,}, {halves[0]:.0%} and {halves[1]:.0%} of it")
        holds.append(peak + 1 == 4000 and all(abs(n - 0.5) < 1e-9 for n in halves))
        holds.append(abs(rates[peak] / expected[-1] - 1) < 1e-9)
    return Check(
        "The learning rate rises in a line to step 4,000, then falls with the root of the step: a half of its peak at "
        "steps 2,000 and 16,000",
        f"formula only (eq. 3), by which the peaks are {_e(expected[0], 2)} and {_e(expected[1], 2)}",
        "; ".join(measured),
        all(holds),
    )


def _e(number: float, digits: int = 1) -> str:
    """A number as the paper writes it: 3.3e18."""
    digits_, _, power = f"{number:.{digits}e}".partition("e")
    return f"{digits_}e{int(power)}"
