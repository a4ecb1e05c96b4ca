"""Train short, read long: encodings that refuse, that keep their loss, and that lose it."""

import math

import pytest
import torch

from regard.papers import lengths
from regard.papers.lengths import TRAINED, bits, learn, model, text
from regard.positions import ALiBi, Learned, NoPosition, Sinusoidal


def test_an_untrained_model_knows_nothing():
    """Its logits are nearly level: eight bits a byte, whatever the length."""
    learner = model(NoPosition()).eval()
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.zero_()
    assert bits(learner, TRAINED, windows=4) == pytest.approx(8)


def test_the_same_bytes_are_predicted_at_each_length():
    """A model that looks at the last byte alone has the same loss at every length."""
    learner = model(NoPosition()).eval()
    with torch.no_grad():
        for name, parameter in learner.named_parameters():
            if ".attention.o." in name:
                parameter.zero_()
    found = [bits(learner, length, windows=8) for length in (TRAINED, 100, 8 * TRAINED)]
    assert found == pytest.approx([found[0]] * 3, abs=1e-5)
    with pytest.raises(ValueError, match="513"):
        bits(learner, 513)


def test_a_learned_table_refuses():
    learner = model(Learned()).eval()
    assert math.isfinite(bits(learner, TRAINED, windows=4))
    assert bits(learner, TRAINED + 1, windows=4) == math.inf


def test_nothing_held_out_is_trained_on():
    training, held = text()
    assert len(held) > 8 * TRAINED
    whole = bytes(training.tolist())
    assert bytes(held[:200].tolist()) not in whole
    assert bytes(held[-200:].tolist()) not in whole


@pytest.mark.slow
def test_alibi_keeps_its_loss_and_sinusoidal_positions_do_not():
    """The same few steps of each, on the same windows."""
    risen = {}
    for part in (ALiBi(), Sinusoidal()):
        learner = learn(part, steps=150)
        near, far = (bits(learner, length, windows=32) for length in (TRAINED, 4 * TRAINED))
        assert near < 4
        risen[part.kind] = far - near
    assert risen["alibi"] < 0.1
    assert risen["sinusoidal"] > 0.3


def test_reach_ends_where_the_loss_first_rises(monkeypatch):
    losses = {64: 2.0, 68: 2.04, 72: 2.06, 80: 2.0}
    monkeypatch.setattr(lengths, "bits", lambda learner, length: losses.get(length, 2.0))
    assert lengths.reach(None) == 68
    monkeypatch.setattr(lengths, "bits", lambda learner, length: 2.0)
    assert lengths.reach(None) == 512
