"""Queries and keys that turn with their position meet at an angle that tells how far apart they stand, and no more.

    (a, b) ← (a cos tθ_i − b sin tθ_i,  a sin tθ_i + b cos tθ_i)        θ_i = 10000^(−2i/d)
    q_t · k_s  =  a function of q, k and t − s

Source   Su et al. 2021, arXiv:2104.09864 (RoFormer), abstract, §3.2–3.4, figures 2 and 3, table 1; Chen et al. 2023,
         arXiv:2306.15595, and Peng et al. 2023, arXiv:2309.00071, on longer texts.
Printed  the relative property as an equation; a bound on scores that falls with distance over 250 tokens, d = 128
         (figure 2); faster pre-training than BERT's learned positions (figure 3); BLEU 27.5 against 27.3 with
         sinusoidal ones, English to German, WMT 2014 (table 1); "flexibility of sequence length", without a number.
Here     scores before and after a shift of all positions; the bound; decoders trained alike with rotary, sinusoidal
         and learned positions; and the rotary one read on far beyond the length of its training.
Proxy    0.1 million parameters, 64 bytes and some seconds of training for BERT and a translator; bits a byte of
         held-out text for the loss of masked words and for BLEU.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from regard.layers import Sizes
from regard.papers.base import Check, Reproduction
from regard.papers.lengths import SLACK, TIMES, TRAINED, bits, draw, learn, model
from regard.papers.tools import panels
from regard.positions import Learned, Places, Position, Rotary, Sinusoidal
from regard.positions.scaling import NTK, Linear, rates

SHIFTS = (1, 1_000, 1_000_000)
FURTHEST = 256


def shifted(random: torch.Generator, dtype: torch.dtype, positive: bool = False) -> float:
    """The largest change of a score, relative to the largest score, when all positions are shifted."""
    rotary = Rotary().build(Sizes(d_model=64, n_heads=1, n_kv_heads=1, head_dim=64, d_ff=1, context_length=1))
    q, k = (torch.randn(1, 1, 64, 64, generator=random, dtype=torch.float64).to(dtype) for _ in range(2))
    if positive:  # the features of linear attention
        q, k = F.elu(q) + 1, F.elu(k) + 1

    def scores(shift: int) -> Tensor:
        at = Places(torch.arange(64)[None] + shift)
        one, other = rotary.turn(q, k, at, at)
        return one @ other.transpose(-1, -2)

    before = scores(0)
    return max(((scores(shift) - before).abs().max() / before.abs().max()).item() for shift in SHIFTS)


def bound(d: int = 128, furthest: int = FURTHEST) -> Float[Tensor, "n"]:
    """Mean over i of |Σ_{j ≤ i} e^{i n θ_j}|, for distances n from 0: what bounds a score in §3.4.3."""
    angle = torch.arange(furthest, dtype=torch.float64)[:, None] * torch.tensor(rates(10_000.0, d), dtype=torch.float64)
    return torch.polar(torch.ones_like(angle), angle).cumsum(-1).abs().mean(-1)


def reproduce(seed: int = 0, steps: int = 300) -> Reproduction:
    random = torch.Generator().manual_seed(seed)
    exact, single, linear = shifted(random, torch.float64), shifted(random, torch.float32), 0.0
    linear = shifted(random, torch.float64, positive=True)
    falls = bound()
    octaves = [falls[2**n : 2 ** (n + 1)].mean().item() for n in range(int(math.log2(FURTHEST)))]
    rises = (falls[1:] > falls[:-1]).double().mean().item()

    parts: dict[str, Position] = {"rotary": Rotary(), "sinusoidal": Sinusoidal(), "learned": Learned()}
    learners = {name: learn(part, steps, seed) for name, part in parts.items()}
    early = {name: bits(learn(part, steps // 3, seed), TRAINED) for name, part in parts.items()}
    read = {name: [bits(learners[name], TRAINED * times) for times in TIMES] for name in parts}
    stretched = {}
    for name, scaling in (("positions divided", Linear), ("NTK-aware", NTK)):
        stretched[name] = [read["rotary"][0]]
        for times in TIMES[1:]:
            other = model(Rotary(scaling=scaling(factor=times))).eval()
            other.load_state_dict(learners["rotary"].state_dict())
            stretched[name].append(bits(other, TRAINED * times))
    rotary, once = read["rotary"], {name: of[0] for name, of in read.items()}

    def listed(values: dict[str, float]) -> str:
        return ", ".join(f"{name} {value:.2f}" for name, value in values.items())

    def along(values: list[float]) -> str:
        return ", ".join(f"{value:.2f} at {TRAINED * times}" for value, times in zip(values, TIMES, strict=True))

    checks = (
        Check(
            "A score depends on how far apart two tokens stand, not on where",
            "an equation (§3.2)",
            f"shifted by up to {SHIFTS[-1]:,} tokens, scores change by {exact:.0e} of the largest in float64, "
            f"{single:.0e} in float32",
            exact < 1e-8 and single < 1e-4,
        ),
        Check(
            "The positive features of linear attention can be turned as well",
            "an equation (§3.3)",
            f"their products change by {linear:.0e} of the largest",
            linear < 1e-8,
        ),
        Check(
            "What bounds a score falls with distance",
            "falls over 250 tokens, d = 128 (figure 2)",
            f"{falls[0]:.1f} at 0; mean over distances 1, 2–3, 4–7 … 128–255: {', '.join(f'{x:.1f}' for x in octaves)}",
            all(near > far for near, far in zip([falls[0].item(), *octaves], octaves, strict=False)),
        ),
        Check(
            "Models learn faster with it than with learned or sinusoidal positions, and end better",
            "loss below BERT's throughout pre-training (figure 3); BLEU 27.5 against 27.3 (table 1)",
            f"bits a byte after {steps // 3} steps: {listed(early)}; after {steps}: {listed(once)}",
            all(of["rotary"] < min(of["sinusoidal"], of["learned"]) for of in (early, once)),
        ),
        Check(
            "It is flexible in the length of the text: taken at its word, it reads longer texts than those of training",
            "a property, without a number (abstract)",
            f"trained on {TRAINED} bytes, bits a byte in windows of more: {along(rotary)}",
            max(rotary) < rotary[0] + SLACK,
        ),
    )
    notes = (
        f"The bound falls as a whole, not step by step: at {rises:.0%} of distances it is above that one nearer.",
        "Longer texts call for slower turns. Without training again, the same weights read: "
        + "; ".join(f"{name} {along(values)}" for name, values in stretched.items())
        + ". The papers on scaling report that a little training on long texts mends the rest.",
        f"Sinusoidal positions read on like this: {along(read['sinusoidal'])}; learned ones refuse to.",
    )

    picture, (left, right) = panels(2, width=9.0)
    left.plot(range(FURTHEST), falls, linewidth=1.2)
    left.set(
        xlabel="distance (tokens)", ylabel="bound on a score (d = 128)", title="Fades with distance", ylim=(0, None)
    )
    lines = {"rotary": rotary, "sinusoidal": read["sinusoidal"]} | {f"rotary, {n}": of for n, of in stretched.items()}
    draw(right, lines)
    return Reproduction(checks, picture, notes)
