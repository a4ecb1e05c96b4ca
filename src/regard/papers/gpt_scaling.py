"""A model's shape gives its parameters and its cost, and shows where a published table contradicts itself.

    a classical layer    4 d² attention + 8 d² feed-forward: two thirds are feed-forward
    a Llama's layer      2 d² (1 + g / h) attention + 3 d f feed-forward: more than two thirds where g < h
    all of GPT           L · 12 d² + (V + T) d, of which the embedding takes the larger part the smaller the model
    training             6 N FLOPs a token; time = FLOPs / (GPUs × peak × share of the peak that is reached)

Source   Geva et al. 2021, arXiv:2012.14913, abstract (two thirds); Brown et al. 2020, arXiv:2005.14165, tables 2.1
         and D.1; Touvron et al. 2023, arXiv:2307.09288, tables 1 and 2; Karpathy 2023, Intro to Large Language Models,
         a talk.
Printed  shapes and parameters of eight GPT-3 with 300 B tokens each; for Llama 2 70B: 2.0 T tokens, 1,720,320 hours of
         an A100; and, as the talk rounds it, 140 GB, 10 TB of text, 6,000 GPUs, 12 days, 1e24 FLOPs, 2 M$.
Here     presets and GPT-3's rows are built on the meta device and counted; the rest is `regard.planning`'s arithmetic.
Proxy    nothing is trained; bytes a token (4 to 5) and the price of a GPU hour (1 to 1.5 $) are assumed, and 312
         TFLOP/s is an A100's peak in bfloat16.
"""

from __future__ import annotations

from typing import NamedTuple

from regard.model.presets import PRESETS, preset
from regard.papers.base import Check, Reproduction
from regard.papers.tools import panels
from regard.planning import Plan, plan

CLASSICAL = ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "bert-base", "bert-large")
LLAMAS = ("llama2-7b", "llama2-13b", "llama2-70b")
TOKENS = 300e9


class Row(NamedTuple):
    """A row of GPT-3's table 2.1, with the parameters in millions and the FLOPs that table D.1 prints for it."""

    name: str
    printed: str
    layers: int
    d: int
    heads: int
    head_dim: int
    millions: float
    flops: float


ROWS = (
    Row("Small", "125M", 12, 768, 12, 64, 125, 2.25e20),
    Row("Medium", "350M", 24, 1024, 16, 64, 356, 6.41e20),
    Row("Large", "760M", 24, 1536, 16, 96, 760, 1.37e21),
    Row("XL", "1.3B", 24, 2048, 24, 128, 1320, 2.38e21),
    Row("2.7B", "2.7B", 32, 2560, 32, 80, 2650, 4.77e21),
    Row("6.7B", "6.7B", 32, 4096, 32, 128, 6660, 1.20e22),
    Row("13B", "13.0B", 40, 5140, 40, 128, 12_850, 2.31e22),
    Row("175B", "175.0B", 96, 12_288, 96, 128, 174_600, 3.14e23),
)


def count(row: Row) -> int:
    """The parameters of a row as GPT-2's architecture has them: learned positions, biases, a tied head."""
    base = preset("gpt2")
    assert base.decoder is not None
    sizes = {"d_model": row.d, "n_heads": row.heads, "head_dim": row.head_dim, "context_length": 2048}
    return plan(base.replace(decoder=base.decoder.replace(n_layers=row.layers), **sizes)).total


