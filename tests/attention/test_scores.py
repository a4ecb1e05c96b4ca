"""Other scores than the dot product, by brute force and by hand; and what they cost, as torch counts it."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from regard.attention import Additive, Attention, Causal, Cosine, Dot, General, TalkingHeads
from regard.attention.additive import additive_scores
from regard.layers import formulas, taps
from regard.model import ModelConfig, StackConfig, Transformer
from regard.planning import plan
from regard.positions import PositionModule
from regard.settings import SettingsError
from tests.attention.setup import layer, sizes, tokens, view


def heard_from(attention, x, mask=None):
    heard = {}
    with torch.no_grad(), taps(heard.__setitem__):
        attention(x, None, view(x.shape[1], mask), PositionModule(), None)
    return heard


def test_general_with_one_head_is_luongs():
    """score = xᵀ W x, unscaled."""
    of = sizes(d=5, heads=1, head=5)
    attention, x = layer(General(scale=1.0, bias="none"), of), tokens(d=5)
    expected = torch.einsum("btd,de,bse->bts", x, attention.k.weight, x)
    torch.testing.assert_close(heard_from(attention, x)["scores"][:, 0], expected)


def test_general_takes_the_tokens_features_in_slices():
    attention, x = layer(General()), tokens()
    scores, k = heard_from(attention, x)["scores"], attention.k(x)
    for head in range(3):
        here = slice(4 * head, 4 * head + 4)
        torch.testing.assert_close(scores[1, head, 2, 5], x[1, 2, here] @ k[1, 5, here] / 2)
    with pytest.raises(SettingsError, match="leave head_dim out"):
        ModelConfig(vocab_size=9, d_model=12, n_heads=3, head_dim=5, decoder=StackConfig(attention=General()))


def test_additive_by_brute_force():
    attention, x = layer(Additive()), tokens()
    scores = heard_from(attention, x, Causal())["scores"]
    q, k, look = attention.q(x).detach(), attention.k(x).detach(), attention.look.tolist()
    for head in range(3):
        for t in range(6):
            for s in range(6):
                bent = [math.tanh(q[0, t, i] + k[0, s, i]) for i in range(4 * head, 4 * head + 4)]
                expected = sum(a * b for a, b in zip(look[head], bent, strict=True)) if s <= t else -math.inf
                assert float(scores[0, head, t, s]) == pytest.approx(expected, rel=1e-9)


def test_additive_scores_serve_an_rnn():
    """One state of a decoder asks all states of an encoder: no head axis."""
    state, states, v = tokens(4, 1, 7), tokens(4, 9, 7), tokens(1, 1, 7)[0, 0]
    got = additive_scores(state, states, v)
    assert got.shape == (4, 1, 9)
    torch.testing.assert_close(got[2, 0, 3], (v * torch.tanh(state[2, 0] + states[2, 3])).sum())


def test_cosine_by_hand():
    """Two tokens at 60°: cosines 1 and 1/2, times g."""
    of = sizes(d=2, heads=1, head=2, context=16)
    attention = Cosine(bias="none").build(of).double()
    assert attention.scale.item() == pytest.approx(math.log2(16 * 15))
    with torch.no_grad():
        attention.scale.fill_(3.0)
        for linear in (attention.q, attention.k, attention.v, attention.o):
            linear.weight.copy_(torch.eye(2))
    x = torch.tensor([[[5.0, 0.0], [0.1, 0.1 * math.sqrt(3)]]], dtype=torch.float64)
    expected = torch.tensor([[3.0, 1.5], [1.5, 3.0]], dtype=torch.float64)
    torch.testing.assert_close(heard_from(attention, x)["scores"][0, 0], expected)
    with torch.no_grad():
        y = attention(x, None, view(2), PositionModule(), None)
    share = 1 / (1 + math.exp(-1.5))
    torch.testing.assert_close(y[0, 0], share * x[0, 0] + (1 - share) * x[0, 1])


@torch.no_grad()
def test_talking_heads_by_brute_force():
    attention, x = layer(TalkingHeads()), tokens()
    got = attention(x, None, view(6, Causal()), PositionModule(), None)
    q, k, v = (linear(x).unflatten(-1, (3, 4)) for linear in (attention.q, attention.k, attention.v))
    for t in range(6):
        seen = range(t + 1)
        scores = [[float(q[0, t, j] @ k[0, s, j]) / 2 for s in seen] for j in range(3)]
        shares = []
        for i in range(3):
            mixed = [math.exp(sum(float(attention.before[i, j]) * scores[j][s] for j in range(3))) for s in seen]
            shares.append([one / sum(mixed) for one in mixed])
        heads = []
        for i in range(3):
            weights = [sum(float(attention.after[i, j]) * shares[j][s] for j in range(3)) for s in seen]
            heads.append(sum(weight * v[0, s, i] for weight, s in zip(weights, seen, strict=True)))
        torch.testing.assert_close(got[0, t], attention.o(torch.cat(heads)))


@torch.no_grad()
def test_talking_heads_start_as_dot():
    one, x = TalkingHeads().build(sizes()).double(), tokens()
    dot = layer(Dot())
    one.load_state_dict(dot.state_dict(), strict=False)
    torch.testing.assert_close(*(a(x, None, view(6), PositionModule(), None) for a in (one, dot)))


def test_soft_cap_is_gemma2s():
    gemma2 = pytest.importorskip("transformers.models.gemma2.modeling_gemma2")
    attention, x = layer(Dot(softcap=1.5, scale=0.8)), tokens()
    heard = heard_from(attention, x)
    module = torch.nn.Module()
    module.num_key_value_groups = 1
    _, expected = gemma2.eager_attention_forward(
        module, heard["q"], heard["k"], heard["v"], None, scaling=0.8, softcap=1.5
    )
    torch.testing.assert_close(heard["weights"], expected.double(), rtol=1e-5, atol=1e-6)  # theirs is a float32 softmax
    assert heard["scores"].abs().max() <= 1.5


KINDS = ["single_head", "stacked_heads", "general", "additive", "cosine", "talking_heads", "differential", "latent"]


@pytest.mark.parametrize("kind", ["simplified", *KINDS])
def test_flops_equal_what_torch_counts(kind):
    attention = Attention.resolve(kind)
    stack = StackConfig(n_layers=2, attention=attention, position="none")
    config = ModelConfig(vocab_size=61, d_model=24, n_heads=3, context_length=20, decoder=stack)
    model = Transformer(config)
    with FlopCounterMode(display=False) as counter, formulas(), torch.no_grad():
        model(torch.zeros(1, 20, dtype=torch.long))
    assert plan(config).forward_flops * 20 == counter.get_total_flops()
