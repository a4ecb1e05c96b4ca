"""Pre-training an encoder: a stopped run goes on to the same bits, micro-batches are the same step, and a loss that
stays where it began is remarked on."""

import json

import numpy as np
import pytest
import torch

from regard.settings import SettingsError
from regard.store import load_model
from regard.training import RunConfig, train
from regard.training.tasks import task_of
from regard.training.tasks.masked import unigram_loss

SMALL = (
    "model.d_model=16",
    "model.n_heads=2",
    "model.encoder.n_layers=1",
    "model.context_length=24",
    "tokenizer.vocab_size=80",
    "training.batch_size=4",
    "training.evaluate_every=4",
    "training.checkpoint_every=4",
    "training.evaluate_windows=4",
    "training.schedule.kind=constant",  # the rate does not depend on how many steps are asked for
    "training.schedule.learning_rate=1e-3",
    "training.device=cpu",
)
ORDERED = ("training.objective.second=order", "model.order.weight=1")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.jsonl"
    rows = [" ".join(f"word{(n * k) % 17} is {'odd' if n % 2 else 'even'}." for k in range(12)) for n in range(60)]
    path.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    return path


def small(text, out, steps, *more, **options):
    return train("bert", text, out, steps=steps, overrides=(*SMALL, *more), quiet=True, **options)


@pytest.mark.parametrize("more", [(), ORDERED], ids=["words", "order"])
def test_a_stopped_run_goes_on_to_the_same_bits(text, tmp_path, more):
    whole, cut = small(text, tmp_path / "whole", 8, *more), small(text, tmp_path / "cut", 4, *more)
    small(text, tmp_path / "cut", 8, *more)
    once, twice = load_model(whole.folder).state_dict(), load_model(cut.folder).state_dict()
    assert all(torch.equal(once[name], twice[name]) for name in once)


@pytest.mark.parametrize("more", [(), ORDERED], ids=["words", "order"])
def test_micro_batches_are_the_same_step(text, tmp_path, more):
    small(text, tmp_path, 1, *more)
    config = RunConfig.from_toml((tmp_path / "run.toml").read_text())
    parted = config.replace(training=config.training.replace(accumulate=2))
    whole, halves = (task_of(one).open(one, tmp_path) for one in (config, parted))
    for step in range(3):
        one = whole.objective.batch(whole.batches.at(step), 0, step)
        two = [halves.objective.batch(halves.batches.at(step, micro), 0, step) for micro in range(2)]
        assert one.target_count == sum(part.target_count for part in two)
        for row, (ids, targets) in enumerate(zip(one.inputs, one.targets, strict=True)):
            part, place = two[row // 2], row % 2
            width = part.inputs.shape[1]
            assert torch.equal(ids[:width], part.inputs[place])
            assert torch.equal(targets[:width], part.targets[place])


def test_guessing_by_frequency_by_hand():
    # Counts 3, 1, 0, each once more: 4/7, 2/7, 1/7.
    found = unigram_loss(np.array([0, 0, 1, 0]), np.array([0, 2]), 3)
    assert found == pytest.approx(-(np.log(4 / 7) + np.log(1 / 7)) / 2)


def test_a_loss_that_stays_on_the_plateau_is_remarked_on(text, tmp_path):
    run = small(text, tmp_path, 200, "training.schedule.learning_rate=1e-12", "training.evaluate_every=200")
    samples = [json.loads(line).get("sample", "") for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert "no better than that of guessing each word by how often it occurs" in samples[-1]


def test_the_order_of_two_parts_needs_its_head(text, tmp_path):
    with pytest.raises(SettingsError, match=r"model\.order"):
        small(text, tmp_path, 1, "training.objective.second=order")
