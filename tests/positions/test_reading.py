"""Encodings that read queries, keys, weights or the mask: against loops over tokens."""

import math

import pytest
import torch

from regard.attention import Causal, Dot, Mask, View
from regard.layers import Sizes
from regard.positions import CoPE, Places, Rotary, Shaw, Sinusoidal, TransformerXL, XPos

H, E, D = 3, 4, 12


def sizes(causal=True, context=64):
    return Sizes(d_model=D, n_heads=H, n_kv_heads=H, head_dim=E, d_ff=8, context_length=context, causal=causal)


def drawn(part, causal=True):
    module = part.build(sizes(causal)).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


def attend(position, causal, t=7):
    """Queries, keys, values, and the output of plain attention before W_o, [1 h t e] each."""
    attention = Dot().build(sizes(causal)).double()
    q, k, v = (torch.randn(1, H, t, E, dtype=torch.float64) for _ in range(3))
    slots = torch.arange(t)[None]
    view = View(Causal() if causal else Mask(), slots, slots, square=True)
    with torch.no_grad():
        return q[0], k[0], v[0], attention.mix(q, k, v, view, position)[0]


@pytest.mark.parametrize("causal", [True, False])
def test_shaw_by_loops(causal):
    """Eq. 3 and 4 of the paper, with distances clipped at 2."""
    position = drawn(Shaw(max_distance=2), causal)
    q, k, v, y = attend(position, causal)
    for h in range(H):
        for t in range(7):
            seen = range(t + 1) if causal else range(7)
            row = {s: (min(t - s, 2) if causal else max(-2, min(2, t - s)) + 2) for s in seen}
            keys, values = position.key_of.weight, position.value_of.weight
            scores = torch.stack([q[h, t] @ (k[h, s] + keys[row[s]]) / math.sqrt(E) for s in seen])
            expected = sum(w * (v[h, s] + values[row[s]]) for w, s in zip(scores.softmax(0), seen, strict=True))
            torch.testing.assert_close(y[h, t], expected.detach())


def test_shaw_with_keys_alone_takes_the_kernel():
    position = drawn(Shaw(max_distance=2, values=False))
    assert not position.reads_weights
    at = Places(torch.arange(2)[None])
    assert position.values(torch.zeros(1, H, 2, 2), at, at) is None
    assert len(list(position.parameters())) == 1


@pytest.mark.parametrize("causal", [True, False])
def test_transformer_xl_by_loops(causal):
    """§3.3: (a) q·k, (b) q·W R, (c) u·k, (d) v·W R."""
    position = drawn(TransformerXL(), causal)
    q, k, v, y = attend(position, causal)
    fan = Sinusoidal(layout="half").build(sizes())
    for h in range(H):
        for t in range(7):
            seen = range(t + 1) if causal else range(7)
            scores = []
            for s in seen:
                far = position.r.weight[h * E : (h + 1) * E] @ fan.table(torch.tensor([[t - s]]))[0, 0]
                parts = (q[h, t] @ k[h, s], q[h, t] @ far, position.u[h] @ k[h, s], position.v[h] @ far)
                scores.append(sum(parts) / math.sqrt(E))
            expected = sum(w * v[h, s] for w, s in zip(torch.stack(scores).softmax(0), seen, strict=True))
            torch.testing.assert_close(y[h, t], expected.detach())


def test_transformer_xl_gives_the_same_for_few_queries_and_many():
    position = drawn(TransformerXL())
    q, fan = torch.randn(2, H, 5, E, dtype=torch.float64), torch.randn(9, D, dtype=torch.float64)
    many = position.far(q, fan)
    few = torch.cat([position.far(q[:1, :, i : i + 1], fan) for i in range(5)], 2)
    torch.testing.assert_close(few, many[:1])


def test_cope_by_loops():
    """§4: gates, counts from the key to the query, and vectors between whole numbers; at most 3 are counted."""
    position = drawn(CoPE(positions=3))
    q, k, v, y = attend(position, True)
    table = position.table.weight
    for h in range(H):
        for t in range(7):
            gate = [1 / (1 + math.exp(-(q[h, t] @ k[h, s]).item() / math.sqrt(E))) for s in range(t + 1)]
            scores = []
            for s in range(t + 1):
                p = min(sum(gate[s:]), 3.0)
                low = math.floor(p)
                vector = (1 - (p - low)) * table[low] + (p - low) * table[min(low + 1, 3)]
                scores.append(q[h, t] @ (k[h, s] + vector) / math.sqrt(E))
            expected = sum(w * v[h, s] for w, s in zip(torch.stack(scores).softmax(0), range(t + 1), strict=True))
            torch.testing.assert_close(y[h, t], expected.detach())


def test_cope_counts_only_what_is_seen():
    """Where every gate is one, the count is the number of tokens seen from the key to the query."""
    position = CoPE().build(sizes())
    q = k = torch.full((1, 1, 4, E), 50.0)
    seen = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]).bool()[None, None]
    expected = torch.tensor([[1.0, 0, 0, 0], [2, 1, 0, 0], [1, 1, 1, 0], [2, 2, 2, 1]])
    torch.testing.assert_close(position.count(q, k, seen)[0, 0], expected)


@pytest.mark.parametrize("interleaved", [True, False])
def test_xpos_shrinks_each_pair_with_distance(interleaved):
    """One pair on: its part of q · k is what rotary gives, times ζ_i^((t − s) / B)."""
    settings = XPos(interleaved=interleaved, scale_base=10, gamma=0.3)
    xpos, rotary = settings.build(sizes()), Rotary(interleaved=interleaved).build(sizes())
    q, k = (torch.randn(1, 1, 6, E, dtype=torch.float64) for _ in range(2))
    at = Places(torch.arange(6)[None])
    for pair in range(E // 2):
        features = [2 * pair, 2 * pair + 1] if interleaved else [pair, pair + E // 2]
        keep = torch.zeros(E, dtype=torch.float64)
        keep[features] = 1.0
        mine, theirs = (module.turn(q * keep, k * keep, at, at) for module in (xpos, rotary))
        away = torch.arange(6)[:, None] - torch.arange(6)
        zeta = (2 * pair / E + 0.3) / 1.3
        expected = theirs[0] @ theirs[1].transpose(-1, -2) * zeta ** (away / 10)
        torch.testing.assert_close(mine[0] @ mine[1].transpose(-1, -2), expected)


def test_what_places_hold_between_them_is_made_once_for_each_pair():
    one, near, far = (Places(torch.tensor([[n, n + 1]])) for n in (5, 4, 0))
    made = []

    def make(away):
        made.append(away[0, 0, 0].item())
        return away

    for other in (near, near, far):
        one.between(other, "key", make)
    assert made == [1, 5]
