"""Scaled rotary positions: by hand, and equal to those of transformers."""

import math

import pytest
import torch

from regard.layers import Sizes
from regard.model import ModelConfig, StackConfig
from regard.positions import Rotary
from regard.positions.scaling import NTK, Linear, Llama3, YaRN

BASES = [(10_000.0, 64, 1.0), (500_000.0, 128, 1.0), (10_000.0, 48, 0.5)]


def build(head_dim, **settings):
    return Rotary(**settings).build(
        Sizes(d_model=head_dim, n_heads=1, n_kv_heads=1, head_dim=head_dim, d_ff=8, context_length=64)
    )


def theirs(kind, base, head_dim, fraction, context=4096, length=None, **more):
    """(rates, factor on the sines)."""
    transformers = pytest.importorskip("transformers")
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    parameters = {"rope_type": kind, "rope_theta": base, "partial_rotary_factor": fraction, **more}
    config = transformers.LlamaConfig(
        hidden_size=2 * head_dim,
        num_attention_heads=2,
        head_dim=head_dim,
        max_position_embeddings=context,
        rope_parameters=parameters,
    )
    return ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=length)


YARN = {"original_max_position_embeddings": 512}
LLAMA3 = {"original_max_position_embeddings": 1000, "low_freq_factor": 1.5, "high_freq_factor": 6.0}


@pytest.mark.parametrize(("base", "head_dim", "fraction"), BASES)
@pytest.mark.parametrize(
    ("scaling", "kind", "more"),
    [
        (Linear(factor=4), "linear", {"factor": 4.0}),
        # Their dynamic rates at a length n times the trained one are those of the factor f·n − (f − 1).
        (NTK(factor=7), "dynamic", {"factor": 2.0, "length": 4 * 4096}),
        (YaRN(factor=8, original_length=512), "yarn", {"factor": 8.0, **YARN}),
        (YaRN(factor=8, original_length=512, truncate=False), "yarn", {"factor": 8.0, "truncate": False, **YARN}),
        (
            YaRN(factor=8, original_length=512, beta_fast=16, beta_slow=2, attention=1.3),
            "yarn",
            {"factor": 8.0, "beta_fast": 16.0, "beta_slow": 2.0, "attention_factor": 1.3, **YARN},
        ),
        (YaRN(factor=1, original_length=512), "yarn", {"factor": 1.0, **YARN}),
        (Llama3(factor=8, original_length=1000, low=1.5, high=6), "llama3", {"factor": 8.0, **LLAMA3}),
    ],
    ids=["linear", "ntk", "yarn", "yarn between pairs", "yarn changed", "yarn by one", "llama3"],
)
def test_rates_are_those_of_transformers(scaling, kind, more, base, head_dim, fraction):
    rates, size = theirs(kind, base, head_dim, fraction, **more)
    mine = build(head_dim, base=base, fraction=fraction, scaling=scaling)
    torch.testing.assert_close(torch.tensor(mine.rates).float(), rates, rtol=1e-6, atol=0)
    assert mine.size == pytest.approx(size, rel=1e-6)


def test_ntk_keeps_the_fastest_and_stretches_the_slowest():
    plain, scaled = build(64).rates, build(64, scaling=NTK(factor=4)).rates
    assert scaled[0] == plain[0]
    assert scaled[-1] == pytest.approx(plain[-1] / 4)


def test_yarn_leaves_what_turns_often_and_stretches_what_does_not():
    """Trained to 512: 32 turns need a rate above 2π·32/512, one turn 2π/512."""
    plain, scaled = build(64).rates, build(64, scaling=YaRN(factor=4, original_length=512, truncate=False)).rates
    for one, other in zip(plain, scaled, strict=True):
        if one > 2 * math.pi * 32 / 512:
            assert other == pytest.approx(one)
        elif one < 2 * math.pi / 512:
            assert other == pytest.approx(one / 4)
        else:
            assert one / 4 < other < one


def test_yarns_temperature_multiplies_the_scores():
    """(0.1 ln s + 1)² on q · k, §3.4 of the paper."""
    from regard.positions import Places

    rotary = build(8, scaling=YaRN(factor=4, original_length=10**6))
    x = torch.randn(1, 1, 1, 8, dtype=torch.float64)
    at = Places(torch.tensor([[0]]))
    q, k = rotary.turn(x, x, at, at)
    assert (q * k).sum().item() == pytest.approx((0.1 * math.log(4) + 1) ** 2 * (x * x).sum().item())


def test_linear_is_the_same_as_smaller_steps():
    one, other = build(16), build(16, scaling=Linear(factor=3))
    at = torch.arange(0, 60, 3)[None]
    for a, b in zip(one.angles(at // 3), other.angles(at), strict=True):
        torch.testing.assert_close(a, b)


def test_settings_hold_a_scaling():
    config = ModelConfig(vocab_size=9, decoder=StackConfig(position=Rotary(scaling=Llama3(factor=4))))
    assert ModelConfig.from_dict(config.to_dict()) == config
    assert ModelConfig.from_toml(config.to_toml()) == config
    assert config.to_dict()["decoder"]["position"]["scaling"]["kind"] == "llama3"
