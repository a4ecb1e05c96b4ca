"""A slow net programs the weights of a fast one by outer products: thirty years on, that is linear attention.

    W_t = W_{t−1} + v_t k_tᵀ        y_t = W_t q_t = Σ_{s ≤ t} (k_s · q_t) v_s

n² weights are programmed by 2n numbers a step. S pairs on orthogonal keys of size e are all recalled if S ≤ e; on
random keys of length 1 the others disturb: the mean square error is (S − 1)/e of a value's own square.

Source   Schmidhuber 1991, FKI-147-91, and 1992, Neural Computation 4(1), 131–139; the identity and the limit of e keys
         are stated by Schlag, Irie & Schmidhuber 2021, arXiv:2102.11174, §2, §3 and §4.1.
Printed  the rule and its cost (1991); no numbers of these kinds. Its tasks (a variable delay, and variables bound to
         values) were learnt on-line by small nets.
Here     the mechanism `fast_weights`, with the features and normaliser of linear attention, beside the mechanism
         `linear` and beside a loop over tokens, in float32; and stores of random values by size and number of keys.
Proxy    the identity and the capacity are measured; the tasks of 1991 are not run, nor is its squashing of weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regard.attention import Causal, FastWeights, LinearAttention, View
from regard.attention.base import AttentionModule
from regard.attention.linear import elu1
from regard.attention.recurrent import RecurrentModule
from regard.layers import Sizes
from regard.papers.base import Check, Reproduction
from regard.papers.tools import MARKERS, panels
from regard.positions import NoPosition

SIZES = Sizes(d_model=64, n_heads=4, n_kv_heads=4, head_dim=16, d_ff=1, context_length=1024, causal=True)
TOKENS = 256


def look(module: AttentionModule, x: Tensor) -> Tensor:
    slots = torch.arange(x.shape[1])[None]
    return module(x, None, View(Causal(), slots, slots, square=True), NoPosition().build(SIZES), None)


def by_hand(module: RecurrentModule, x: Tensor, normaliser: bool) -> Tensor:
    """The rule as it is written: one head and token after the other."""
    q, k, v = (linear(x)[0].unflatten(-1, (4, 16)) for linear in (module.q, module.k, module.v))
    rows = []
    for head in range(4):
        fast, total, mine = torch.zeros(16, 16), torch.zeros(16), []
        for t in range(x.shape[1]):
            key, query = (elu1(z[t, head]) if normaliser else z[t, head] for z in (k, q))
            fast, total = fast + torch.outer(v[t, head], key), total + key
            mine.append(fast @ query / (total @ query if normaliser else 1))
        rows.append(torch.stack(mine))
    return module.o(torch.cat(rows, -1))[None]


def recalled(pairs: int, size: int, orthogonal: bool, random: torch.Generator, draws: int = 16) -> float:
    """The mean square error of what the sum rule recalls, of the square of a value."""
    k = torch.randn(draws, size if orthogonal else pairs, size, generator=random, dtype=torch.float64)
    if orthogonal:  # beyond size there is no other direction: keys are used again
        k = torch.linalg.qr(k)[0][:, torch.arange(pairs) % size]
    k = k / k.norm(dim=-1, keepdim=True)
    v = torch.randn(draws, pairs, 16, generator=random, dtype=torch.float64)
    return ((k @ (k.mT @ v) - v).square().mean() / v.square().mean()).item()


@torch.no_grad()
def reproduce(seed: int = 0) -> Reproduction:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(1, TOKENS, 64, generator=random)
    fast = FastWeights(features="elu", normaliser="sum", bias="none").build(SIZES)
    bare, linear = FastWeights(bias="none").build(SIZES), LinearAttention(bias="none").build(SIZES)
    for weight in fast.parameters():
        weight.normal_(0, 0.125, generator=random)
    for other in (bare, linear):
        other.load_state_dict(fast.state_dict())

    def apart(one: Tensor, other: Tensor) -> float:
        return ((one - other).abs().max() / other.abs().max()).item()

    same = apart(look(fast, x), look(linear, x))
    looped = apart(look(linear, x), by_hand(fast, x, normaliser=True))
    plain = apart(look(bare, x), by_hand(bare, x, normaliser=False))

    sizes = (16, 32, 64, 128)
    counts = [4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256]
    errors = {
        (size, orthogonal): [recalled(count, size, orthogonal, random) for count in counts]
        for size in sizes
        for orthogonal in (True, False)
    }
    within = max(errors[size, True][i] for size in sizes for i, n in enumerate(counts) if n <= size)
    beyond = min(errors[size, True][i] for size in sizes for i, n in enumerate(counts) if n > size)
    off = max(
        abs(errors[size, False][i] / ((n - 1) / size) - 1) for size in sizes for i, n in enumerate(counts) if n > 4
    )
    checks = (
        Check(
            "Fast weights by the sum rule, with φ = elu + 1 and a normaliser, are linear attention",
            "the same, exactly (2021, §3)",
            f"largest difference {same:.1e} of the largest output, {TOKENS} tokens, float32; to a loop over tokens "
            f"{looped:.1e}",
            max(same, looped) < 1e-5,
        ),
        Check(
            "Without them it is the rule of 1991, in chunks or token by token",
            "W ← W + v kᵀ, y = W q",
            f"largest difference {plain:.1e} of the largest output",
            plain < 1e-5,
        ),
        Check(
            "Orthogonal keys of size e hold e values without error, and not one more",
            "at most as many as the size (2021, §4.1)",
            f"e of {', '.join(map(str, sizes))}: square error at most {within:.1e} up to e pairs, beyond at least "
            f"{beyond:.2f} of a value's",
            within < 1e-10 and beyond > 0.01,
        ),
        Check(
            "On random keys every other pair disturbs by 1/e",
            "(S − 1)/e, by the variance of a product of random directions",
            f"at most {off:.0%} off, over {len(sizes)} sizes and up to {counts[-1]} pairs",
            off < 0.15,
        ),
    )

    picture, (left, right) = panels(2, width=9.0)
    for size, marker in zip(sizes, MARKERS, strict=False):
        left.plot(counts, errors[size, True], marker + "-", label=f"e = {size}", markersize=4)
        right.loglog(counts, errors[size, False], marker, label=f"e = {size}", markersize=4)
        right.loglog(counts, [(n - 1) / size for n in counts], "-", color="#888888", linewidth=0.8)
    left.set(xlabel="pairs stored", ylabel="square error / square of a value", title="Orthogonal keys")
    right.set(xlabel="pairs stored", ylabel="square error / square of a value", title="Random keys, and (S − 1)/e")
    for axes in (left, right):
        axes.legend(fontsize=8, frameon=False)
    return Reproduction(checks, picture)
