"""An attention GRU learns to reverse strings in seconds; without attention it forgets the long ones."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from regard.attention import Additive
from regard.data.batches import Batch
from regard.generation import Sampling, generate
from regard.model import ModelConfig, Normal, RecurrentConfig, Transformer
from regard.seeds import derive_seed
from regard.store import load_model
from regard.training import AdamW, Cosine, TrainingConfig, fit

END, BEGIN, VOCAB = 0, 1, 12


@dataclass(frozen=True)
class Reversals:
    """Rows of `low` to `high` symbols, equally long within a batch, and the same from the last to the first."""

    low: int
    high: int
    batch_size: int = 32

    def at(self, step: int, micro: int = 0, rank: int = 0, world: int = 1) -> Batch:
        random = torch.Generator().manual_seed(derive_seed(0, "reverse", step))
        length = int(torch.randint(self.low, self.high + 1, (), generator=random))
        source = torch.randint(2, VOCAB, (self.batch_size, length), generator=random)
        begin, end = (torch.full((self.batch_size, 1), id) for id in (BEGIN, END))
        answer = source.flip(1)
        inputs, targets = torch.cat([begin, answer], 1), torch.cat([answer, end], 1)
        return Batch(inputs, targets, targets.numel(), source=source)


def right(model: Transformer, length: int) -> float:
    """The share of 64 unseen rows that are written without a mistake."""
    asked = Reversals(length, length, 64).at(10**6)
    greedy = Sampling(temperature=0)
    with torch.inference_mode():
        written = generate(model, [[BEGIN]] * 64, greedy, length + 2, end=END, encoded=model.encode(asked.source))
    return sum(mine == row.flip(0).tolist() for mine, row in zip(written, asked.source, strict=True)) / 64


@pytest.mark.slow
def test_attention_reverses_what_a_last_state_cannot_hold(tmp_path: Path) -> None:
    found = {}
    for name, cross in (("attention", Additive()), ("none", None)):
        model = ModelConfig(
            vocab_size=VOCAB,
            d_model=64,
            context_length=16,
            encoder=RecurrentConfig(bidirectional=True),
            decoder=RecurrentConfig(cross=cross),
            initialisation=Normal(std=0.1),
        )
        training = TrainingConfig(
            steps=250,
            batch_size=32,
            optimiser=AdamW(),
            schedule=Cosine(learning_rate=5e-3, warmup=30),
            checkpoint_every=250,
            device="cpu",
            compile="off",
        )
        fit(Transformer(model), Reversals(3, 9), training, tmp_path / name)
        written = load_model(tmp_path / name)
        found[name] = {length: right(written, length) for length in (4, 9)}
    assert found["attention"][4] >= 0.95, found
    assert found["attention"][9] >= 0.8, found
    assert found["none"][9] <= found["attention"][9] - 0.4, found
    assert found["none"][4] > found["none"][9], found