def reproduce(seed: int = 0) -> Reproduction:
    plans = {name: plan(PRESETS[name].config) for name in (*CLASSICAL, *LLAMAS)}
    of_layer = {name: next(iter(each.feedforward_of_layer.values())) for name, each in plans.items()}
    of_model = {name: each.parameters["feed-forward"] / each.total for name, each in plans.items()}
    counts = {row.name: count(row) for row in ROWS}
    torn = {row.name for row in ROWS if row.heads * row.head_dim != row.d}
    checks = (
        *_shares(of_layer, of_model),
        _heads_fill(torn),
        _parameters(counts, torn),
        _decided(),
        _flops(),
        *_llama(plans["llama2-70b"]),
    )

    picture, (left, right) = panels(2, width=10.0, height=3.8)
    places = list(range(len(plans)))
    left.barh([place + 0.2 for place in places], [100 * of_layer[name] for name in plans], 0.4, label="of a layer")
    left.barh([place - 0.2 for place in places], [100 * of_model[name] for name in plans], 0.4, label="of the model")
    left.axvline(200 / 3, color="black", linestyle="--", linewidth=1, label="two thirds")
    left.set_yticks(places, list(plans))
    left.set(xlabel="feed-forward share of parameters (%)", title="Where the parameters are", xlim=(0, 100))
    left.legend(fontsize=8, frameon=False, loc="lower right")
    sizes = [row.millions / 1e3 for row in ROWS]
    right.plot(sizes, [row.d for row in ROWS], "o-", label="d_model", markersize=5)
    right.plot(sizes, [row.heads * row.head_dim for row in ROWS], "s--", label="n_heads × d_head", markersize=5)
    for row in ROWS:
        if row.name in torn:
            text = f"{row.name}: {row.d} and {row.heads * row.head_dim}"
            right.annotate(text, (row.millions / 1e3, row.d), (8, -12), textcoords="offset points", fontsize=8)
    right.set(xscale="log", yscale="log", xlabel="parameters (billions)", ylabel="width", title="GPT-3, table 2.1")
    right.legend(fontsize=8, frameon=False)
    notes = (
        "GPT-3 XL's heads are 24 × 128 = 3072 wide in a model of 2048, and 13B's 40 × 128 = 5120 in one of 5140. Table "
        "D.1 decides: XL's heads fill 2048, as 16 of 128 do, and 13B has a d_model of 5120.",
    )
    return Reproduction(checks, picture, notes)


def _shares(of_layer: dict[str, float], of_model: dict[str, float]) -> list[Check]:
    def said(shares: dict[str, float], names: tuple[str, ...]) -> str:
        return ", ".join(f"{name} {shares[name]:.1%}" for name in names)

    gpts = CLASSICAL[:4]
    rising = [of_model[name] for name in gpts]
    return [
        Check(
            "Two thirds of a classical layer's parameters are its feed-forward part",
            "“two-thirds of a transformer model's parameters” (abstract of arXiv:2012.14913)",
            said(of_layer, CLASSICAL),
            all(abs(of_layer[name] - 2 / 3) < 0.005 for name in CLASSICAL),
        ),
        Check(
            "Of a small model it is less, as the embedding takes part, and the share rises with size",
            "no number",
            said(of_model, gpts),
            rising == sorted(rising) and rising[0] < 0.5 and rising[-1] < 2 / 3,
        ),
        Check(
            "Of a Llama's layer it is more, by far where heads share keys and values",
            "shapes only (table 1): 64 heads share 8 in 70B; d_ff as published with the weights",
            said(of_layer, LLAMAS),
            all(of_layer[name] > max(of_layer[other] for other in CLASSICAL) for name in LLAMAS)
            and of_layer["llama2-70b"] > 0.8,
        ),
    ]


def _heads_fill(torn: set[str]) -> Check:
    rows = {row.name: row for row in ROWS}
    wrong = [
        f"{name}: {rows[name].heads} × {rows[name].head_dim} = {rows[name].heads * rows[name].head_dim} against "
        f"{rows[name].d}"
        for name in rows
        if name in torn
    ]
    return Check(
        "The heads of every GPT-3 are together as wide as the model",
        "n_heads, d_head and d_model of eight rows (table 2.1)",
        f"{len(ROWS) - len(torn)} of {len(ROWS)} rows; " + "; ".join(wrong),
        not torn,
    )


def _parameters(counts: dict[str, int], torn: set[str]) -> Check:
    sound = [row for row in ROWS if row.name not in torn]
    off = {row.name: counts[row.name] / 1e6 / row.millions - 1 for row in ROWS}
    worst = max((abs(off[row.name]) for row in sound), default=1.0)
    return Check(
        "The rows that agree with themselves have the printed number of parameters",
        ", ".join(f"{row.name} {row.millions:,.0f} M" for row in sound) + " (table D.1)",
        ", ".join(f"{row.name} {counts[row.name] / 1e6:,.1f} M" for row in sound) + f"; at most {worst:.1%} off",
        worst < 0.005,
    )


