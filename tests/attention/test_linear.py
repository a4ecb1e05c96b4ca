"""Attention that is linear in length: brute force, its three forms, its memory, and what it refuses."""

import pytest
import torch
from torch.nn import functional as F

from regard.attention import DPFP, Attention, Causal, FastWeights, LinearAttention, Padding, Prefix, Retention, View
from regard.attention.recurrent import Recurrent
from regard.layers import Sizes, formulas
from regard.model import ModelConfig, StackConfig, Transformer
from regard.positions import NoPosition
from regard.settings import RegardError, SettingsError
from tests.laws.members import close

KINDS = Recurrent.kinds()


def sizes(d=12, heads=4, groups=4, head=3, context=64, causal=True):
    return Sizes(
        d_model=d, n_heads=heads, n_kv_heads=groups, head_dim=head, d_ff=8, context_length=context, causal=causal
    )


def built(settings, s, dtype=torch.float64):
    module = settings.build(s).to(dtype)
    with torch.no_grad():
        for p in module.parameters():
            p.normal_(std=0.5)
    return module


def look(module, x, mask):
    slots = torch.arange(x.shape[1])[None]
    return module(x, None, View(mask, slots, slots, square=True), NoPosition().build(sizes()), None)


@pytest.mark.parametrize("groups", [1, 2, 4])
@torch.no_grad()
def test_linear_attention_by_brute_force(groups):
    """A loop over rows, tokens and heads, with the weight of each pair of tokens as the paper writes it."""
    module = built(LinearAttention(), sizes(groups=groups))
    x = torch.randn(2, 6, 12, dtype=torch.float64)
    got = look(module, x, Causal())
    q, k, v = (linear(x) for linear in (module.q, module.k, module.v))
    for row in range(2):
        for t in range(6):
            heads = []
            for head in range(4):
                here, there = slice(head * 3, head * 3 + 3), head // (4 // groups)
                there = slice(there * 3, there * 3 + 3)
                weights = [float((F.elu(q[row, t, here]) + 1) @ (F.elu(k[row, s, there]) + 1)) for s in range(t + 1)]
                heads.append(sum(w * v[row, s, there] for s, w in enumerate(weights)) / sum(weights))
            close(got[row, t], module.o(torch.cat(heads)))


def test_dpfp_by_hand():
    """r = (1, 2, 0, 0) for x = (1, 2), and (1, 0, 0, 2) for (1, −2): its last and first are neighbours."""
    module = DPFP(nu=2).build(sizes())
    x = torch.tensor([[[[1.0, 2.0]]]])
    assert module.features(x).tolist() == [[[[2, 0, 0, 0, 0, 0, 0, 0]]]]
    assert module.features(torch.tensor([[[[1.0, -2.0]]]])).tolist() == [[[[0, 0, 0, 2, 0, 0, 0, 0]]]]


@torch.no_grad()
def test_retention_is_its_parallel_formula():
    module = built(Retention(bias="none"), sizes(d=6, heads=2, groups=2))
    x = torch.randn(1, 70, 6, dtype=torch.float64)
    q, k, v = ((x @ linear.weight.T)[0].view(70, 2, 3).transpose(0, 1) for linear in (module.q, module.k, module.v))
    heads = []
    for head, gamma in enumerate((1 - 1 / 32, 1 - 1 / 64)):
        away = torch.arange(70)[:, None] - torch.arange(70)
        decay = torch.where(away >= 0, gamma ** away.double(), 0.0)
        y = (q[head] @ k[head].T / 3**0.5 * decay) @ v[head]
        y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        heads.append(y)
    gate = x[0] @ module.gate.weight.T
    expected = (gate / (1 + (-gate).exp()) * torch.cat(heads, -1)) @ module.o.weight.T
    close(look(module, x, Causal())[0], expected)


@torch.no_grad()
def test_the_rule_of_1991_by_a_loop_over_tokens():
    module = built(FastWeights(bias="none"), sizes(d=3, heads=1, groups=1))
    x = torch.randn(1, 9, 3, dtype=torch.float64)
    fast, rows = torch.zeros(3, 3, dtype=torch.float64), []
    for token in x[0]:
        fast = fast + torch.outer(module.v(token), module.k(token))
        rows.append(module.o(fast @ module.q(token)))
    close(look(module, x, Causal())[0], torch.stack(rows))


