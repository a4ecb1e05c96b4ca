"""Where the norm stands decides whether a Transformer needs a warm-up: at the start, gradients near the output of
Post-LN are large whatever the depth, and those of Pre-LN shrink with its root.

    ‖∂L/∂W‖ of the last feed-forward      Post-LN O(d √(ln d)),  Pre-LN O(d √(ln d / N))
    E‖x‖² / d of layer l                  Post-LN 3/2 before its second norm,  Pre-LN from 1 + l/2 to 1 + 3l/2

Source   Xiong et al. 2020, arXiv:2002.04745, §3.2–3.3, theorem 1, lemma 2, figures 2 and 3.
Printed  translation, IWSLT-14 German to English, 6 + 6 layers, Adam: Post-LN reaches 8.45 BLEU without warm-up, about
         34 with it; Pre-LN without warm-up does as well. Gradients by depth and by layer are curves without numbers.
Here     gradients and sizes are those of encoder–decoders of the theorem's kind (Xavier, d_ff = d) on random tokens;
         decoders of 6 layers learn to write six letters backwards at a rate of 0.006.
Proxy    letters for German, a loss for BLEU, a decoder of width 64 for an encoder–decoder of 512, hundreds of steps for
         tens of thousands, and a rate that is high for this model instead of the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from regard.data.synthetic import TaskBatches
from regard.model import ModelConfig, Transformer
from regard.papers.base import Check, Reproduction
from regard.papers.tools import accuracy, panels, task_loss, train
from regard.seeds import derive_seed
from regard.training.schedules import Constant

DEPTHS = (4, 8, 16, 32)
NAMES = {"post": "Post-LN", "pre": "Pre-LN", "resi_dual": "ResiDual"}
VOCABULARY, WIDTH, LENGTH = 64, 64, 16
SYMBOLS, LETTERS, STEPS = 8, 6, 240

BLIND = LETTERS / (LETTERS + 1) * math.log(SYMBOLS)
"""The loss of one who knows where the answer ends, and none of its letters."""


def build(
    residual: str, depth: int, seed: int, vocab_size: int = VOCABULARY, encoder: bool = True, wider: int = 1
) -> Transformer:
    """A Transformer whose tokens enter with variance one, as the theory has them."""
    stack = {"n_layers": depth, "residual": residual, "position": "sinusoidal"}
    settings = {
        "vocab_size": vocab_size,
        "d_model": WIDTH,
        "n_heads": 4,
        "d_ff": wider * WIDTH,
        "context_length": 2 * LENGTH,
        "input": {"kind": "tokens", "scale": "sqrt_d_model"},
        "initialisation": "xavier",
        "encoder": stack if encoder else None,
        "decoder": stack,
    }
    return Transformer(ModelConfig.from_dict(settings), seed)


def layers(model: Transformer, stack: Literal["encoder", "decoder"] = "decoder") -> list[Any]:
    """The blocks of a stack."""
    return list(getattr(model, stack).layers)


def gradients(residual: str, depth: int, seed: int, models: int = 6) -> list[float]:
    """At the start: the norm of the gradient of each decoder layer's last matrix, the mean of some models."""
    total = torch.zeros(depth)
    for number in range(models):
        model = build(residual, depth, derive_seed(seed, "model", number))
        random = torch.Generator().manual_seed(derive_seed(seed, "tokens", number))
        target = torch.randint(VOCABULARY, (8, LENGTH + 1), generator=random)
        source = torch.randint(VOCABULARY, (8, LENGTH), generator=random)
        loss = model(target[:, :-1], target[:, 1:], source=source)
        (loss.objective / loss.target_count).backward()
        total += torch.stack([layer.feedforward.down.matrix().grad.norm() for layer in layers(model)])
    return (total / models).tolist()