def _decided() -> Check:
    """What the two torn rows count to under each reading of them."""
    rows = {row.name: row for row in ROWS}
    xl, large = rows["XL"], rows["13B"]
    readings = {
        "XL as printed": (count(xl), xl.millions),
        "XL with 16 heads": (count(xl._replace(heads=16)), xl.millions),
        "13B as printed": (count(large), large.millions),
        "13B with d_model 5120": (count(large._replace(d=5120)), large.millions),
    }
    fits = {name: abs(got / 1e6 / printed - 1) < 0.005 for name, (got, printed) in readings.items()}
    return Check(
        "The parameters in table D.1 say which of the contradicting numbers is wrong: XL's 24 heads, and 13B's 5140",
        f"XL {xl.millions:,.0f} M, 13B {large.millions:,.0f} M (table D.1)",
        ", ".join(f"{name} {got / 1e6:,.0f} M" for name, (got, _) in readings.items()),
        list(fits.values()) == [False, True, False, True],
    )


def _flops() -> Check:
    off = max(abs(6 * 1e6 * row.millions * TOKENS / row.flops - 1) for row in ROWS)
    return Check(
        "Training costs 6 FLOPs a parameter and token, without attention's scores",
        ", ".join(f"{row.name} {_e(row.flops)}" for row in (ROWS[0], ROWS[-1])) + " FLOPs for 300 B tokens (table D.1)",
        f"6 N · 300 B: {', '.join(_e(6e6 * row.millions * TOKENS) for row in (ROWS[0], ROWS[-1]))}; over all rows at "
        f"most {off:.1%} off",
        off < 0.005,
    )


def _llama(cost: Plan) -> list[Check]:
    tokens, hours = 2.0e12, 6000 * 12 * 24
    flops = 6 * cost.total * tokens
    full = cost.training_flops * tokens
    reached = flops / (hours * 3600) / 312e12
    return [
        Check(
            "Llama 2 70B is a file of 140 GB",
            "140 GB, two bytes a parameter (talk)",
            f"{cost.total:,} parameters, {cost.weight_bytes('bfloat16') / 1e9:.1f} GB in bfloat16",
            abs(cost.weight_bytes("bfloat16") / 140e9 - 1) < 0.02,
        ),
        Check(
            "It read about 10 TB of text",
            "10 TB (talk); 2.0 T tokens (table 1)",
            f"{tokens * 4 / 1e12:.0f} to {tokens * 5 / 1e12:.0f} TB at 4 to 5 bytes a token",
            tokens * 4 <= 10e12 <= tokens * 5,
        ),
        Check(
            "6,000 GPUs for 12 days are the hours that its authors report",
            "6,000 GPUs, 12 days (talk); 1,720,320 hours (table 2)",
            f"{hours:,} hours, {hours / 1_720_320 - 1:+.1%}",
            abs(hours / 1_720_320 - 1) < 0.02,
        ),
        Check(
            "Training cost about 1e24 FLOPs, which those hours can give",
            "1e24 (talk)",
            f"{_e(flops)} by 6 N, {_e(full)} with attention over all of 4,096 tokens; 6 N is {reached:.0%} of the peak "
            "of 312 TFLOP/s",
            0.5e24 < flops < 2e24 and 0.2 < reached < 0.6,
        ),
        Check(
            "It cost about 2 M$",
            "2 M$ (talk)",
            f"{hours * 1.0 / 1e6:.1f} to {hours * 1.5 / 1e6:.1f} M$ at 1 to 1.5 $ an hour",
            hours * 1.0 <= 2e6 <= hours * 1.5,
        ),
    ]


def _e(number: float) -> str:
    """3.14e23."""
    return f"{number:.2e}".replace("e+", "e")
