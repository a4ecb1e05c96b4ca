"""A relative encoding ignores a shift, and only a relative one does; and who may stand with whom."""

import pytest
import torch

from regard.attention import Attention, Padding
from regard.layers import Sizes
from regard.positions import Places, Position
from regard.settings import SettingsError
from tests.laws.members import NEEDS, close, config, fits, label, parts, rich, words

SIZES = Sizes(d_model=12, n_heads=2, n_kv_heads=2, head_dim=6, d_ff=16, context_length=64)


def scores(position, shift):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(1, 9, 12, generator=random, dtype=torch.float64)
    at = Places(torch.arange(9)[None] + shift)
    x = position.add(x, at)
    q = k = x.unflatten(-1, (2, 6)).transpose(1, 2)
    q, k = position.turn(q, k, at, at)
    result = q @ k.transpose(-1, -2)
    bias = position.bias(q, k, at, at, lambda: None)
    result = result if bias is None else result + bias
    beside = position.values(result.softmax(-1), at, at)
    return result if beside is None else torch.cat([result, beside], -1)


@pytest.mark.parametrize("part", parts("position"), ids=label)
def test_a_relative_encoding_ignores_a_shift(part):
    settings = Position.resolve(part)
    position = settings.build(SIZES).double()
    with torch.no_grad():
        for parameter in position.parameters():
            parameter.normal_()
    shift = 17 if settings.bounded else 3000
    difference = (scores(position, 0) - scores(position, shift)).abs().max()
    assert (difference < 1e-10) == Position.kinds()[part["kind"]].relative


@pytest.mark.parametrize("where", NEEDS)
@pytest.mark.parametrize("attention", Attention.kinds())
def test_a_wrong_pair_is_refused_in_one_sentence_and_any_other_computes(where, attention):
    """Padded, and word by word: equal to each row alone and all at once, with every position that the pair allows."""
    for position in Position.kinds():
        pair = {"attention": {"kind": attention}, "position": {"kind": position}}
        if not fits(where, *pair.values()):
            with pytest.raises(SettingsError) as caught:
                config(where, **pair)
            assert "\n" not in str(caught.value)
            assert attention in str(caught.value) or position in str(caught.value)
            continue
        made = config(where, **pair)
        model, ids, more = rich(made), words(2, 8), {}
        if where == "encoder-decoder":
            more["encoded"] = model.encode(words(2, 5, seed=5))
        whole = model(ids, mask=Padding(torch.tensor([8, 5])), **more)
        assert torch.isfinite(whole).all()
        if where != "encoder":
            cache = model.cache(2)
            close(torch.cat([model(part, cache=cache, **more) for part in ids.split([3, 1, 4], 1)], 1)[0], whole[0])
        if where != "encoder-decoder":
            close(model(ids[1:, :5])[0], whole[1, :5])
