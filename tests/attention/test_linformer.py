"""Slots in place of tokens: brute force, lengths, and what it refuses."""

import pytest
import torch

from regard.attention import Causal, Linformer, Mask, View
from regard.layers import Sizes
from regard.model import ModelConfig, StackConfig
from regard.positions import NoPosition
from regard.settings import RegardError, SettingsError

SIZES = Sizes(d_model=6, n_heads=2, n_kv_heads=2, head_dim=3, d_ff=8, context_length=7)


def run(module, t, mask=None):
    slots = torch.arange(t)[None]
    x = torch.randn(1, t, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return x, module(x, None, View(mask or Mask(), slots, slots, square=True), NoPosition().build(SIZES), None)


@torch.no_grad()
@pytest.mark.parametrize("share", ["heads", "keys_values"])
def test_by_brute_force(share):
    """softmax(q · (E K)_j / √e) over the slots j, by loops over tokens, heads and slots."""
    module = Linformer(slots=4, share=share).build(SIZES).double()
    for p in module.parameters():
        p.normal_()
    x, got = run(module, 5)
    q, k, v = (linear(x)[0] for linear in (module.q, module.k, module.v))
    into_k = module.into_k.weight
    into_v = into_k if share == "keys_values" else module.into_v.weight
    for t in range(5):
        heads = []
        for head in (slice(0, 3), slice(3, 6)):
            keys = [sum(into_k[s, j] * k[s, head] for s in range(5)) for j in range(4)]
            values = [sum(into_v[s, j] * v[s, head] for s in range(5)) for j in range(4)]
            weights = torch.stack([q[t, head] @ key / 3**0.5 for key in keys]).exp()
            heads.append(sum(w * value for w, value in zip(weights / weights.sum(), values, strict=True)))
        torch.testing.assert_close(got[0, t], module.o(torch.cat(heads)))


def test_what_it_cannot_do_is_said():
    module = Linformer(slots=4).build(SIZES).double()
    with pytest.raises(RegardError, match="8 tokens long, and linformer attention has slots for 7"):
        run(module, 8)
    with pytest.raises(RegardError, match="padding and documents only"):
        run(module, 4, Causal())
    with pytest.raises(SettingsError, match="linformer attention cannot stand in a decoder: it cannot look back only"):
        ModelConfig(vocab_size=9, d_model=8, n_heads=2, decoder=StackConfig(attention=Linformer()))


def test_operations_are_linear_in_length():
    part = Linformer(slots=4)
    assert part.flops(SIZES, 2000, 2000) == 2 * part.flops(SIZES, 1000, 1000)
