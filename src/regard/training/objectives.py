"""Objectives: what of a batch the model sees, and what of it is to be said.

    next_word          each word from those before it: text, and translations from left to right
    mask_predict       some of a translation's words from the source and the others
    span_corruption    the runs that were cut out of a text

What is drawn for a row depends on the seed, the step and the row's own words: a resumed run draws the same, and cutting
a batch into micro-batches, or sharing it out to processes, changes nothing.

Source   mask_predict: Ghazvininejad et al. 2019, arXiv:1904.09324, §2.2; span_corruption: `regard.data.spans`.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from regard.data import spans
from regard.data.batches import IGNORE, Batch
from regard.data.pair_batches import pair_batch
from regard.model import ModelConfig, StackConfig
from regard.seeds import derive_seed
from regard.settings import Part, SettingsError, of_layer
from regard.text import Tokenizer


class Objective(Part, family="regard.training.objectives"):
    """What is learnt from a batch of text or pairs."""

    every_word: ClassVar[bool] = False
    """Whether each word of a text is predicted once, so that bits per byte can be counted."""

    def extra(self, context_length: int) -> int:
        """How many ids it needs beyond the tokenizer's: the last ones of the model's vocabulary."""
        return 0

    def ready(self, model: ModelConfig, tokenizer: Tokenizer) -> Objective:
        """The same, with the ids that it needs; `tokenizer`: of what the model writes.

        Raises `SettingsError` where the model or the tokenizer does not go with it.
        """
        return self

    def batch(self, batch: Batch, seed: int, step: int) -> Batch:
        """What the model is given of a batch at a step; evaluation takes step 0, and so always the same."""
        raise NotImplementedError


class NextWord(Objective, kind="next_word"):
    every_word: ClassVar[bool] = True

    def batch(self, batch: Batch, seed: int, step: int) -> Batch:
        return batch


class MaskPredict(Objective, kind="mask_predict"):
    """Of n words 1 … n are hidden, each number as often, and the decoder sees all others on both sides.

    A row `begin y1 … yn` → `y1 … yn end` becomes y1 … yn with the mask's id where a word is hidden, and a target there
    alone: nothing begins or ends a row, for its length is told by another network.
    """

    mask: int | None = Field(None, ge=0)
    """The id that hides a word; None: the tokenizer's mask token."""

    def ready(self, model: ModelConfig, tokenizer: Tokenizer) -> MaskPredict:
        if model.family != "encoder-decoder" or not isinstance(model.decoder, StackConfig):
            raise SettingsError("mask_predict is for an encoder with a Transformer decoder: take the recipe translate")
        if model.length is None:
            raise SettingsError("mask_predict must be told the length of what it writes: set model.length.weight=1")
        kinds = [of_layer(model.decoder.position, layer) for layer in range(model.decoder.n_layers)]
        if not any(kind.kind != "none" and (not kind.needs or "weights" in kind.needs) for kind in kinds):
            raise SettingsError(
                f"to {kinds[0].kind} positions all places of a row of masks look alike, since they only weigh what is "
                "the same everywhere: take learned or sinusoidal ones in the decoder"
            )
        mask = tokenizer.special.get("mask") if self.mask is None else self.mask
        if mask is None:
            raise SettingsError(
                "mask_predict hides words behind a mask token, and the tokenizer has none: "
                'give it one (tokenizer.special=["begin", "end", "mask"])'
            )
        return self.replace(mask=mask)

    def batch(self, batch: Batch, seed: int, step: int) -> Batch:
        assert self.mask is not None, "ready() finds the mask"
        words = batch.inputs[:, 1:]
        lengths = torch.full((len(words),), words.shape[1]) if batch.lengths is None else batch.lengths - 1
        hidden = torch.zeros_like(words, dtype=torch.bool)
        for row, n in enumerate(lengths.tolist()):
            random = _random(seed, step, words[row, :n])
            hidden[row, random.permutation(n)[: random.integers(1, n, endpoint=True)]] = True
        return Batch(
            words.masked_fill(hidden, self.mask),
            words.masked_fill(~hidden, IGNORE),
            int(hidden.sum()),
            lengths=None if batch.lengths is None else lengths,
            source=batch.source,
            source_lengths=batch.source_lengths,
            prefix=lengths,
        )


class SpanCorruption(Objective, kind="span_corruption"):
    """Rows of text become pairs: the text with runs cut out, and the runs. Documents in one row are not told apart."""

    density: float = Field(0.15, gt=0, lt=1)
    """The part of the words that is cut out."""
    mean_length: float = Field(3.0, ge=1)
    """Of a run, in words."""
    sentinel: int | None = Field(None, ge=0)
    """The id that stands for the first run; the others count down. None: the last of the model's vocabulary."""
    begin: int | None = Field(None, ge=0)
    """The id that the decoder starts from; None: the tokenizer's begin token, or else its end token."""
    end: int | None = Field(None, ge=0)
    """The id that ends both rows; None: the tokenizer's end token."""

    def extra(self, context_length: int) -> int:
        return 0 if self.sentinel is not None else spans.counts(context_length, self.density, self.mean_length)[1]

    def ready(self, model: ModelConfig, tokenizer: Tokenizer) -> SpanCorruption:
        if model.family != "encoder-decoder" or model.target_vocab_size is not None:
            raise SettingsError("span_corruption is for an encoder and a decoder that share their words")
        n = model.context_length
        for name, size in zip(("encoder", "decoder"), spans.sizes(n, self.density, self.mean_length), strict=True):
            if size > model.sizes(name).context_length:
                raise SettingsError(
                    f"texts of {n} tokens would give the {name} rows of {size} tokens, and its context has "
                    f"{model.sizes(name).context_length}: cut out fewer words, in longer runs"
                )
        free = model.vocab_size - tokenizer.vocab_size
        if free < self.extra(n):
            raise SettingsError(
                f"span_corruption needs {self.extra(n)} ids beyond the tokenizer's {tokenizer.vocab_size:,}: set "
                f"model.vocab_size={tokenizer.vocab_size + self.extra(n)}"
            )
        begin = tokenizer.opening if self.begin is None else self.begin
        end = tokenizer.end if self.end is None else self.end
        if begin is None or end is None:
            raise SettingsError('span_corruption ends its rows: give the tokenizer an end token (special=["end"])')
        sentinel = model.vocab_size - 1 if self.sentinel is None else self.sentinel
        return self.replace(sentinel=sentinel, begin=begin, end=end)

    def batch(self, batch: Batch, seed: int, step: int) -> Batch:
        assert self.sentinel is not None, "ready() finds the ids"
        assert self.begin is not None
        assert self.end is not None
        sources, targets = [], []
        lengths = [batch.inputs.shape[1]] * len(batch.inputs) if batch.lengths is None else batch.lengths.tolist()
        for row, n in zip(batch.inputs, lengths, strict=True):
            cut = spans.draw(n, self.density, self.mean_length, _random(seed, step, row[:n]))
            source, target = spans.corrupt(row[:n].numpy(), cut, self.sentinel)
            sources.append(np.append(source, self.end))
            targets.append(target)
        return pair_batch(sources, targets, self.begin, self.end)


def _random(seed: int, step: int, row: Tensor) -> np.random.Generator:
    return np.random.default_rng(derive_seed(seed, "objective", step, row.numpy().tobytes().hex()))