@torch.no_grad()
def sizes(residual: str, depth: int, seed: int, models: int = 16) -> list[float]:
    """E‖x‖² / d of what each layer of an encoder gives on: of Post-LN, before its second norm."""
    total = torch.zeros(depth)
    for number in range(models):
        model = build(residual, depth, derive_seed(seed, "model", number))
        found: list[Tensor] = []
        for block in layers(model, "encoder"):
            if residual == "post":
                block.residual.norms[1].register_forward_pre_hook(lambda norm, args, to=found: to.append(args[0]))
            else:
                block.register_forward_hook(lambda block, args, y, to=found: to.append(y))
        random = torch.Generator().manual_seed(derive_seed(seed, "tokens", number))
        model.encode(torch.randint(VOCABULARY, (8, LENGTH), generator=random))
        total += torch.stack([x.square().mean() for x in found])
    return (total / models).tolist()


def learn(
    residual: str, depth: int, rate: float, warmup: int, seed: int, steps: int = STEPS
) -> tuple[Transformer, list[float], float]:
    """A decoder that was trained to write letters backwards, its losses, and the share it gets right of new ones."""
    batches = TaskBatches("reverse", 16, symbols=SYMBOLS, lengths=(LETTERS, LETTERS), seed=seed)
    model = build(residual, depth, seed, batches.vocab_size, encoder=False, wider=2)
    losses = train(model, task_loss(model, batches), steps, schedule=Constant(learning_rate=rate, warmup=warmup))
    new = TaskBatches("reverse", 200, symbols=SYMBOLS, lengths=(LETTERS, LETTERS), seed=seed + 1).at(0)
    return model, losses, accuracy(model, new)


