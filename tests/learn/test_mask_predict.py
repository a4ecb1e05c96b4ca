"""A translator that writes all words at once learns to reverse within half a minute, and how long the answer is."""

from pathlib import Path

import numpy as np
import pytest
import torch

from regard.attention import Padding
from regard.data.batches import Batch
from regard.data.pair_batches import pair_batch
from regard.generation.mask_predict import Refinement, mask_predict
from regard.heads.length import Length
from regard.model import ModelConfig, PreNorm, StackConfig, Transformer, Xavier
from regard.seeds import derive_seed
from regard.store import load_model
from regard.training import AdamW, Cosine, TrainingConfig, fit
from regard.training.objectives import MaskPredict

BEGIN, END, MASK, FIRST, WORDS = 0, 1, 2, 3, 13


class Reversals:
    """Rows of 3 to 8 letters, each with itself backwards."""

    def at(self, step: int, micro: int = 0, rank: int = 0, world: int = 1, rows: int = 32) -> Batch:
        random = np.random.default_rng(derive_seed(0, "reversals", step))
        texts = [random.integers(FIRST, WORDS, random.integers(3, 9)) for _ in range(rows)]
        return pair_batch([np.append(text, END) for text in texts], [text[::-1] for text in texts], BEGIN, END)


@pytest.mark.slow
def test_reversing_is_learnt_and_how_long_the_answer_is(tmp_path: Path) -> None:
    stack, batches, steps = StackConfig(n_layers=2, residual=PreNorm()), Reversals(), 400
    model = ModelConfig(
        vocab_size=WORDS,
        d_model=64,
        n_heads=4,
        context_length=16,
        encoder=stack,
        decoder=stack,
        length=Length(),
        initialisation=Xavier(),
    )
    training = TrainingConfig(
        steps=steps,
        objective=MaskPredict(mask=MASK),
        optimiser=AdamW(),
        schedule=Cosine(learning_rate=3e-3, warmup=50),
        checkpoint_every=steps,
        device="cpu",
        compile="off",
    )
    fit(Transformer(model), batches, training, tmp_path)

    learnt = load_model(tmp_path).eval()
    asked = batches.at(steps + 1000, rows=200)
    with torch.no_grad():
        encoded = learnt.encode(asked.source, Padding(asked.source_lengths))
        lengths = learnt.length(encoded.x, encoded.mask).argmax(-1) + 1
    assert (lengths == asked.lengths - 1).double().mean() >= 0.95
    expected = [row[: n - 1].tolist() for row, n in zip(asked.targets, asked.lengths, strict=True)]
    for iterations, candidates in ((1, 1), (4, 3)):
        how = Refinement(iterations=iterations, candidates=candidates)
        written = mask_predict(learnt, encoded, how, mask=MASK, never=(BEGIN, END))
        assert np.mean([best.ids == answer for [best], answer in zip(written, expected, strict=True)]) >= 0.9
