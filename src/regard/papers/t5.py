"""A position can be a single number added to a score: one for each head and each of 32 ranges of distance.

    score[t, s] = q_t · k_s + B[bucket(t − s), h]

Source   Raffel et al. 2019, arXiv:1910.10683, §2.1, §3.1.1 and §3.7; on longer texts Press et al. 2022,
         arXiv:2108.12409, §2.2 and figure 1.
Printed  32 numbers a head, shared by all layers, for ranges that grow up to 128 tokens; beyond, one for all, so that a
         layer is blind to order there while later layers are not. Parameters: Small 60 M, Base 220 M, Large 770 M,
         3B 2.8 G, 11B 11 G. Trained on 512 tokens, it reads 600 more before it gets worse (Press et al.).
Here     the buckets; the five models built on the meta device and counted; one layer and two on a text whose far part
         is shuffled; a decoder trained on windows of 64 bytes, read at up to 512.
Proxy    no T5 is trained: the decoder has 0.1 million parameters, and buckets up to 16 bytes, a quarter of its window
         as 128 are of 512; bits a byte of held-out text for perplexity.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from regard.attention import Dot
from regard.layers import RMSNorm, Sizes
from regard.model import MLP, LanguageHead, ModelConfig, PreNorm, StackConfig, Transformer, Xavier
from regard.papers.base import Check, Reproduction
from regard.papers.lengths import SLACK, TIMES, TRAINED, bits, draw, learn
from regard.papers.tools import panels
from regard.planning import plan
from regard.positions import T5, Places, Sinusoidal
from regard.positions.t5 import T5Module


class Size(NamedTuple):
    """A published model; `printed` is its number of parameters in millions."""

    printed: float
    n_layers: int
    d_model: int
    d_ff: int
    n_heads: int
    head_dim: int


MODELS = {
    "Small": Size(60, 6, 512, 2048, 8, 64),
    "Base": Size(220, 12, 768, 3072, 12, 64),
    "Large": Size(770, 24, 1024, 4096, 16, 64),
    "3B": Size(2800, 24, 1024, 16_384, 32, 128),
    "11B": Size(11_000, 24, 1024, 65_536, 128, 128),
}
PIECES = 32_128
"""32,000 word pieces and 100 marks of the task, filled up to a multiple of 128."""


def config(size: Size) -> ModelConfig:
    """T5 of 2019: norms before each step, without biases, one table for input and output."""
    attention = Dot(bias="none", scale=1.0)
    stack = StackConfig(
        n_layers=size.n_layers,
        attention=attention,
        cross=attention,
        position=T5(),
        feedforward=MLP(activation="relu", bias=False),
        norm=RMSNorm(),
        residual=PreNorm(),
    )
    return ModelConfig(
        vocab_size=PIECES,
        d_model=size.d_model,
        d_ff=size.d_ff,
        n_heads=size.n_heads,
        head_dim=size.head_dim,
        encoder=stack,
        decoder=stack,
        head=LanguageHead(tied=True, scale=size.d_model**-0.5),
    )


def module(causal: bool) -> T5Module:
    return T5().build(Sizes(64, 8, 8, 8, 1, 512, causal=causal))


def changed_by_shuffling(n_layers: int, seed: int) -> float:
    """How much a decoder's last logits change, of their size, when tokens at least 128 before it change places."""
    stack = StackConfig(n_layers=n_layers, position=T5(), residual=PreNorm())
    settings = ModelConfig(vocab_size=50, d_model=32, n_heads=4, decoder=stack, initialisation=Xavier())
    learner = Transformer(settings, seed).double().eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in learner.modules():
            if isinstance(part, T5Module):
                part.table.matrix().normal_(generator=random)
        ids = torch.randint(50, (1, 300), generator=random)
        order = torch.cat([torch.randperm(300 - 128, generator=random), torch.arange(300 - 128, 300)])
        one, other = learner(ids)[0, -1], learner(ids[:, order])[0, -1]
    return ((one - other).abs().max() / one.abs().max()).item()


def shift() -> float:
    """The largest change of a bias when all positions are shifted by a million."""
    with torch.no_grad():
        part, q = module(False), torch.zeros(1, 8, 300, 8)
        biases = [
            part.bias(q, q, at, at, lambda: None) for at in (Places(torch.arange(300)[None] + n) for n in (0, 10**6))
        ]
    return (biases[0] - biases[1]).abs().max().item()


