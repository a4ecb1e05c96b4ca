"""Copy, reverse and sort are learnt in seconds: what no broken mask, position, loss or optimiser would manage."""

from pathlib import Path

import pytest

from regard.data.batches import IGNORE
from regard.data.synthetic import TASKS, TaskBatches
from regard.generation import Generation, Sampling
from regard.model import MLP, ModelConfig, PreNorm, StackConfig, Transformer
from regard.positions import Learned, Rotary
from regard.store import load_model
from regard.training import AdamW, Cosine, Muon, TrainingConfig, fit

WAYS = {
    "rotary-muon": (Rotary(), Muon(), 1e-2),
    "learned-adamw": (Learned(), AdamW(), 5e-3),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "way"), [("copy", "rotary-muon"), ("reverse", "learned-adamw"), ("sort", "rotary-muon")]
)
def test_a_task_is_learnt(task: str, way: str, tmp_path: Path) -> None:
    position, optimiser, rate = WAYS[way]
    batches = TaskBatches(task, batch_size=64, symbols=10, lengths=(6, 6))
    model = ModelConfig(
        vocab_size=batches.vocab_size,
        d_model=64,
        n_heads=4,
        context_length=batches.context_length,
        decoder=StackConfig(n_layers=2, position=position, feedforward=MLP(activation="gelu"), residual=PreNorm()),
    )
    training = TrainingConfig(
        steps=350,
        batch_size=64,
        optimiser=optimiser,
        schedule=Cosine(learning_rate=rate, warmup=20),
        checkpoint_every=350,
        device="cpu",
        compile="off",
    )
    run = fit(Transformer(model), batches, training, tmp_path)

    # Questions of a step that training never reached, answered word by word by the model that was saved.
    assert task in TASKS
    asked = batches.at(run.step + 1000)
    answers = (asked.targets[0] != IGNORE).sum().item()
    questions = [row[: asked.inputs.shape[1] - answers + 1].tolist() for row in asked.inputs]
    written: list[list[int]] = [[] for _ in questions]
    for step in Generation(load_model(tmp_path), questions, Sampling(temperature=0), limit=answers, end=batches.END):
        written[step.row].append(step.id)
    right = [mine == row[row != IGNORE].tolist() for mine, row in zip(written, asked.targets, strict=True)]
    assert sum(right) >= 0.9 * len(right)
