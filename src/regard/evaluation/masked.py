"""How well an encoder fills in hidden words of a text, each piece hidden exactly once.

    loss    = −(1/n) Σ log p(piece_i | all of its row but every seventh piece, i among them)      nats a piece

A row is read seven times, and each time another seventh of its pieces is the mask token: 14 %, close to the 15 % that
encoders learn with. Nothing is drawn, so the number is the same each time and for every model with this tokenizer.

Source   Devlin et al. 2018, arXiv:1810.04805, §3.1 (hidden words); Salazar et al. 2020, arXiv:1910.14659, §2.1 (each
         piece hidden once).
Cost     seven forward passes of the text.
Differs  Salazar et al. hide one piece at a time; here a piece does not see a seventh of the others. It is no perplexity
         of a text, and is not comparable with a decoder's.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from regard.bundle import Model, load
from regard.data.masked_batches import MaskedEvaluation, Rows
from regard.data.masks import Pieces
from regard.data.store import Part, TextData, TokenStore, keep_standard_input, prepare
from regard.evaluation.loss import given
from regard.settings import RegardError
from regard.text.frame import Frame

Source = str | os.PathLike[str]

TURNS = 7
"""Passes, in each of which another piece of so many is hidden."""


@dataclass(frozen=True)
class MaskedScores:
    """How well hidden words are filled in."""

    loss: float
    """Nats a piece."""
    accuracy: float
    """The share of pieces of which the likeliest is the right one."""
    tokens: int
    context_length: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {**vars(self), "hidden": 1 / TURNS}

    def __str__(self) -> str:
        return (
            f"loss {self.loss:.4f} nats a hidden piece, {self.accuracy:.2%} filled in right\n"
            f"  {self.tokens:,} pieces, each hidden once with every {TURNS}th of its row\n"
            f"  rows of {self.context_length:,} tokens"
        )


def evaluate_masked(
    model: Model | Source,
    data: Source | Iterable[Source] | None = None,
    *,
    context_length: int | None = None,
    batch_size: int = 16,
) -> MaskedScores:
    """How well an encoder fills in hidden words.

    data             a source of text, or several; None: the run's validation part
    context_length   tokens a row; None: what the model reads at once

    Raises `RegardError` where there is no text, or the model fills in nothing.
    """
    model = model if isinstance(model, Model) else load(model)
    if model.family != "encoder" or model.config.head.kind != "language":
        raise RegardError(f"{model.name} fills in no hidden words: that is for an encoder with a language head.")
    if model.tokenizer.mask is None:
        raise RegardError(f"the tokenizer of {model.name} has no mask token, so nothing can be hidden.")
    context = context_length or model.context_length
    if context > model.context_length:
        raise RegardError(f"context_length is {context:,}, and {model.name} reads {model.context_length:,} tokens.")
    if data is not None:
        with tempfile.TemporaryDirectory(prefix="regard-") as place:
            config = keep_standard_input(TextData(source=data, validation_fraction=0), place)
            return _of_part(model, prepare(config, model.tokenizer, place).train, context, batch_size)
    store = (model.folder or Path()) / "data"
    if model.folder is None or not (store / "store.json").is_file():
        raise RegardError(f"{model.name} holds no text of its own: name one to evaluate on.")
    validation = TokenStore.open(store).validation
    if validation is None:
        raise RegardError(f"{model.name} was trained without a validation part: name a text to evaluate on.")
    return _of_part(model, validation, context, batch_size)


@torch.inference_mode()
def _of_part(model: Model, part: Part, context: int, batch_size: int) -> MaskedScores:
    mask = model.tokenizer.mask
    assert mask is not None
    pieces = Pieces.of(model.tokenizer, mask)
    special = torch.from_numpy(pieces.special).to(model.device)
    rows = MaskedEvaluation(Rows(part, Frame.of(model.tokenizer), pieces, context), batch_size)
    nats, right, count = 0.0, 0, 0
    for index in range(len(rows)):
        batch = rows.at(index).to(model.device)
        if model.config.input.segments < 2:
            batch = replace(batch, segments=None)
        kept = (batch.targets >= 0) & ~special[batch.inputs]
        turn = kept.cumsum(1) % TURNS
        for number in range(TURNS):
            hidden = kept & (turn == number)
            if not hidden.any():
                continue
            x = model.transformer.hidden(batch.inputs.masked_fill(hidden, mask), **given(batch))
            logits = model.transformer.head(x[hidden][None], model.transformer.last_stack.input.tokens)[0].float()
            true = batch.inputs[hidden]
            nats += torch.nn.functional.cross_entropy(logits, true, reduction="sum").item()
            right += int((logits.argmax(-1) == true).sum())
            count += len(true)
    if not count:
        raise RegardError("the text is too short: there is nothing in it to hide.")
    return MaskedScores(nats / count, right / count, count, context)