def end(losses: Sequence[float]) -> float:
    """The mean loss of the last twenty steps."""
    return sum(losses[-20:]) / 20


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """The power of x that y grows with: a straight line through logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def smooth(losses: Sequence[float], over: int = 10) -> list[float]:
    """The mean of each step and those before it, of `over` at most."""
    return [sum(part) / len(part) for part in (losses[max(0, n - over + 1) : n + 1] for n in range(len(losses)))]


def reproduce(seed: int = 0) -> Reproduction:
    norms = {kind: {depth: gradients(kind, depth, seed) for depth in (*DEPTHS, 6)} for kind in ("post", "pre")}
    last = {kind: [norms[kind][depth][-1] for depth in DEPTHS] for kind in norms}
    scale = {kind: sizes(kind, 16, seed) for kind in norms}
    runs = {
        "Post-LN": learn("post", 6, 6e-3, 0, seed)[1:],
        "Post-LN, warm-up of 120 steps": learn("post", 6, 6e-3, 120, seed)[1:],
        "Pre-LN": learn("pre", 6, 6e-3, 0, seed)[1:],
    }
    checks = (
        _depth(last),
        _layers({kind: norms[kind][6] for kind in norms}),
        _scale(scale),
        _warmup(runs),
        _without(runs),
    )

    picture, (left, middle, right) = panels(3, width=11.0)
    for kind, mark in zip(norms, ("o-", "s-"), strict=True):
        left.loglog(DEPTHS, last[kind], mark, label=NAMES[kind], base=2)
        middle.plot(range(1, 7), norms[kind][6], mark, label=NAMES[kind])
    guide = [last["pre"][0] * (depth / DEPTHS[0]) ** -0.5 for depth in DEPTHS]
    left.loglog(DEPTHS, guide, "k--", linewidth=1, label="1 / √N", base=2)
    left.set(xlabel="layers N", ylabel="norm of the gradient", title="Last feed-forward, at the start")
    middle.set(xlabel="layer of the decoder", ylabel="norm of the gradient", ylim=(0, None), title="6 + 6 layers")
    for (name, (losses, _)), style in zip(runs.items(), ("-", "--", "-"), strict=True):
        right.plot(smooth(losses), style, label=name)
    right.axhline(BLIND, color="#888888", linewidth=0.8)
    right.set(xlabel="step", ylabel="loss (nats a token)", ylim=(0, 3), title="At a rate of 0.006")
    for axes in (left, middle, right):
        axes.legend(fontsize=8, frameon=False)
    notes = (
        "The grey line is the loss of one who knows where the answer ends and none of its letters; a run that ends "
        "above it has stalled, one below half of it has learnt.",
        "That Post-LN's gradient falls towards the input needs a decoder with cross-attention, a third step a layer: "
        "in a decoder or an encoder alone it is about level at the start.",
    )
    return Reproduction(checks, picture, notes)


def _depth(last: dict[str, list[float]]) -> Check:
    powers = {kind: slope(DEPTHS, values) for kind, values in last.items()}
    said = "; ".join(
        f"{NAMES[kind]} {', '.join(f'{value:.2f}' for value in values)}, N^{powers[kind]:.2f}"
        for kind, values in last.items()
    )
    return Check(
        "At the start the gradient of the last feed-forward is as large in deep Post-LN as in shallow, and falls as "
        "1/√N in Pre-LN",
        "O(d √(ln d)) and O(d √(ln d / N)) (theorem 1); curves for 6 to 14 layers (figure 3)",
        f"{', '.join(map(str, DEPTHS))} layers: {said}",
        abs(powers["post"]) < 0.15 and abs(powers["pre"] + 0.5) < 0.2,
    )


def _layers(of: dict[str, list[float]]) -> Check:
    ratios = {kind: values[-1] / values[0] for kind, values in of.items()}
    return Check(
        "In a decoder of 6 layers, Post-LN's gradient grows from the first layer to the last, and Pre-LN's stays about "
        "the same",
        "curves without numbers (figure 3)",
        "last over first: " + ", ".join(f"{NAMES[kind]} {ratio:.1f}" for kind, ratio in ratios.items()),
        ratios["post"] > 2 and 0.5 < ratios["pre"] < 2,
    )


def _scale(of: dict[str, list[float]]) -> Check:
    within = [1 + n / 2 <= size <= 1 + 3 * n / 2 for n, size in enumerate(of["pre"], start=1)]
    off = max(abs(size - 1.5) for size in of["post"])
    return Check(
        "At the start the square of Post-LN's stream is 3/2 a feature before the second norm of every layer, and "
        "Pre-LN's grows in a line with depth",
        "3/2, and from 1 + l/2 to 1 + 3l/2 after layer l (lemma 2)",
        f"{min(of['post']):.2f} to {max(of['post']):.2f}; Pre-LN 4: {of['pre'][3]:.1f}, 8: {of['pre'][7]:.1f}, 16: "
        f"{of['pre'][15]:.1f}, within the bounds in {sum(within)} of {len(within)} layers",
        off < 0.2 and all(within),
    )


def _said(run: tuple[list[float], float]) -> str:
    return f"loss {end(run[0]):.2f}, {run[1]:.0%} right"


def _warmup(runs: dict[str, tuple[list[float], float]]) -> Check:
    (name, without), (_, warmed) = list(runs.items())[:2]
    return Check(
        f"At a high rate {name} stalls without warm-up, and learns with it",
        "8.45 BLEU without, about 34 with (§3.1, Adam, IWSLT-14 German to English)",
        f"after {STEPS} steps without {_said(without)}, with {_said(warmed)}; blind {BLIND:.2f}",
        end(without[0]) > 0.95 * BLIND and end(warmed[0]) < 0.5 * BLIND,
    )


def _without(runs: dict[str, tuple[list[float], float]]) -> Check:
    _, warmed, pre = runs.values()
    return Check(
        "Pre-LN needs no warm-up: at the same rate it learns from the first step on, at least as fast as Post-LN with "
        "one",
        "as good as with a warm-up, and sooner (§4, curves)",
        f"Pre-LN {_said(pre)}; Post-LN with warm-up {_said(warmed)}",
        end(pre[0]) < 0.5 * BLIND and end(pre[0]) < end(warmed[0]),
    )
