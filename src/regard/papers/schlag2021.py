"""A linear memory holds as many pairs as its keys have features; to give a key another value takes the delta rule.

    sum rule     W_t = W_{t−1} + v_t φ(k_t)ᵀ
    delta rule   W_t = W_{t−1} + β_t (v_t − W_{t−1} φ(k_t)) φ(k_t)ᵀ

Source   Schlag, Irie & Schmidhuber 2021, arXiv:2102.11174, §4.1–4.2, §6.1 and figures 2 and 3.
Printed  setting 1: keys of 64 numbers, 20 to 600 pairs of unique keys; linear attention (64 features) fails from about
         60 pairs on, DPFP with 128, 256 and 384 features later, in this order, softmax never (figure 2). Setting 2:
         40 pairs over 20 keys, so that keys are assigned again: the delta rule reaches nearly zero, the sum rule does
         not (figure 3). Both are curves, without numbers.
Here     setting 1: the keys and queries of S symbols are learnt so that each recalls its own value among all, values
         being one-hot; the share of a value's square that is missed is counted. Setting 2: the same lengths, the delta
         rule with its learned β beside the sum rule with and without a normaliser, φ = DPFP of ν = 1.
Proxy    up to 300 pairs, and some hundred steps for "until convergence"; keys and queries are tables, which in the
         paper are linear maps of embeddings. Translation and language modelling stay unchecked.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attention import scan
from regard.attention.dpfp import dpfp
from regard.attention.linear import elu1
from regard.attention.recurrent import divided
from regard.papers.base import Check, Reproduction
from regard.papers.tools import MARKERS, one_core, panels, train
from regard.training.schedules import Cosine

SIZE = 64
PAIRS = (20, 40, 60, 80, 120, 160, 200, 300)
MAPS: dict[str, tuple[int, Callable[[Tensor], Tensor] | None]] = {
    "linear": (64, elu1),
    "DPFP, ν = 1": (128, lambda x: dpfp(x, 1)),
    "DPFP, ν = 2": (256, lambda x: dpfp(x, 2)),
    "softmax": (0, None),
}
KEYS, LENGTH, BATCH = 20, 40, 32


def missed(pairs: int, map_: Callable[[Tensor], Tensor] | None, seed: int, steps: int = 200) -> float:
    """Setting 1: what S pairs fail to recall once keys and queries are learnt; 0: all is there, 1: nothing is."""
    torch.manual_seed(seed)
    model = nn.ParameterDict({name: torch.randn(pairs, SIZE) for name in ("q", "k")})
    values = torch.eye(pairs)

    def loss(step: int) -> Tensor:
        if map_ is None:
            weights = (model["q"] @ model["k"].T / SIZE**0.5).softmax(-1)
        else:
            scores = map_(model["q"]) @ map_(model["k"]).T
            weights = divided(scores, scores.sum(-1, keepdim=True))
        return (weights @ values - values).square().sum(-1).mean()

    return min(train(model, loss, steps, schedule=Cosine(learning_rate=1.0, warmup=10)))


class Store(nn.Module):
    """Setting 2: writes pairs, then recalls the newest value of one key. Values are fixed and of length 1."""

    def __init__(self, rule: str) -> None:
        super().__init__()
        self.rule = rule
        self.k, self.q = nn.Embedding(KEYS, SIZE), nn.Embedding(KEYS, SIZE)
        self.v = nn.Parameter(F.normalize(torch.randn(KEYS, SIZE), dim=-1), requires_grad=False)
        self.beta = nn.Linear(2 * SIZE, 1)

    def forward(self, keys: Tensor, values: Tensor, asked: Tensor) -> Tensor:
        """keys, values [b t], asked [b] → the value recalled [b e]."""
        k, q = dpfp(self.k(keys), 1)[:, None], dpfp(self.q(asked), 1)[:, None, None]
        v = self.v[values]
        if self.rule == "delta":
            beta = self.beta(torch.cat([self.k(keys), v], -1)).sigmoid().transpose(1, 2)
            k, q = (divided(x, x.sum(-1, keepdim=True)) for x in (k, q))
            return (q @ scan.deltas(k, k, v[:, None], beta, chunk=LENGTH)[1])[:, 0, 0]
        if self.rule == "sum":
            k, q = (divided(x, x.sum(-1, keepdim=True)) for x in (k, q))
        state = k.mT @ F.pad(v, (0, 1), value=1.0)[:, None]
        y = q @ state
        return (divided(y[..., :-1], y[..., -1:]) if self.rule == "sum, normalised" else y[..., :-1])[:, 0, 0]


def learn(rule: str, seed: int, steps: int = 400) -> list[float]:
    """The loss by step: the square of what is missed, of a value of length 1."""
    torch.manual_seed(seed)
    model = Store(rule)
    random = torch.Generator().manual_seed(seed)

    def loss(step: int) -> Tensor:
        keys, values = torch.randint(KEYS, (2, BATCH, LENGTH), generator=random)
        asked = keys[:, -1:].clone()
        asked[:, 0] = keys.gather(1, torch.randint(LENGTH, (BATCH, 1), generator=random))[:, 0]
        newest = (torch.arange(LENGTH) * (keys == asked)).argmax(-1, keepdim=True)
        wanted = model.v[values.gather(1, newest)[:, 0]]
        return (model(keys, values, asked[:, 0]) - wanted).square().sum(-1).mean()

    return train(model, loss, steps, schedule=Cosine(learning_rate=0.03, warmup=20))


def reproduce(seed: int = 0) -> Reproduction:
    with one_core():  # many small products: a second thread would mostly wait
        lost = {name: [missed(pairs, map_, seed) for pairs in PAIRS] for name, (_, map_) in MAPS.items()}
        curves = {rule: learn(rule, seed) for rule in ("delta", "sum", "sum, normalised")}
    least = {name: [max(0.0, 1 - size / n) if size else 0.0 for n in PAIRS] for name, (size, _) in MAPS.items()}
    over = [a - b for name in MAPS for a, b in zip(lost[name], least[name], strict=True)]
    held = {name: max((n for n, e in zip(PAIRS, lost[name], strict=True) if e < 0.1), default=0) for name in MAPS}
    last = {rule: sum(losses[-20:]) / 20 for rule, losses in curves.items()}
    few, many = (lost["linear"][PAIRS.index(n)] for n in (40, 80))
    checks = (
        Check(
            "Linear attention with keys of 64 numbers begins to fail at about 60 pairs",
            "up to 60 pairs, if keys are learnt (§6.1, figure 2)",
            "missed: " + ", ".join(f"{e:.3f} with {n}" for n, e in zip(PAIRS, lost["linear"], strict=True)),
            few < 0.05 and many > 0.1,
        ),
        Check(
            "The more features, the more pairs are held: linear, then DPFP of ν = 1, then of ν = 2, then softmax",
            "64, 128 and 256 features, and no limit (figure 2)",
            "at most a tenth missed up to " + ", ".join(f"{n} pairs ({name})" for name, n in held.items()),
            held["linear"] < held["DPFP, ν = 1"] < held["DPFP, ν = 2"] <= held["softmax"] == PAIRS[-1],
        ),
        Check(
            "What is missed is what f features must miss: (S − f)/S of S one-hot values",
            "no more than f orthogonal keys in f features (§4.1); the share follows from the rank",
            f"missed above that: {min(over):.2f} to {max(over):.2f}, over {len(MAPS)} maps and {len(PAIRS)} sizes",
            min(over) > -1e-4 and max(over) < 0.2,
        ),
        Check(
            "Where keys are assigned again, the delta rule learns to recall the newest value",
            "loss nearly zero (figure 3)",
            f"square of what is missed, of a value of length 1: {last['delta']:.4f} after {len(curves['delta'])} steps",
            last["delta"] < 0.02,
        ),
        Check(
            "and the sum rule does not, with a normaliser or without",
            "loss stays high (figure 3)",
            f"{last['sum']:.2f} without, {last['sum, normalised']:.2f} with",
            min(last["sum"], last["sum, normalised"]) > 0.3,
        ),
    )

    picture, (left, right) = panels(2, width=9.0, height=3.6)
    for name, marker in zip(MAPS, MARKERS, strict=False):
        size = MAPS[name][0]
        drawn = left.plot(PAIRS, lost[name], marker, label=f"{name} ({size} features)" if size else name, markersize=5)
        left.plot(PAIRS, least[name], "-", color=drawn[0].get_color(), linewidth=0.8)
    left.set(xlabel="pairs stored", ylabel="missed, of a value's square", title="Capacity (lines: the least possible)")
    for (rule, losses), style in zip(curves.items(), ("-", "--", ":"), strict=True):
        smooth = [sum(losses[max(0, i - 9) : i + 1]) / min(i + 1, 10) for i in range(len(losses))]
        right.semilogy(smooth, style, label=rule)
    right.set(xlabel="step", ylabel="missed, of a value's square", title="40 pairs over 20 keys: the newest value")
    for axes in (left, right):
        axes.legend(fontsize=8, frameon=False)
    return Reproduction(checks, picture)
