"""The sink by hand, and against gpt-oss's layer."""

import math

import pytest
import torch

from regard.attention import Causal, Padding, Sinks, Window
from regard.layers import formulas, taps
from regard.positions import PositionModule, Rotary
from tests.attention.setup import layer, sizes, tokens, view


def test_by_hand():
    """Scores of 0 and a sink of log 3: one token in four parts sees one part of its only key, then two of five."""
    attention = Sinks(bias="none").build(sizes(d=1, heads=1, head=1)).double()
    assert attention.sinks.item() == 0  # the softmax with one more below the line
    with torch.no_grad():
        attention.sinks.fill_(math.log(3))
        for linear, value in ((attention.q, 0.0), (attention.k, 1.0), (attention.v, 10.0), (attention.o, 1.0)):
            linear.weight.fill_(value)
    x = torch.tensor([[[1.0], [3.0]]], dtype=torch.float64)
    with torch.no_grad():
        kernel = attention(x, None, view(2, Causal()), PositionModule(), None).flatten()
        with formulas():
            formula = attention(x, None, view(2, Causal()), PositionModule(), None).flatten()
    expected = torch.tensor([10 / 4, (10 + 30) / 5], dtype=torch.float64)
    torch.testing.assert_close(kernel, expected)
    torch.testing.assert_close(formula, expected)


SHORT = Padding(torch.tensor([6, 0]))


@pytest.mark.parametrize("mask", [None, Causal(), SHORT, Causal() & SHORT])
@torch.no_grad()
def test_kernel_equals_formula_under_every_mask(mask):
    attention, x = layer(Sinks()), tokens()
    one = attention(x, None, view(6, mask), PositionModule(), None)
    heard = {}
    with taps(heard.__setitem__):
        other = attention(x, None, view(6, mask), PositionModule(), None)
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(heard["weights"].sum(-1) + heard["nowhere"], torch.ones(2, 3, 6, dtype=torch.float64))


@torch.no_grad()
def test_equals_gpt_oss():
    theirs = pytest.importorskip("transformers.models.gpt_oss.modeling_gpt_oss")
    config = theirs.GptOssConfig(
        hidden_size=20,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=4,
        attention_bias=True,
        attn_implementation="eager",
        num_hidden_layers=2,
        layer_types=["full_attention", "full_attention"],
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
    )
    of = sizes(d=20, heads=6, head=4, groups=2)
    ours, other = layer(Sinks(), of), theirs.GptOssAttention(config, layer_idx=0).double().eval()
    for name in "qkvo":
        getattr(other, f"{name}_proj").load_state_dict(getattr(ours, name).state_dict())
    other.sinks.copy_(ours.sinks)
    x = tokens(2, 7, 20)
    turns = theirs.GptOssRotaryEmbedding(config)(x, torch.arange(7)[None])
    near = torch.arange(7)
    hidden = (near[None] > near[:, None]) | (near[:, None] - near[None] >= 4)
    expected, _ = other(x, turns, torch.zeros(7, 7, dtype=torch.float64).masked_fill(hidden, -math.inf)[None, None])
    got = ours(x, None, view(7, Causal()).narrowed(Window(size=4)), Rotary(base=500.0).build(of), None)
    assert expected.std() > 0.1
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)  # their angles are float32
