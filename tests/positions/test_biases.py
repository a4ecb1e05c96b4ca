"""Biases that depend on positions alone: by hand, by loops, and as transformers has them."""

import math

import pytest
import torch

from regard.attention import Causal, Documents, View
from regard.layers import Sizes
from regard.model import ModelConfig, PreNorm, StackConfig, Transformer
from regard.positions import FIRE, KERPLE, T5, ALiBi, Places
from regard.positions.alibi import slopes
from regard.settings import SettingsError


def sizes(heads=2, causal=True, context=64):
    return Sizes(
        d_model=heads * 4, n_heads=heads, n_kv_heads=heads, head_dim=4, d_ff=8, context_length=context, causal=causal
    )


def bias(module, t=9, start=0, s=None):
    """The bias of queries at start … start + t − 1 on keys at 0 … s − 1, [h t s]."""
    s = start + t if s is None else s
    heads = getattr(module, "heads", 2)
    q, k = torch.zeros(1, heads, t, 4, dtype=torch.float64), torch.zeros(1, heads, s, 4, dtype=torch.float64)
    at = Places(torch.arange(start, start + t)[None])
    result = module.bias(q, k, at, Places(torch.arange(s)[None]), lambda: None)
    assert result.shape[0] == 1
    return result[0].detach()


# ALiBi


def test_slopes_of_the_paper():
    """§3: for 8 heads 1/2, 1/4 … 1/256; for 16 heads the geometric mean stands between each two."""
    assert slopes(8) == [2**-n for n in range(1, 9)]
    assert slopes(16) == pytest.approx([2 ** (-n / 2) for n in range(1, 17)])


def test_slopes_of_twelve_heads():
    """The eight of 8 heads, and the first four of 16 heads that stand between them, as in the authors' code."""
    assert slopes(12) == pytest.approx([2**-n for n in range(1, 9)] + [2 ** (-n / 2) for n in (1, 3, 5, 7)])
    for heads in range(1, 40):
        assert len(set(slopes(heads))) == heads


def test_alibi_by_hand():
    result = bias(ALiBi().build(sizes(2)), t=3)
    line = torch.tensor([[0.0, 1, 2], [1, 0, 1], [2, 1, 0]], dtype=torch.float64)
    assert torch.equal(result, torch.stack([-line / 16, -line / 256]))


# T5


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("buckets", "furthest"), [(32, 128), (32, 256), (64, 100), (8, 20), (4, 50), (16, 1000)])
def test_buckets_are_those_of_transformers(causal, buckets, furthest):
    from transformers.models.t5.modeling_t5 import T5Attention

    module = T5(buckets=buckets, max_distance=furthest).build(sizes(causal=causal))
    away = torch.arange(-3000, 3001)
    theirs = T5Attention._relative_position_bucket(-away, not causal, buckets, furthest)
    assert torch.equal(module.bucket(away), theirs)


def test_buckets_by_hand():
    """32 buckets, 128 tokens, both sides: 8 exact ones a side, then one for each factor of √2."""
    bucket = T5().build(sizes(causal=False)).bucket(torch.tensor([0, 1, 7, 8, 11, 12, 15, 16, 127, 128, 9999, -1, -16]))
    assert bucket.tolist() == [0, 1, 7, 8, 8, 9, 9, 10, 15, 15, 15, 17, 26]


@pytest.mark.parametrize("causal", [True, False])
def test_t5_bias_is_that_of_transformers(causal):
    transformers = pytest.importorskip("transformers")
    from transformers.models.t5.modeling_t5 import T5Attention

    config = transformers.T5Config(d_model=12, d_kv=4, num_heads=3, is_decoder=causal, use_cache=False)
    theirs = T5Attention(config, has_relative_attention_bias=True, layer_idx=0)
    module = T5().build(sizes(3, causal))
    module.heads = 3
    with torch.no_grad():
        module.table.weight.copy_(torch.randn_like(module.table.weight))
        theirs.relative_attention_bias.weight.copy_(module.table.weight)
    expected = theirs.compute_bias(200, 200)[0].detach()
    if causal:
        keep = torch.ones(200, 200).tril().bool()
        torch.testing.assert_close(bias(module, 200)[:, keep], expected[:, keep])
    else:
        torch.testing.assert_close(bias(module, 200), expected)


@pytest.mark.parametrize(("settings", "causal"), [({"buckets": 31}, True), ({"buckets": 30}, False)])
def test_uneven_buckets_are_refused(settings, causal):
    with pytest.raises(SettingsError, match="choose a multiple of"):
        T5(**settings).build(sizes(causal=causal))
    with pytest.raises(SettingsError, match="max_distance above 16"):
        T5(max_distance=16).build(sizes())


def stack(position, layers=3):
    return ModelConfig(
        vocab_size=9,
        d_model=8,
        n_heads=2,
        context_length=32,
        decoder=StackConfig(n_layers=layers, position=position, residual=PreNorm()),
    )


