"""Text → its hidden words: what `text.py` trains an encoder on."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from regard.data.batches import IGNORE
from regard.data.masked_batches import MaskedBatches, MaskedEvaluation, Rows
from regard.data.masks import Pieces
from regard.data.split import TextData
from regard.data.store import Part, TokenStore
from regard.evaluation.loss import given
from regard.model import Transformer
from regard.text import Tokenizer
from regard.text.frame import Frame
from regard.training.config import RunConfig
from regard.training.objectives import MaskedWords

COUNTED = 1 << 22
"""Pieces by which the entropy of the single piece is measured."""
SHOWN = 40
"""Pieces of a sample."""

PLATEAU = (
    "NOTE: the loss is no better than that of guessing each word by how often it occurs ({entropy:.2f} nats), after a "
    "quarter of the steps. Usually the learning rate is too high, or so low that nothing moves; else the masks or the "
    "labels are broken: look at the data with regard lint --task bert."
)


def masked_batches(
    config: RunConfig, store: TokenStore, tokenizer: Tokenizer, objective: MaskedWords
) -> tuple[MaskedBatches, MaskedEvaluation | None]:
    """What is trained and evaluated on; the objective hides words in it."""
    training, data = config.training, config.data
    assert isinstance(data, TextData)
    assert objective.mask is not None
    pieces = Pieces.of(tokenizer, objective.mask)

    def rows(part: Part) -> Rows:
        return Rows(
            part, Frame.of(tokenizer), pieces, config.model.context_length, objective.second, tokenizer.pad or 0,
            data.separate_documents,
        )  # fmt: skip

    batches = MaskedBatches(rows(store.train), training.batch_size, training.seed, training.accumulate)
    validation = None
    if store.validation is not None:
        size = max(1, training.batch_size // training.accumulate)
        validation = MaskedEvaluation(rows(store.validation), size, training.evaluate_windows)
    return batches, validation


def sampler(
    config: RunConfig, store: TokenStore, tokenizer: Tokenizer, objective: MaskedWords, shown: MaskedEvaluation
) -> Callable[[Transformer, int], str]:
    """What a model says behind the masks of a row: [guess], or [guess|truth] where it is wrong; and a note where the
    loss has not left the plateau that all begin on."""
    entropy = unigram_entropy(store.train.ids[:COUNTED])
    batch = objective.batch(shown.at(0), config.training.seed, 0)

    def sample(model: Transformer, step: int) -> str:
        training = model.training
        model.eval()
        with torch.no_grad():
            moved = batch.to(next(model.parameters()).device)
            logits = model(moved.inputs, **given(moved)).float().cpu()
        model.train(training)
        hidden = batch.targets != IGNORE
        loss = torch.nn.functional.cross_entropy(logits[hidden], batch.targets[hidden]).item()
        text = _said(batch.inputs[0, :SHOWN], batch.targets[0], logits[0].argmax(-1), tokenizer)
        if step >= config.training.steps / 4 and loss > 0.97 * entropy:
            text += "  " + PLATEAU.format(entropy=entropy)
        return text

    return sample


def unigram_entropy(ids: np.ndarray) -> float:
    """Nats a piece: −Σ p log p of how often each occurs. An encoder that learns nothing else ends there."""
    counts = np.bincount(np.asarray(ids, np.int64))
    p = counts[counts > 0] / max(1, counts.sum())
    return float(-(p * np.log(p)).sum()) if len(p) else math.nan


def _said(inputs: torch.Tensor, targets: torch.Tensor, guesses: torch.Tensor, tokenizer: Tokenizer) -> str:
    parts = []
    for place, token in enumerate(inputs.tolist()):
        truth, guess = int(targets[place]), int(guesses[place])
        if truth == IGNORE:
            if token not in tokenizer.special.values():
                parts.append(_text(token, tokenizer))
            continue
        right, wrong = _text(truth, tokenizer), _text(guess, tokenizer).strip()
        space = " " if right.startswith(" ") else ""
        parts.append(f"{space}[{right.strip()}]" if truth == guess else f"{space}[{wrong}|{right.strip()}]")
    return "".join(parts).strip()


def _text(token: int, tokenizer: Tokenizer) -> str:
    if token in tokenizer.special.values():
        return tokenizer.decode([token], special=True)
    return tokenizer.token_bytes(token).decode(errors="replace")
