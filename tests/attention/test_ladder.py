"""The rungs by hand and by brute force, and the last ones against each other and against torch's own layer."""

import math

import pytest
import torch

from regard.attention import Causal, CausalHead, Dot, Padding, Simplified, SingleHead, StackedHeads
from regard.layers import taps
from regard.model import ModelConfig, StackConfig
from regard.positions import NoPosition, PositionModule
from regard.settings import SettingsError
from tests.attention.setup import layer, sizes, tokens, view


def test_simplified_by_hand():
    """Two words at a right angle and of length one: scores 1/√4 and 0."""
    x = torch.eye(2, 4, dtype=torch.float64)[None]
    attention = Simplified().build(sizes(d=4))
    assert list(attention.parameters()) == []
    y = attention(x, None, view(2), PositionModule(), None)
    mine = 1 / (1 + math.exp(-0.5))
    expected = torch.tensor([[mine, 1 - mine, 0, 0], [1 - mine, mine, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(y[0], expected)


@pytest.mark.parametrize(("settings", "last"), [(SingleHead(bias=True), 5), (CausalHead(bias=True), None)])
@torch.no_grad()
def test_a_head_by_brute_force(settings, last):
    """A loop over tokens says the same; the causal head looks back only, though the mask says nothing of it."""
    attention, x = layer(settings), tokens()
    got = attention(x, None, view(6), PositionModule(), None)
    q, k, v = attention.q(x), attention.k(x), attention.v(x)
    for row in range(2):
        for t in range(6):
            seen = range((t if last is None else last) + 1)
            scores = [math.exp(float(q[row, t] @ k[row, s]) / math.sqrt(12)) for s in seen]
            expected = sum(score * v[row, s] for score, s in zip(scores, seen, strict=True)) / sum(scores)
            torch.testing.assert_close(got[row, t], expected)


@torch.no_grad()
def test_a_causal_head_drops_weights_in_training_alone():
    attention, x = layer(CausalHead(dropout=0.5)), tokens(1).expand(20_000, -1, -1)
    plain = attention(x, None, view(6), PositionModule(), None)
    assert torch.equal(plain[0], plain[1])
    attention.train()
    dropped = attention(x, None, view(6), PositionModule(), None)
    assert not torch.equal(dropped[0], dropped[1])
    assert (dropped.mean(0) - plain[0]).abs().max() < 0.05 * plain[0].abs().max()


@pytest.mark.parametrize("mask", [None, Causal(), Padding(torch.tensor([6, 4]))])
def test_a_stack_of_heads_equals_one_projection_when_their_weights_are(mask):
    stacked, dot, x = layer(StackedHeads()), layer(Dot()), tokens()
    with torch.no_grad():
        for name in "qkv":
            for end in ("weight", "bias"):
                rows = [getattr(getattr(head, name), end) for head in stacked.heads]
                getattr(getattr(dot, name), end).copy_(torch.cat(rows))
        dot.o.load_state_dict(stacked.o.state_dict())
    ours = [attention(x, None, view(6, mask), PositionModule(), None) for attention in (stacked, dot)]
    torch.testing.assert_close(ours[0], ours[1], rtol=1e-12, atol=1e-12)
    for y in ours:
        y.tanh().sum().backward()
    slopes = torch.cat([head.v.weight.grad for head in stacked.heads])
    torch.testing.assert_close(slopes, dot.v.weight.grad, rtol=1e-10, atol=1e-12)


@torch.no_grad()
def test_the_last_rung_equals_torchs_own_layer():
    """torch.nn.MultiheadAttention, with padding and without the future."""
    dot, x = layer(Dot()), tokens()
    theirs = torch.nn.MultiheadAttention(12, 3, batch_first=True, dtype=torch.float64)
    theirs.in_proj_weight.copy_(torch.cat([dot.q.weight, dot.k.weight, dot.v.weight]))
    theirs.in_proj_bias.copy_(torch.cat([dot.q.bias, dot.k.bias, dot.v.bias]))
    theirs.out_proj.load_state_dict(dot.o.state_dict())
    lengths = torch.tensor([6, 4])
    hidden = torch.arange(6) >= lengths[:, None]
    future = torch.ones(6, 6, dtype=torch.bool).triu(1)
    heard = {}
    with taps(heard.__setitem__):
        ours = dot(x, None, view(6, Causal() & Padding(lengths)), NoPosition().build(sizes()), None)
    expected, weights = theirs(x, x, x, key_padding_mask=hidden, attn_mask=future, average_attn_weights=False)
    torch.testing.assert_close(ours[~hidden], expected[~hidden])
    torch.testing.assert_close(heard["weights"], weights)


def test_who_cannot_climb_is_told_why():
    with pytest.raises(SettingsError, match="causal_head attention cannot stand in an encoder: it cannot look at its"):
        ModelConfig(vocab_size=9, encoder=StackConfig(attention=CausalHead()), decoder=None)
    with pytest.raises(SettingsError, match="leave n_kv_heads out"):
        ModelConfig(vocab_size=9, n_kv_heads=2, decoder=StackConfig(attention=StackedHeads()))
