"""A model and a text so small that many runs fit into a second."""

from pathlib import Path

import numpy as np

from regard.data.batches import Batches, EvaluationBatches
from regard.data.store import Part
from regard.model import MLP, ModelConfig, PreNorm, StackConfig, Transformer
from regard.positions import Rotary
from regard.training import EMA, AdamW, Cosine, Muon, TrainingConfig
from regard.training.average import Last

CONTEXT = 8


def part(n: int = 200, seed: int = 0, documents: int = 3) -> Part:
    """Ids in which each follows from the one before, most of the time; documents of unequal length."""
    random = np.random.default_rng(seed)
    ids = np.cumsum(random.choice([1, 1, 1, 5], size=n)) % 11
    starts = np.sort(random.choice(n, size=documents, replace=False))
    starts[0] = 0
    return Part("train", ids.astype("<u2"), starts.astype("<i8"), documents, n, n)


def model(dropout: float = 0.1, seed: int = 0) -> Transformer:
    stack = StackConfig(n_layers=2, position=Rotary(), feedforward=MLP(activation="relu"), residual=PreNorm())
    config = ModelConfig(vocab_size=11, d_model=16, n_heads=2, context_length=CONTEXT, dropout=dropout, decoder=stack)
    return Transformer(config, seed)


def batches(batch_size: int = 4, accumulate: int = 1, n: int = 200) -> Batches:
    """An epoch of 24 windows, so 6 steps."""
    return Batches(part(n), batch_size, CONTEXT, seed=3, accumulate=accumulate)


def validation() -> EvaluationBatches:
    return EvaluationBatches(part(100, seed=1), 4, CONTEXT)


def settings(**changes: object) -> TrainingConfig:
    """A run of 20 steps, over three epochs, with a checkpoint that falls inside one."""
    values = {
        "steps": 20,
        "batch_size": 4,
        "optimiser": AdamW(),
        "schedule": Cosine(learning_rate=1e-2, warmup=4),
        "log_every": 3,
        "evaluate_every": 4,
        "checkpoint_every": 5,
        "sample_tokens": 0,
        "device": "cpu",
        "compile": "off",
    }
    return TrainingConfig(**{**values, **changes})


RUNS = {
    "adamw": settings(),
    "muon-ema": settings(optimiser=Muon(dtype="float32"), average=EMA(decay=0.8), batch_size=4, accumulate=2),
    "last": settings(average=Last(count=2, every=3), smoothing=0.1, z_loss=1e-3),
}


def files(folder: Path) -> dict[str, bytes]:
    """All that must be equal to the bit at the end of two equal runs."""
    newest = max((folder / "checkpoints").iterdir())
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in [folder / "metrics.jsonl", folder / "model.safetensors", *sorted(newest.iterdir())]
    }
