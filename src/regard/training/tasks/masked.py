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
"""Pieces that are counted."""
LEAST = 200
"""Steps before which a plateau means nothing: all begin on one."""
SHOWN = 40
"""Pieces of a sample."""

PLATEAU = (
    "NOTE: the loss is no better than that of guessing each word by how often it occurs ({loss:.2f} nats), after a "
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
    batch = objective.batch(shown.at(0), config.training.seed, 0)
    hidden = batch.targets != IGNORE
    plateau = unigram_loss(store.train.ids[:COUNTED], batch.targets[hidden].numpy(), config.model.vocab_size)

    def sample(model: Transformer, step: int) -> str:
        training = model.training
        model.eval()
        with torch.no_grad():
            moved = batch.to(next(model.parameters()).device)
            logits = model(moved.inputs, **given(moved)).float().cpu()
        model.train(training)
        loss = torch.nn.functional.cross_entropy(logits[hidden], batch.targets[hidden]).item()
        text = _said(batch.inputs[0, :SHOWN], batch.targets[0], logits[0].argmax(-1), tokenizer)
        if step >= max(LEAST, config.training.steps / 4) and loss > 0.97 * plateau:
            text += "  " + PLATEAU.format(loss=plateau)
        return text

    return sample


def unigram_loss(ids: np.ndarray, targets: np.ndarray, vocab_size: int) -> float:
    """Nats a piece of guessing the targets by how often each piece occurs, each once more than it does. An encoder
    that learns nothing else stays there."""
    counts = np.bincount(np.asarray(ids, np.int64), minlength=vocab_size) + 1.0
    return float(-np.log(counts[targets] / counts.sum()).mean()) if len(targets) else math.inf


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
