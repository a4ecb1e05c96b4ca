"""Perplexity of a whole text, with the conventions that it was measured by.

Each token but the first is predicted exactly once, from what stands before it in its window and its document. Windows
of `context_length` tokens start `stride` tokens apart, and count what no window before them counted. With stride =
context_length a token at a window's start sees little; a smaller stride gives every token at least context_length −
stride tokens to see, lowers the loss, and costs context_length / stride as much. A document follows a begin token, else
an end token, where the tokenizer has one; what follows it is predicted too, as in training; bytes are those of the text
alone.

Source   Jelinek et al. 1977 (perplexity); Baevski & Auli 2019, arXiv:1809.10853, §4.2 (overlapping windows).
Cost     one forward pass of a window for each stride.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from regard.bundle import Model, load
from regard.data.batches import IGNORE, Batch
from regard.data.store import Part, TextData, TokenStore, keep_standard_input, prepare
from regard.evaluation.loss import Evaluation, total_loss
from regard.generation.scoring import windows
from regard.settings import RegardError

Source = str | os.PathLike[str]


@dataclass(frozen=True)
class Perplexity:
    """The score of a model on a text, and how it was measured."""

    evaluation: Evaluation
    context_length: int
    stride: int
    documents: int
    bytes: int
    separate_documents: bool

    @property
    def loss(self) -> float:
        """Nats a token: the true negative log-likelihood, whatever the model was trained to lower."""
        return self.evaluation.loss

    @property
    def perplexity(self) -> float:
        """exp(loss), for one token."""
        return self.evaluation.perplexity

    @property
    def bits_per_byte(self) -> float | None:
        return self.evaluation.bits_per_byte

    @property
    def tokens(self) -> int:
        """How many tokens were predicted."""
        return self.evaluation.tokens

    def to_dict(self) -> dict[str, float | int | bool | None]:
        """Plain values that JSON can hold."""
        scores = {name: getattr(self, name) for name in ("loss", "perplexity", "bits_per_byte", "tokens")}
        how = {name: value for name, value in vars(self).items() if name != "evaluation"}
        return {**scores, **how}

    def __str__(self) -> str:
        apart = "kept apart" if self.separate_documents else "seen from one another"
        documents = f"{self.documents:,} documents, {apart}" if self.documents > 1 else "1 document"
        return (
            f"{self.evaluation}\n"
            f"  {self.tokens:,} tokens ({self.bytes:,} bytes of text), each predicted once; {documents}\n"
            f"  windows of {self.context_length:,} tokens, {self.stride:,} apart"
        )


def evaluate(
    model: Model | Source,
    data: Source | Iterable[Source] | None = None,
    *,
    stride: int | None = None,
    context_length: int | None = None,
    batch_size: int = 16,
    separate_documents: bool = True,
) -> Perplexity:
    """How well a model predicts a text. See the module for what is counted.

    model                a `Model`, or the folder of a run or a model
    data                 a source of `regard.data.sources`, or several; None: the run's validation part
    stride               tokens between the starts of windows; None: a whole context
    context_length       tokens a window; None: what the model sees at once
    separate_documents   whether a document sees nothing of the one before it

    Raises `RegardError` where there is no text, or the model is no decoder.
    """
    model = model if isinstance(model, Model) else load(model)
    if model.family != "decoder":
        raise RegardError(
            f"{model.name} is an {model.family}; perplexity is for a decoder, evaluation.evaluate_examples for an "
            "encoder, evaluation.pairs.evaluate_pairs for a translator."
        )
    if data is not None:
        with tempfile.TemporaryDirectory(prefix="regard-") as place:
            config = keep_standard_input(TextData(source=data, validation_fraction=0), place)
            part = prepare(config, model.tokenizer, place).train
            return evaluate_part(model, part, stride, context_length, batch_size, separate_documents)
    store = (model.folder or Path()) / "data"
    if model.folder is None or not (store / "store.json").is_file():
        raise RegardError(f"{model.name} holds no text of its own: name one to evaluate on.")
    validation = TokenStore.open(store).validation
    if validation is None:
        raise RegardError(f"{model.name} was trained without a validation part: name a text to evaluate on.")
    return evaluate_part(model, validation, stride, context_length, batch_size, separate_documents)


def evaluate_part(
    model: Model,
    part: Part,
    stride: int | None = None,
    context_length: int | None = None,
    batch_size: int = 16,
    separate_documents: bool = True,
) -> Perplexity:
    """The same for one part of a token store."""
    context = context_length or model.context_length
    stride = stride or context
    if context > model.context_length:
        raise RegardError(f"context_length is {context:,}, and {model.name} sees {model.context_length:,} tokens.")
    if len(part) < 2:
        raise RegardError("the text is too short: there is no token that follows another.")
    if int(part.ids.max()) >= model.config.vocab_size:
        raise RegardError(
            f"the text has the id {part.ids.max()}, and {model.name} knows {model.config.vocab_size:,} tokens: "
            "it was made with another tokenizer."
        )
    nats, tokens = total_loss(model.transformer, batches(part, context, stride, batch_size, separate_documents))
    evaluation = Evaluation.of(nats, tokens, part)
    return Perplexity(evaluation, context, stride, part.documents, part.bytes, separate_documents)


def batches(part: Part, context: int, stride: int, batch_size: int, separate_documents: bool) -> Iterator[Batch]:
    """The part from end to end in overlapping windows; targets that a window before counted are left out."""
    rows: list[tuple[int, int, int]] = []
    for window in windows(len(part) - 1, context, stride):
        rows.append(window)
        if len(rows) == batch_size:
            yield _batch(part, rows, context, separate_documents)
            rows = []
    if rows:
        yield _batch(part, rows, context, separate_documents)


def _batch(part: Part, rows: list[tuple[int, int, int]], context: int, separate_documents: bool) -> Batch:
    start, first, end = (np.array(column)[:, None] for column in zip(*rows, strict=True))
    places = start + np.arange(context)
    real, counted = places < end, (places >= first) & (places < end)
    places = np.minimum(places, len(part) - 2)
    inputs = np.where(real, part.ids[places].astype(np.int64), 0)
    targets = np.where(counted, part.ids[places + 1].astype(np.int64), IGNORE)
    documents = None
    if separate_documents and part.documents > 1:
        documents = torch.from_numpy(np.searchsorted(part.starts, places, side="right"))
    lengths = None if real.all() else torch.from_numpy(real.sum(1))
    return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), int(counted.sum()), documents, lengths)
