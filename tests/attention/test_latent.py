"""Latent attention against DeepSeek-V2's layer, absorbed against unpacked, and what its cache holds."""

import math
from unittest import mock

import pytest
import torch

from regard.attention import Causal, Dot, Latent
from regard.attention.latent import LatentModule
from regard.layers import RMSNorm
from regard.model import ModelConfig, StackConfig, Transformer
from regard.planning import plan
from regard.positions import Rotary
from regard.settings import SettingsError
from tests.attention.setup import layer, sizes, tokens, view


def config(attention, **more):
    stack = StackConfig(n_layers=2, attention=attention, position="rotary")
    return ModelConfig(vocab_size=31, d_model=32, n_heads=4, context_length=24, decoder=stack, **more)


@pytest.mark.parametrize("q_rank", [None, 7])
@torch.no_grad()
def test_equals_deepseek_v2(q_rank):
    theirs = pytest.importorskip("transformers.models.deepseek_v2.modeling_deepseek_v2")
    parts = theirs.DeepseekV2Config(
        hidden_size=21,
        num_attention_heads=3,
        num_key_value_heads=3,
        kv_lora_rank=9,
        q_lora_rank=q_rank,
        qk_rope_head_dim=4,
        qk_nope_head_dim=6,
        v_head_dim=6,
        attention_bias=True,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        attn_implementation="eager",
    )
    mine = Latent(kv_rank=9, q_rank=q_rank, rope_dim=4, bias="all", norm=RMSNorm(eps=1e-6))
    of = sizes(d=21, heads=3, head=6)
    ours, other = layer(mine, of), theirs.DeepseekV2Attention(parts, layer_idx=0).double().eval()
    if q_rank is None:
        other.q_proj.weight.copy_(ours.q.weight)
    else:
        other.q_a_proj.load_state_dict(ours.q_down.state_dict())
        other.q_a_layernorm.weight.copy_(ours.q_norm.weight)
        other.q_b_proj.weight.copy_(ours.q.weight)
    for end in ("weight", "bias"):
        joined = torch.cat([getattr(ours.kv_down, end), getattr(ours.k_shared, end)])
        getattr(other.kv_a_proj_with_mqa, end).copy_(joined)
    other.kv_a_layernorm.weight.copy_(ours.kv_norm.weight)
    heads = [up.weight.unflatten(0, (3, 6)) for up in (ours.k_up, ours.v_up)]
    other.kv_b_proj.weight.copy_(torch.cat(heads, dim=1).flatten(0, 1))
    other.o_proj.load_state_dict(ours.o.state_dict())
    x = tokens(2, 7, 21)
    turns = theirs.DeepseekV2RotaryEmbedding(parts)(x, torch.arange(7)[None])
    future = torch.full((7, 7), -math.inf, dtype=torch.float64).triu(1)[None, None]
    expected, *_ = other(x, future, position_embeddings=turns)
    position = Rotary(base=500.0, interleaved=True).build(mine.doors(of))
    got = ours(x, None, view(7, Causal()), position, None)
    assert expected.std() > 0.1
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)  # their angles, norms and softmax are float32


@pytest.mark.parametrize("absorbs", [True, False])
@torch.no_grad()
def test_absorbed_equals_unpacked(absorbs):
    """Generation in either form gives what one pass over the whole text gives."""
    model = Transformer(config(Latent(), initialisation="xavier")).double().eval()
    ids = torch.randint(31, (2, 11), generator=torch.Generator().manual_seed(0))
    with mock.patch.object(LatentModule, "absorbed", autospec=True, side_effect=LatentModule.absorbed) as absorbed:
        whole = model(ids)
        assert absorbed.call_count == 0
        with mock.patch.object(LatentModule, "absorbs", return_value=absorbs):
            cache = model.cache(2)
            steps = torch.cat([model(part, cache=cache) for part in ids.split([4, 1, 1, 3, 1, 1], dim=1)], dim=1)
        assert absorbed.call_count == (12 if absorbs else 0)
    torch.testing.assert_close(steps, whole, rtol=1e-10, atol=1e-12)


def test_absorbs_where_that_is_cheaper():
    """DeepSeek-V2's sizes, 512 and 128: one token is absorbed, a long prompt unpacked."""
    attention = Latent().build(sizes(d=16, heads=2, head=128))
    assert attention.rank == 512
    assert attention.turned == 64
    assert [attention.absorbs(t) for t in (1, 170, 171, 4096)] == [True, True, False, False]


@torch.no_grad()
def test_the_cache_holds_the_latent_vectors_alone():
    """kv_rank + rope_dim numbers a token and layer, where dot-product attention keeps 2 h e."""
    held = {}
    for attention in (Dot(), Latent(kv_rank=12, rope_dim=4)):
        made = config(attention)
        model = Transformer(made).eval()
        cache = model.cache(3)
        model(torch.zeros(3, 10, dtype=torch.long), cache=cache)
        held[attention.kind] = cache.bytes
        assert plan(made).cache_bytes(10) * 3 == cache.bytes
    assert held["dot"] == 2 * 3 * 10 * 2 * 32 * 4
    assert held["latent"] == 2 * 3 * 10 * (12 + 4) * 4


def test_key_value_heads_are_refused():
    with pytest.raises(SettingsError, match="latent attention keeps one vector for all 4 heads"):
        config(Latent(), n_kv_heads=2)
