"""Random features are drawn anew by the training loop, at steps that ask for it; a killed run draws the same."""

from pathlib import Path

import pytest
import torch

from regard.attention import Performer
from regard.model import Transformer
from regard.training import fit
from tests.training import small
from tests.training.test_loop import Dies, Killed, killed


def model() -> Transformer:
    config = small.model().config
    attention = Performer(features=8, redraw_every=6)
    return Transformer(config.replace(decoder=config.decoder.replace(attention=attention)), seed=0)


def features(model: Transformer) -> torch.Tensor:
    return torch.stack([layer.attention.omega for layer in model.decoder.layers]).clone()


def test_features_change_at_their_steps_only(tmp_path: Path) -> None:
    seen = [features(model())]
    for steps in (5, 6, 11, 12):
        made = model()
        fit(made, small.batches(), small.settings(steps=steps), tmp_path / str(steps))
        seen.append(features(made))
    first, five, six, eleven, twelve = seen
    assert torch.equal(five, first)
    assert not torch.equal(six, first)
    assert torch.equal(eleven, six)
    assert not torch.equal(twelve, six)
    assert not torch.equal(six[0], six[1])  # each layer draws its own


def test_killed_runs_end_in_the_same_bits(tmp_path: Path) -> None:
    training, batches = small.settings(), small.batches()
    fit(model(), batches, training, tmp_path / "whole", validation=small.validation())
    with pytest.raises(Killed):
        fit(model(), Dies(batches, 14, killed), training, tmp_path / "killed", validation=small.validation())
    fit(model(), batches, training, tmp_path / "killed", validation=small.validation())
    assert small.files(tmp_path / "killed") == small.files(tmp_path / "whole")
