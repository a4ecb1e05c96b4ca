"""Objectives: what of a batch the model sees, and what of it is to be said.

    next_word          each word from those before it: text, and translations from left to right
    mask_predict       some of a translation's words from the source and the others
    span_corruption    the runs that were cut out of a text
    masked_words       the hidden words of a text, from those on both sides: an encoder

What is drawn for a row depends on the seed, the step and the row's own words: a resumed run draws the same, and cutting
a batch into micro-batches, or sharing it out to processes, changes nothing.

Source   mask_predict: Ghazvininejad et al. 2019, arXiv:1904.09324, §2.2; span_corruption: `regard.data.spans`;
         masked_words: `regard.data.masks`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field, PrivateAttr
from torch import Tensor

from regard.data import masks, spans
from regard.data.batches import IGNORE, Batch
from regard.data.masked_batches import Second
from regard.data.masks import Pieces, Unit
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

    def ready(self, model: ModelConfig, tokenizer: Tokenizer) -> NextWord:
        if model.family == "encoder":
            raise SettingsError("an encoder sees the next word, and learns nothing by saying it: take the recipe bert")
        return self

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


class MaskedWords(Objective, kind="masked_words"):
    """Some words of each text are hidden, anew at each step, and said from those on both sides."""

    rate: float = Field(0.15, gt=0, lt=1)
    """The part of the pieces that is to be said."""
    unit: Unit = "token"
    """What is drawn: single pieces, whole words, or runs of words."""
    masked: float = Field(0.8, ge=0, le=1)
    """The part of them that the mask stands for."""
    random: float = Field(0.1, ge=0, le=1)
    """The part that another piece stands for; what is left stays in sight, and is to be said all the same."""
    second: Second = "none"
    """A second text in each row: what comes next, half the time from elsewhere (next), or before it (order)."""
    mask: int | None = Field(None, ge=0)
    """The id that hides a piece; None: the tokenizer's mask token."""
    _pieces: Pieces | None = PrivateAttr(None)

    def check_second(self, model: ModelConfig) -> None:
        """Raises `SettingsError` where what is drawn and what the model says of it do not go together."""
        if self.second != "none" and model.order is None:
            raise SettingsError(f"second={self.second} is said by a head of its own: set model.order.weight=1")
        if self.second == "none" and model.order is not None:
            raise SettingsError("model.order needs a second text: set training.objective.second=next or order")

    def ready(self, model: ModelConfig, tokenizer: Tokenizer) -> MaskedWords:
        if model.family != "encoder" or model.head.kind != "language":
            raise SettingsError("masked_words is for an encoder that says words: take the recipe bert")
        if self.masked + self.random > 1:
            raise SettingsError(f"masked={self.masked} and random={self.random} are parts of one whole: lower one")
        self.check_second(model)
        mask = tokenizer.special.get("mask") if self.mask is None else self.mask
        if mask is None:
            raise SettingsError(
                "masked_words hides words behind a mask token, and the tokenizer has none: "
                'give it one (tokenizer.special=["class", "separator", "mask", "unknown"])'
            )
        made = self.replace(mask=mask)
        made._pieces = Pieces.of(tokenizer, mask)
        return made

    def batch(self, batch: Batch, seed: int, step: int) -> Batch:
        pieces = self._pieces
        assert pieces is not None, "ready() looks at the vocabulary"
        inputs, targets = batch.inputs.clone(), torch.full_like(batch.inputs, IGNORE)
        lengths = [batch.inputs.shape[1]] * len(inputs) if batch.lengths is None else batch.lengths.tolist()
        for row, n in enumerate(lengths):
            ids = batch.inputs[row, :n].numpy()
            random = _random(seed, step, batch.inputs[row, :n])
            drawn = masks.draw(ids, pieces, self.rate, self.unit, random)
            seen = masks.hide(ids, drawn, pieces, self.masked, self.random, self.unit == "span", random)
            inputs[row, :n] = torch.from_numpy(seen)
            targets[row, :n] = torch.from_numpy(np.where(drawn >= 0, ids, IGNORE))
        return replace(batch, inputs=inputs, targets=targets, target_count=int((targets != IGNORE).sum()))


def _random(seed: int, step: int, row: Tensor) -> np.random.Generator:
    return np.random.default_rng(derive_seed(seed, "objective", step, row.numpy().tobytes().hex()))
