"""The balance of experts over a run: killed, cut into micro-batches, or spread over processes, it is the same."""

from pathlib import Path

import pytest
import torch

from regard.feedforward import Experts
from regard.model import Transformer
from regard.training import Muon, TrainingConfig, fit
from tests.training import small
from tests.training.test_loop import Dies, Killed, killed


def model(dropout: float = 0.1, **settings: object) -> Transformer:
    config = small.model(dropout).config
    experts = Experts(n_experts=4, balance_rate=0.01, **settings)
    return Transformer(config.replace(d_ff=12, decoder=config.decoder.replace(feedforward=experts)), seed=0)


def biases(model: Transformer) -> torch.Tensor:
    return torch.stack([layer.feedforward.bias for layer in model.decoder.layers])


def test_killed_runs_end_in_the_same_bits(tmp_path: Path) -> None:
    training = small.settings(optimiser=Muon(dtype="float32"))
    batches = small.batches()
    fit(model(), batches, training, tmp_path / "whole", validation=small.validation())
    with pytest.raises(Killed):
        fit(model(), Dies(batches, 14, killed), training, tmp_path / "killed", validation=small.validation())
    fit(model(), batches, training, tmp_path / "killed", validation=small.validation())
    assert small.files(tmp_path / "killed") == small.files(tmp_path / "whole")


def test_a_cut_batch_moves_the_bias_as_a_whole_one(tmp_path: Path) -> None:
    """The loss by which experts are balanced is another one for each micro-batch, and is left out."""

    def train(training: TrainingConfig) -> Transformer:
        made = model(dropout=0.0, balance_loss=0.0)
        batches = small.batches(accumulate=training.accumulate)
        fit(made, batches, training, tmp_path / str(training.accumulate))
        return made

    whole, cut = train(small.settings(steps=10)), train(small.settings(steps=10, accumulate=2))
    assert biases(whole).abs().max() > 0.02
    assert torch.allclose(biases(cut), biases(whole), atol=1e-6)
    for one, other in zip(cut.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_how_evenly_experts_are_used_is_written_down(tmp_path: Path) -> None:
    """A router that sends every token to the same two of four: their share is twice the fair one."""
    from regard.training.metrics import read

    made = model(dropout=0.0, balance_loss=0.0)
    with torch.no_grad():
        for layer in made.decoder.layers:
            layer.feedforward.bias.copy_(torch.tensor([9.0, 9.0, 0.0, 0.0]))
    fit(made, small.batches(), small.settings(steps=2), tmp_path)
    line = next(line for line in read(tmp_path / "metrics.jsonl") if "experts_busiest" in line)
    assert abs(line["experts_busiest"] - 2.0) < 1e-9
    assert abs(line["experts_overflow"] - 2 * (0.5 - 1.25 / 4)) < 1e-6