def reproduce(seed: int = 0, steps: int = 300) -> Reproduction:
    away = torch.arange(0, 10_001)
    encoder, decoder = module(False).bucket(away), module(True).bucket(away)
    used = len({*module(False).bucket(torch.cat([away, -away])).tolist()}), len({*decoder.tolist()})
    ends = [int((of == of[-1]).nonzero()[0]) for of in (encoder, decoder)]
    alone = [int((of[1:] == of[:-1]).nonzero()[0]) for of in (encoder, decoder)]
    plans = {name: plan(config(size)) for name, size in MODELS.items()}
    off = {name: plans[name].total / 1e6 / size.printed - 1 for name, size in MODELS.items()}
    worst = max(off, key=lambda name: abs(off[name]))
    numbers = plans["Base"].parameters["positions"]
    one, two = changed_by_shuffling(1, seed), changed_by_shuffling(2, seed)

    parts = {"t5": T5(buckets=16, max_distance=16), "t5, max_distance 128": T5(), "sinusoidal": Sinusoidal()}
    read = {}
    for name, part in parts.items():
        learner = learn(part, steps, seed)
        read[name] = [bits(learner, TRAINED * times) for times in TIMES]

    def along(name: str) -> str:
        return ", ".join(f"{value:.2f} at {TRAINED * times}" for value, times in zip(read[name], TIMES, strict=True))

    checks = (
        Check(
            "32 ranges that grow with distance suffice for any text: beyond 128 tokens all share one number",
            "32, up to an offset of 128 (§2.1)",
            f"distances to {alone[0]} (encoder) and {alone[1]} (decoder) have one each, all from {ends[0]} and "
            f"{ends[1]} on share the last; {used[0]} and {used[1]} of 32 are used",
            max(used) == 32 and max(ends) <= 128,
        ),
        Check(
            "Only the distance counts",
            "relative positions (§2.1)",
            f"shifted by 1,000,000 tokens, the largest change of a bias is {shift():g}",
            shift() == 0,
        ),
        Check(
            "One layer is blind to order beyond 128 tokens, two are not",
            "later layers combine what earlier ones saw nearby (§2.1)",
            f"the far part shuffled, the last token's logits change by {one:.0e} of their size with one layer, by "
            f"{two:.0e} with two",
            one < 1e-12 and two > 1e-6,
        ),
        Check(
            "Positions cost next to nothing, as all layers share them, and models have the sizes printed, within 5%",
            ", ".join(f"{name} {size.printed:,.0f} M" for name, size in MODELS.items()) + " (§3.1.1, §3.7)",
            f"{numbers:,} numbers are positions in Base; "
            + ", ".join(f"{name} {made.total / 1e6:,.1f} M" for name, made in plans.items())
            + f"; furthest off is {worst} with {off[worst]:+.1%}",
            numbers < 1000 and max(map(abs, off.values())) < 0.05,
        ),
        Check(
            "It reads on beyond the trained length, where sinusoidal positions do not",
            "600 tokens more, trained on 512, against 50 (Press et al., §2.2)",
            f"bits a byte: {along('t5')}; sinusoidal {along('sinusoidal')}",
            read["t5"][1] < read["t5"][0] + SLACK and read["sinusoidal"][1] > read["sinusoidal"][0] + SLACK,
        ),
    )
    notes = (
        f"With ranges up to 128 and windows of {TRAINED}, the widest were never trained: "
        f"{along('t5, max_distance 128')}. What reads on is the last range, if training reached it.",
        f"The last range begins at {ends[0]} and {ends[1]} tokens, before the 128 of the text: the code rounds the "
        f"logarithm down. An encoder uses {used[0]} of its numbers: both sides have one for the distance 0.",
    )

    picture, (left, right) = panels(2, width=9.0)
    near = torch.arange(-150, 151)
    left.plot(near, module(False).bucket(near), label="encoder", linewidth=1.2)
    left.plot(near[150:], module(True).bucket(near[150:]), "--", label="decoder", linewidth=1.2)
    left.set(xlabel="t − s (tokens)", ylabel="bucket", title="32 buckets, to 128 tokens")
    left.legend(fontsize=8, frameon=False)
    draw(right, read)
    return Reproduction(checks, picture, notes)
