"""Differential attention against DiffLlama's layer, which keeps its maps in another order, and by hand."""

import math

import pytest
import torch

from regard.attention import Causal, Differential
from regard.layers import RMSNorm
from regard.model import ModelConfig, StackConfig
from regard.positions import PositionModule, Rotary
from regard.settings import SettingsError
from tests.attention.setup import layer, sizes, tokens, view


@torch.no_grad()
def test_what_both_maps_say_cancels():
    """With the same map twice and λ = 1 nothing is left."""
    attention, x = layer(Differential(bias="none")), tokens()
    for linear in (attention.q, attention.k):
        halves = linear.weight.unflatten(0, (3, 2, 2))
        halves[:, 1] = halves[:, 0]
    assert attention(x, None, view(6), PositionModule(), None).abs().max() > 1e-3
    attention.start = 0.0
    attention.lambdas.zero_()
    attention.lambdas[:2] = math.sqrt(math.log(2) / 2)  # exp(log 2) − exp(0) = 1
    assert attention.strength().item() == pytest.approx(1.0)
    assert attention(x, None, view(6), PositionModule(), None).abs().max() < 1e-10


@pytest.mark.parametrize(("layer_", "expected"), [(0, 0.2), (1, 0.8 - 0.6 * math.exp(-0.3)), (100, 0.8)])
def test_lambda_starts_by_depth(layer_, expected):
    attention = Differential().build(sizes(layer=layer_))
    assert attention.strength().item() == pytest.approx(expected)


def test_an_odd_head_is_refused():
    with pytest.raises(SettingsError, match="head_dim 5 is odd"):
        ModelConfig(vocab_size=9, d_model=15, n_heads=3, decoder=StackConfig(attention=Differential()))


@torch.no_grad()
def test_equals_diffllama():
    """Their pair of maps of a head are the heads i and i + h/2, their values' halves the value heads likewise."""
    theirs = pytest.importorskip("transformers.models.diffllama.modeling_diffllama")
    config = theirs.DiffLlamaConfig(
        hidden_size=24,
        num_attention_heads=6,
        num_key_value_heads=6,
        attention_bias=True,
        rms_norm_eps=1e-5,
        attn_implementation="eager",
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
    )
    of = sizes(d=24, heads=3, head=8, layer=2)
    mine = Differential(norm=RMSNorm(eps=1e-5))
    ours, other = layer(mine, of), theirs.DiffLlamaAttention(config, layer_idx=2).double().eval()
    ours.norm.weight.fill_(1.0)
    paired = torch.arange(24).view(2, 3, 4).transpose(0, 1).flatten()  # ours: head, half; theirs: half, head
    for name in "qkv":
        for end in ("weight", "bias"):
            getattr(getattr(other, f"{name}_proj"), end)[paired] = getattr(getattr(ours, name), end)
    other.o_proj.load_state_dict(ours.o.state_dict())
    for number, name in enumerate(("q1", "k1", "q2", "k2")):
        getattr(other, f"lambda_{name}").copy_(ours.lambdas[number])
    x = tokens(2, 7, 24)
    turns = theirs.DiffLlamaRotaryEmbedding(config)(x, torch.arange(7)[None])
    future = torch.full((7, 7), -math.inf, dtype=torch.float64).triu(1)[None, None]
    expected, *_ = other(x, turns, future)
    position = Rotary(base=500.0).build(mine.doors(of))
    got = ours(x, None, view(7, Causal()), position, None)
    assert expected.std() > 0.1
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)  # their angles and softmax are float32
