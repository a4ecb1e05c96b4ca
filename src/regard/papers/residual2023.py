"""Two residual streams: one keeps deep layers apart as in Post-LN, the other keeps the gradient alive as in Pre-LN.

    what block k + 1 reads beside what block k read, a feature        Pre-LN O(1 / √k),  Post-LN and ResiDual O(1)
    gradient of block k of K                                          Post-LN O(2^(−(K−k)/2)),  ResiDual bounded below

Source   Xie et al. 2023, arXiv:2304.14802: the analysis of gradients and of representations, and the study of warm-up.
Printed  translation, IWSLT-14, 12 + 12 layers, BLEU: without warm-up Post-LN fails, Pre-LN 31.82, ResiDual 35.57; with
         it Post-LN fails, Pre-LN 35.18, ResiDual 36.09.
Here     gradients are those of encoder–decoders of 18 + 18 layers, and what blocks read is that of decoders of 32, at
         the start (Xavier, d_ff = d); decoders of 12 layers learn to write six letters backwards, without warm-up.
Proxy    letters for German, a loss for BLEU, a decoder of width 64 for an encoder–decoder of 256, hundreds of steps for
         tens of thousands; that ResiDual ends better than Pre-LN is not checked: both learn this task.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from regard.data.batches import Batch
from regard.data.synthetic import TaskBatches
from regard.model import Transformer
from regard.papers.base import Check, Reproduction
from regard.papers.tools import panels
from regard.papers.xiong2020 import (
    BLIND,
    LENGTH,
    LETTERS,
    NAMES,
    SYMBOLS,
    VOCABULARY,
    build,
    end,
    gradients,
    layers,
    learn,
    slope,
    smooth,
)
from regard.seeds import derive_seed

KINDS = ("post", "pre", "resi_dual")
DEPTH, DEEPER, STEPS = 12, 32, 200


@torch.no_grad()
def read(model: Transformer, inputs: Tensor) -> list[Float[Tensor, "n d"]]:
    """What the blocks of a decoder read, in order: what its norms give, but for the first block of Post-LN."""
    found: list[Tensor] = []
    hooks = [
        norm.register_forward_hook(lambda module, args, y: found.append(y.flatten(0, 1)))
        for layer in layers(model)
        for norm in layer.residual.norms
    ]
    model(inputs)
    for hook in hooks:
        hook.remove()
    return found


def apart(model: Transformer, inputs: Tensor) -> list[float]:
    """How far what a block reads is from what the one before it read: the mean over features."""
    return [(one - other).abs().mean().item() for one, other in pairwise(read(model, inputs))]


def alike(model: Transformer, inputs: Tensor) -> list[float]:
    """The cosine of what neighbouring blocks read: the mean over tokens. It forgets how large they are."""
    return [torch.cosine_similarity(one, other, dim=-1).mean().item() for one, other in pairwise(read(model, inputs))]


def alive(model: Transformer, batch: Batch) -> float:
    """The norm of the gradient of the first layer's last matrix, as a share of that of the last layer's."""
    ends = [layers(model)[layer].feedforward.down.matrix() for layer in (0, -1)]
    first, last = torch.autograd.grad(model(batch.inputs, batch.targets).objective, ends)
    return (first.norm() / last.norm()).item()


def late(values: list[float]) -> float:
    """The mean of the last third."""
    part = values[-(len(values) // 3) :]
    return sum(part) / len(part)


def reproduce(seed: int = 0) -> Reproduction:
    norms = {kind: gradients(kind, 18, seed, models=2) for kind in KINDS}
    random = torch.Generator().manual_seed(derive_seed(seed, "read"))
    ids = torch.randint(VOCABULARY, (16, LENGTH), generator=random)
    steps = {kind: apart(build(kind, DEEPER, seed, encoder=False), ids) for kind in KINDS}
    runs = {kind: learn(kind, DEPTH, 3e-3, 0, seed, STEPS) for kind in KINDS}
    new = TaskBatches("reverse", 64, symbols=SYMBOLS, lengths=(LETTERS, LETTERS), seed=seed + 2).at(0)
    cosines = {kind: alike(model.eval(), new.inputs) for kind, (model, *_) in runs.items()}
    checks = (
        _gradient(norms),
        _collapse(steps),
        _trained({kind: late(values) for kind, values in cosines.items()}),
        _warmup({kind: (losses, right) for kind, (_, losses, right) in runs.items()}),
    )

    picture, axes = panels(4, width=13.0)
    for kind, mark in zip(KINDS, ("o-", "s--", "^-"), strict=True):
        more: dict[str, Any] = {"label": NAMES[kind], "markersize": 3}
        axes[0].semilogy(range(1, 19), norms[kind], mark, **more)
        axes[1].loglog(range(1, len(steps[kind]) + 1), steps[kind], mark, **more)
        axes[2].plot(range(1, len(cosines[kind]) + 1), cosines[kind], mark, **more)
        axes[3].plot(smooth(runs[kind][1]), mark[1:], label=NAMES[kind])
    blocks = range(1, 2 * DEEPER)
    axes[1].loglog(blocks, [0.8 / k**0.5 for k in blocks], "k:", linewidth=1, label="0.8 / √k")
    axes[0].set(xlabel="layer of the decoder", ylabel="norm of the gradient", title="18 + 18 layers, at the start")
    axes[1].set(xlabel="block k", ylabel="change of what is read", title="32 layers, at the start")
    axes[2].set(xlabel="block", ylabel="cosine with the one before", title="12 layers, trained")
    axes[3].set(xlabel="step", ylabel="loss (nats a token)", ylim=(0, 3), title="12 layers, no warm-up")
    for each in axes:
        each.legend(fontsize=7, frameon=False)
    notes = (
        "In the second picture Post-LN and ResiDual lie on each other: ResiDual's first stream is Post-LN's.",
        "That Post-LN's gradient dies towards the input needs a decoder with cross-attention: at the start it is about "
        "level in a decoder alone. There it dies as the run fails: at its end the first layer's is "
        f"{alive(runs['post'][0], new):.0e} of the last one's, and in ResiDual {alive(runs['resi_dual'][0], new):.2g}.",
        f"A loss of {BLIND:.2f} is that of one who knows where the answer ends and none of its letters; a run that "
        "ends above it has failed, one below half of it has learnt.",
    )
    return Reproduction(checks, picture, notes)


def _gradient(norms: dict[str, list[float]]) -> Check:
    first, last = ({kind: norms[kind][layer] for kind in KINDS} for layer in (0, -1))
    return Check(
        "At the start the gradient of deep Post-LN dies towards the input, and that of ResiDual does not: it reaches "
        "the first layer as in Pre-LN",
        "O(2^(−(K−k)/2)) beside a bound of about √(log(K−k) / K)",
        "first and last layer of a decoder of 18 + 18: "
        + ", ".join(f"{NAMES[kind]} {first[kind]:.2g} and {last[kind]:.2g}" for kind in KINDS),
        first["post"] < 0.05 * last["post"] and first["resi_dual"] > 0.5 * first["pre"],
    )


def _collapse(steps: dict[str, list[float]]) -> Check:
    powers = {kind: slope(range(5, len(steps[kind]) + 1), steps[kind][4:]) for kind in KINDS}
    return Check(
        "At the start what deeper blocks of Pre-LN read differs ever less; in Post-LN and ResiDual by the same at "
        "every depth",
        "O(1 / √k) for block k, by which blocks of variance one give 0.8 / √k; O(1)",
        "; ".join(
            f"{NAMES[kind]} {steps[kind][4]:.2f} at block 5, {late(steps[kind]):.2f} in the last third, k^{power:.2f}"
            for kind, power in powers.items()
        ),
        abs(powers["pre"] + 0.5) < 0.15 and abs(powers["resi_dual"]) < 0.15 and abs(powers["post"]) < 0.15,
    )


def _trained(cosine: dict[str, float]) -> Check:
    return Check(
        "After training, too, neighbouring deep blocks of Pre-LN read almost the same, and those of ResiDual do not",
        "theory alone",
        "mean cosine over the last third of 24 blocks: "
        + ", ".join(f"{NAMES[kind]} {value:.3f}" for kind, value in cosine.items()),
        1 - cosine["resi_dual"] > 2 * (1 - cosine["pre"]),
    )


def _warmup(runs: dict[str, tuple[list[float], float]]) -> Check:
    loss = {kind: end(losses) for kind, (losses, _) in runs.items()}
    return Check(
        "Without warm-up a deep Post-LN fails, where ResiDual and Pre-LN learn",
        "Post-LN fails, Pre-LN 31.82, ResiDual 35.57 BLEU (IWSLT-14, 12 + 12 layers)",
        f"after {STEPS} steps: "
        + "; ".join(f"{NAMES[kind]} loss {loss[kind]:.2f}, {right:.0%} right" for kind, (_, right) in runs.items()),
        loss["post"] > 0.95 * BLIND and max(loss["pre"], loss["resi_dual"]) < 0.5 * BLIND,
    )
