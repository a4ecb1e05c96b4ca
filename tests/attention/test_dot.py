"""Scaled dot-product attention by hand and by brute force."""

import math

import pytest
import torch

from regard.attention import Causal, Documents, Dot, Padding, Prefix, View, Window
from regard.layers import Sizes
from regard.model import ModelConfig, StackConfig
from regard.positions import NoPosition
from regard.settings import SettingsError


def sizes(d=4, heads=2, groups=2, head=2):
    return Sizes(d_model=d, n_heads=heads, n_kv_heads=groups, head_dim=head, d_ff=8, context_length=8)


def view(mask, t):
    slots = torch.arange(t)[None]
    return View(mask, slots, slots, square=True)


def test_by_hand():
    """Two tokens, one head of size 1, scale 1: the second token's weights are softmax(2·1, 2·3)."""
    attention = Dot(bias="none", scale=1.0).build(sizes(d=1, heads=1, groups=1, head=1)).double()
    with torch.no_grad():
        for linear, value in ((attention.q, 2.0), (attention.k, 1.0), (attention.v, 10.0), (attention.o, 1.0)):
            linear.weight.fill_(value)
    x = torch.tensor([[[1.0], [3.0]]], dtype=torch.float64)
    y = attention(x, None, view(Causal(), 2), NoPosition().build(sizes()), None)
    first = 10.0
    a, b = math.exp(6 * 1), math.exp(6 * 3)
    second = (a * 10 + b * 30) / (a + b)
    torch.testing.assert_close(y.flatten(), torch.tensor([first, second], dtype=torch.float64))


@pytest.mark.parametrize("groups", [1, 2, 4])
@torch.no_grad()
def test_heads_and_groups_by_brute_force(groups):
    """A loop over rows, heads and tokens says the same."""
    s = sizes(d=12, heads=4, groups=groups, head=3)
    attention = Dot().build(s).double()
    with torch.no_grad():
        for p in attention.parameters():
            p.normal_()
    x = torch.randn(2, 6, 12, dtype=torch.float64)
    got = attention(x, None, view(Causal(), 6).narrowed(Window(size=3)), NoPosition().build(s), None)
    q, k, v = (linear(x) for linear in (attention.q, attention.k, attention.v))
    for row in range(2):
        for t in range(6):
            heads = []
            for head in range(4):
                group = head // (4 // groups)
                mine = q[row, t, head * 3 : head * 3 + 3]
                seen = range(max(0, t - 2), t + 1)
                keys = [k[row, i, group * 3 : group * 3 + 3] for i in seen]
                values = [v[row, i, group * 3 : group * 3 + 3] for i in seen]
                scores = [math.exp(float(mine @ key) / math.sqrt(3)) for key in keys]
                heads.append(sum(w * value for w, value in zip(scores, values, strict=True)) / sum(scores))
            torch.testing.assert_close(got[row, t], attention.o(torch.cat(heads)))


def test_masks_as_grids():
    def grid(mask, t=4):
        return ["".join("#" if cell else "." for cell in row) for row in mask.dense(t)[0].tolist()]

    assert grid(Causal()) == ["#...", "##..", "###.", "####"]
    assert grid(Padding(torch.tensor([2]))) == ["##.."] * 4
    assert grid(Padding.left(torch.tensor([3]), 4)) == [".###"] * 4
    assert grid(Causal() | Prefix(torch.tensor([3]))) == ["###.", "###.", "###.", "####"]


def test_views_of_a_mask():
    mask = Causal() & Padding(torch.tensor([3, 4]))
    assert mask.is_causal
    assert mask.lengths.tolist() == [3, 4]
    assert mask.documents is None
    assert mask.made_of(Causal, Documents, Padding)
    assert not mask.made_of(Causal, Documents)
    assert not (Causal() | Prefix(torch.tensor([1]))).is_causal


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(SettingsError, match="10 cannot be split into 3 heads"):
        ModelConfig(vocab_size=9, d_model=10, n_heads=3)
    with pytest.raises(SettingsError, match="cannot share 2 key-value heads"):
        ModelConfig(vocab_size=9, d_model=9, n_heads=3, n_kv_heads=2, decoder=StackConfig())