def test_t5_has_one_table_for_all_layers_and_looks_it_up_once(monkeypatch):
    model = Transformer(stack(T5()))
    assert [name for name, _ in model.named_parameters() if "positions" in name] == ["decoder.positions.0.table.weight"]
    calls = []
    (module,) = model.decoder.positions
    plain = module.bucket
    monkeypatch.setattr(module, "bucket", lambda away: calls.append(away.shape) or plain(away))
    ids = torch.randint(9, (4, 12))
    whole = model(ids)
    assert calls == [(1, 12, 12)]
    cache = model.cache(4)
    model(ids[:, :11], cache=cache)
    last = model(ids[:, 11:], cache=cache)
    assert calls[-1] == (1, 1, 12)  # a step of generation makes one row
    torch.testing.assert_close(last[:, 0], whole[:, -1])


# KERPLE


@pytest.mark.parametrize("variant", ["log", "power"])
def test_kerple_by_loops(variant):
    module = KERPLE(variant=variant).build(sizes(3)).double()
    module.heads = 3
    torch.nn.init.normal_(module.raw_a)
    torch.nn.init.normal_(module.raw_p)
    found = bias(module, 6)
    for h in range(3):
        a, x = math.exp(module.raw_a[h].item()), module.raw_p[h].item()
        for t in range(6):
            for s in range(6):
                n = abs(t - s)
                power = 2 / (1 + math.exp(-x))
                expected = -math.exp(x) * math.log(1 + a * n) if variant == "log" else -a * n**power
                assert found[h, t, s].item() == pytest.approx(expected)


@pytest.mark.parametrize("variant", ["log", "power"])
def test_kerple_is_conditionally_positive_definite(variant):
    """For weights that sum to zero the quadratic form of the kernel is never negative: theorem of §4."""
    module = KERPLE(variant=variant).build(sizes(4)).double()
    module.heads = 4
    kernel = bias(module, 20)
    centre = torch.eye(20, dtype=torch.float64) - 1 / 20
    assert torch.linalg.eigvalsh(centre @ kernel @ centre).min() > -1e-9


def test_kerple_starts_where_the_authors_draw():
    module = KERPLE().build(sizes(4))
    torch.testing.assert_close(module.raw_a.exp(), torch.tensor([0.125, 0.375, 0.625, 0.875]))
    torch.testing.assert_close(module.raw_p.exp(), torch.tensor([0.25, 0.75, 1.25, 1.75]))
    power = KERPLE(variant="power").build(sizes(4))
    torch.testing.assert_close(2 * power.raw_p.sigmoid(), torch.tensor([0.25, 0.75, 1.25, 1.75]))


# FIRE


def test_fire_by_loops():
    module = FIRE(width=5, threshold=4).build(sizes(3)).double()
    module.heads = 3
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    module.c.data.abs_()
    found = bias(module, 8)
    c, reach = module.c.item(), 4 * abs(module.stretch.item())
    for t in range(8):
        for s in range(8):
            share = math.log(1 + c * abs(t - s)) / (math.log(1 + c * max(t, reach)) + 1e-6)
            hidden = torch.relu(module.slope * share + module.shift)
            torch.testing.assert_close(found[:, t, s], module.down.weight @ hidden)


def test_fire_interpolates_beyond_its_threshold_and_not_below():
    """Share of the furthest token: grows up to L, then stays at one."""
    module = FIRE(threshold=50).build(sizes())
    share = [module.share(torch.tensor([t]), torch.tensor([t])).item() for t in (10, 50, 100, 1000)]
    assert share[0] < 0.5
    assert share[1:] == pytest.approx([1, 1, 1], abs=1e-5)


# All


@pytest.mark.parametrize("position", [ALiBi(), T5(), KERPLE(), FIRE()], ids=lambda position: position.kind)
def test_rows_that_stand_alike_share_a_bias(position):
    module = position.build(sizes())
    q = torch.zeros(3, 2, 6, 4)
    slots = torch.arange(6)[None]
    for mask, rows in ((Causal(), 1), (Causal() & Documents(torch.tensor([[0, 0, 1, 1, 1, 2]] * 3)), 3)):
        view = View(mask, slots, slots, square=True)
        assert module.bias(q, q, view.q_at, view.k_at, view.seen).shape == (rows, 2, 6, 6)


@pytest.mark.parametrize("position", [ALiBi(), T5(), KERPLE(), FIRE()], ids=lambda position: position.kind)
def test_far_positions_stay_apart_in_bfloat16(position):
    """Which knows whole numbers to 256 only: distances are counted in float32."""
    module = position.build(sizes())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_((parameter.uniform_(0.5, 1)).bfloat16())
    exact = bias(module.double(), t=1, start=2000)
    module.bfloat16()
    q, k = torch.zeros(1, 2, 1, 4, dtype=torch.bfloat16), torch.zeros(1, 2, 2001, 4, dtype=torch.bfloat16)
    at, others = Places(torch.tensor([[2000]])), Places(torch.arange(2001)[None])
    found = module.bias(q, k, at, others, lambda: None)[0].double()
    torch.testing.assert_close(found, exact, rtol=2e-2, atol=1e-6)