@torch.no_grad()
def test_fast_weights_with_a_normaliser_are_linear_attention():
    one = built(FastWeights(features="elu", normaliser="sum"), sizes(), torch.float32)
    other = LinearAttention().build(sizes())
    other.load_state_dict(one.state_dict())
    x = torch.randn(2, 200, 12)
    close(look(one, x, Causal()), look(other, x, Causal()), 1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_parallel_chunked_and_recurrent_are_one(kind):
    """Over more than two chunks, heads sharing keys; the laws do the same for short texts and all masks."""
    stack = StackConfig(n_layers=2, attention=KINDS[kind](), position="rotary")
    sizes = {"d_model": 16, "n_heads": 2, "n_kv_heads": 1, "d_ff": 16, "context_length": 160}
    model = Transformer(ModelConfig(vocab_size=11, decoder=stack, **sizes)).double().eval()
    ids = torch.randint(11, (2, 150))
    chunked = model(ids)
    with formulas():
        close(model(ids), chunked)
    cache = model.cache(2)
    close(torch.cat([model(ids[:, t : t + 1], cache=cache) for t in range(150)], 1), chunked)
    cache = model.cache(2)
    close(torch.cat([model(part, cache=cache) for part in ids.split([70, 1, 79], 1)], 1), chunked)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_a_state_is_constant_in_memory(kind):
    stack = StackConfig(n_layers=1, attention=KINDS[kind](), position="none")
    model = Transformer(ModelConfig(vocab_size=11, d_model=16, n_heads=2, d_ff=16, decoder=stack)).eval()
    cache = model.cache(1)
    model(torch.zeros(1, 1, dtype=torch.long), cache=cache)
    one = cache.bytes
    for _ in range(3):
        model(torch.zeros(1, 333, dtype=torch.long), cache=cache)
    assert cache.lengths.tolist() == [1000]
    assert (
        cache.bytes
        == one
        == 2
        * 4
        * KINDS[kind]().width(model.config.sizes("decoder"))
        * (8 + model.decoder.layers[0].attention.normalised)
    )


@torch.no_grad()
def test_what_cross_attention_keeps_does_not_grow_with_the_source():
    stack = StackConfig(n_layers=1, position="none", attention=LinearAttention(), cross=LinearAttention())
    config = ModelConfig(vocab_size=11, d_model=16, n_heads=2, d_ff=16, encoder=stack, decoder=stack)
    model = Transformer(config).eval()
    kept = []
    for length in (3, 300):
        cache = model.cache(1)
        encoded = model.encode(torch.zeros(1, length, dtype=torch.long))
        model(torch.zeros(1, 1, dtype=torch.long), encoded=encoded, cache=cache)
        kept.append(cache.bytes)
    assert kept[0] == kept[1]


@pytest.mark.parametrize("kind", KINDS)
def test_operations_grow_with_the_length_and_not_with_its_square(kind):
    part, s = KINDS[kind](), sizes()
    assert part.flops(s, 1, 10) == part.flops(s, 1, 10_000) > 0
    assert part.flops(s, 4096, 4096) == 4 * part.flops(s, 1024, 1024) < Attention.flops(part, s, 4096, 4096)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_that_sees_nothing_gets_zeros(kind):
    module = built(KINDS[kind](bias="qkv"), sizes())
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    for form in (formulas, torch.no_grad):
        with form():
            y = look(module, x, Causal() & Padding(torch.tensor([0, 5])))
        assert (y[0] == 0).all()
        assert (y[1] != 0).any()


@pytest.mark.parametrize("kind", KINDS)
def test_sums_are_in_float32_under_autocast(kind):
    module = built(KINDS[kind](), sizes(), torch.float32)
    x = torch.randn(1, 100, 12, requires_grad=True)
    exact = look(module, x, Causal())
    with torch.autocast("cpu", torch.bfloat16):
        rough = look(module, x, Causal())
    rough.float().sum().backward()
    assert rough.dtype == torch.bfloat16
    assert torch.isfinite(x.grad).all()
    assert (rough - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_masks_that_are_no_sum_are_refused():
    module = built(LinearAttention(), sizes())
    with pytest.raises(RegardError, match=r"linear attention .* take 'dot' attention"):
        look(module, torch.randn(1, 4, 12, dtype=torch.float64), Causal() | Prefix(torch.tensor([2])))
    with pytest.raises(SettingsError, match="linear attention does not go with a window pattern"):
        StackConfigs(attention="linear", pattern="window")
    with pytest.raises(SettingsError, match="delta attention cannot stand in an encoder"):
        ModelConfig(vocab_size=9, d_model=8, n_heads=2, decoder=None, encoder=StackConfig(attention="delta"))
    with pytest.raises(SettingsError, match="choose features 'elu' or 'dpfp'"):
        StackConfigs(attention=FastWeights(normaliser="sum"))


def StackConfigs(**settings):
    return ModelConfig(vocab_size=9, d_model=8, n_heads=2, decoder=StackConfig(**settings))
