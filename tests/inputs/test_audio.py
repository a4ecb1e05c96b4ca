"""Audio input against torch's convolutions, its lengths by hand, and what it refuses."""

import pytest
import torch
from torch.nn import functional as F

from regard.attention import Padding
from regard.features import LogMel
from regard.heads.ctc import CTC
from regard.inputs import Audio
from regard.layers import Sizes
from regard.model import ModelConfig, StackConfig, Transformer
from regard.planning import plan
from regard.settings import SettingsError

SIZES = Sizes(d_model=6, n_heads=2, n_kv_heads=2, head_dim=3, d_ff=8, context_length=16)


def front(**settings):
    module = Audio(features=LogMel(n_mels=4), **settings).front(SIZES).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.5)
    return module


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9])
@pytest.mark.parametrize(("strides", "kernel"), [((1, 2), 3), ((2, 2), 3), ((2, 1, 3), 5)])
def test_it_is_torchs_convolution(strides, kernel, length):
    module, frames = front(strides=strides, kernel=kernel), torch.randn(2, length, 4, dtype=torch.float64)
    x, lengths = module(frames, None)
    assert lengths is None
    theirs = frames.transpose(1, 2)
    for layer, stride in zip(module.layers, strides, strict=True):
        weight = layer.matrix().unflatten(1, (kernel, -1)).transpose(1, 2)  # [d, features, kernel]
        theirs = F.gelu(F.conv1d(theirs, weight, layer.bias, stride, padding=kernel // 2))
    assert torch.allclose(x, theirs.transpose(1, 2), atol=1e-12)


def test_lengths_by_hand():
    """×4: each convolution makes ⌈s / 2⌉ of s. What stands past a row's end is not heard, be it not a number."""
    module, frames = front(strides=(2, 2)), torch.randn(4, 9, 4, dtype=torch.float64)
    lengths = torch.tensor([9, 8, 5, 1])
    for row, length in enumerate(lengths):
        frames[row, length:] = float("nan")
    x, real = module(frames, lengths)
    assert real.tolist() == [3, 2, 2, 1]
    for row, (length, count) in enumerate(zip(lengths, real, strict=True)):
        alone, _ = module(frames[row : row + 1, :length], None)
        assert alone.shape[1] == count
        assert torch.allclose(x[row, :count], alone[0], atol=1e-14)


def test_without_strides_it_is_one_matrix():
    module, frames = front(strides=()), torch.randn(2, 5, 4, dtype=torch.float64)
    x, lengths = module(frames, torch.tensor([5, 3]))
    assert torch.allclose(x, frames @ module.plain.matrix().T + module.plain.bias)
    assert lengths.tolist() == [5, 3]


def config(**changes):
    stack = StackConfig(n_layers=1)
    return ModelConfig(
        **{
            "vocab_size": 9,
            "d_model": 6,
            "n_heads": 2,
            "source": Audio(features=LogMel(n_mels=4)),
            "encoder": stack,
            **changes,
        }
    )


def test_an_encoder_shortens_its_mask():
    model = Transformer(config(decoder=StackConfig(n_layers=1)))
    encoded = model.encode(torch.randn(2, 7, 4), Padding(torch.tensor([7, 4])))
    assert encoded.x.shape == (2, 4, 6)
    assert encoded.mask.lengths.tolist() == [4, 2]


def test_a_plan_counts_its_convolutions():
    made = config(decoder=StackConfig(n_layers=1))
    convolutions = (3 * 4 * 6 + 6) + (3 * 6 * 6 + 6)
    assert plan(made).parameters["embedding"] == convolutions + 9 * 6
    assert plan(made).cache_values > 0
    joint = made.replace(ctc=CTC())
    assert plan(joint).total - plan(made).total == 6 * 10 + 10


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Audio(strides=(4,)), "would leave frames out"),
        (lambda: Audio(strides=(0,)), "would leave frames out"),
        (lambda: Audio(segments=2), "no segments"),
        (lambda: config(source=None, input=Audio(), decoder=StackConfig(n_layers=1)), "set source"),
        (lambda: config(source=None, decoder=None, ctc=CTC()), "ctc stands beside a decoder"),
    ],
)
def test_what_is_refused(make, says):
    with pytest.raises(SettingsError, match=says):
        make()
