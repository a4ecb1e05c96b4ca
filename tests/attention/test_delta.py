"""The delta rules against their matrices, token by token, and what they are for: giving a key another value."""

import pytest
import torch
from torch.nn import functional as F

from regard.attention import Causal, Delta, GatedDelta, View, scan
from regard.layers import Sizes
from regard.positions import NoPosition
from tests.laws.members import close

SIZES = Sizes(d_model=5, n_heads=1, n_kv_heads=1, head_dim=5, d_ff=8, context_length=64)


def run(module, x):
    slots = torch.arange(x.shape[1])[None]
    return module(x, None, View(Causal(), slots, slots, square=True), NoPosition().build(SIZES), None)


def random(settings):
    module = settings.build(SIZES).double()
    with torch.no_grad():
        for p in module.parameters():
            p.normal_()
    return module


def test_a_key_is_given_another_value():
    """Write v1 and then v2 to one key, between writes to another: the delta rule recalls v2, the sum rule v1 + v2."""
    one, two = torch.eye(4)[:2]
    v1, v2, w = torch.randn(3, 3)
    k, v = torch.stack([one, two, one])[None, None], torch.stack([v1, w, v2])[None, None]
    delta = scan.deltas(k, k, v, torch.ones(1, 1, 3))[0]
    torch.testing.assert_close(delta, v)
    torch.testing.assert_close(scan.sums(k, k, v)[0][0, 0, 2], v1 + v2)


@torch.no_grad()
@pytest.mark.parametrize("features", ["dpfp", "elu", "silu"])
def test_delta_is_its_loop(features):
    """W ← W + β (v − W φ(k)) φ(k)ᵀ, y = W φ(q), as Schlag 2021 writes it, over more than one chunk."""
    module = random(Delta(features=features, nu=2))
    x = torch.randn(1, 75, 5, dtype=torch.float64)

    def phi(x):
        if features == "silu":
            y = x * torch.sigmoid(x)
            return y / y.norm()
        if features == "elu":
            y = torch.where(x > 0, x + 1, x.exp())
        else:
            r = torch.cat([x, -x]).relu()
            y = torch.tensor([r[i] * r[(i + j) % 10] for j in (1, 2) for i in range(10)])
        return y / y.sum() if y.sum() > 0 else y

    rows, fast = [], 0.0
    for token in x[0]:
        q, k, v = phi(module.q(token)), phi(module.k(token)), module.v(token)
        fast = torch.zeros(5, len(k), dtype=torch.float64) if not rows else fast
        fast = fast + torch.sigmoid(module.beta(token)) * torch.outer(v - fast @ k, k)
        rows.append(module.o(fast @ q))
    close(run(module, x)[0], torch.stack(rows))


@torch.no_grad()
def test_gated_delta_is_its_loop():
    """S ← S α (I − β k kᵀ) + β v kᵀ with whole matrices, as the paper's eq. 10 has them."""
    module = random(GatedDelta())
    x = torch.randn(1, 75, 5, dtype=torch.float64)
    state, rows = torch.zeros(5, 5, dtype=torch.float64), []
    for token in x[0]:
        q, k = (F.silu(linear(token)) for linear in (module.q, module.k))
        q, k, v = q / q.norm(), k / k.norm(), module.v(token)
        alpha = torch.exp(-module.rate.exp() * torch.log1p(torch.exp(module.alpha(token) + module.shift)))
        beta = torch.sigmoid(module.beta(token))
        state = state @ (alpha * (torch.eye(5, dtype=torch.float64) - beta * torch.outer(k, k)))
        state = state + beta * torch.outer(v, k)
        y = state @ q
        y = y / (y.square().mean() + 1e-5).sqrt() * module.norm.weight
        rows.append(module.o(F.silu(module.gate(token)) * y))
    close(run(module, x)[0], torch.stack(rows))


def test_first_rates_spread_over_the_heads():
    module = GatedDelta().build(Sizes(**{**vars(SIZES), "n_heads": 4, "n_kv_heads": 4}))
    x = torch.zeros(1, 1, 5)
    with torch.no_grad():
        module.alpha.weight.zero_()
        torch.testing.assert_close(module.log_decay(x)[0, :, 0], -0.01 * torch.tensor([1.0, 6.0, 11.0, 16.0]))
