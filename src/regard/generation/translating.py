"""Texts in, texts out, for a model that reads one text and writes another: lines of any number, in their order.

A blank text stays blank. A text that is longer than the model reads is refused by its number, or split where a
sentence or else a word ends, as asked; nothing is dropped. Texts of about equal length share a batch, and what one
gives does not depend on the others.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from regard.attention import Padding
from regard.generation.alignment import align, links, to_svg, to_text
from regard.generation.beam import Beam, beam_search
from regard.generation.engine import Generation
from regard.generation.mask_predict import Refinement, mask_predict
from regard.generation.sampling import Sampling
from regard.inputs import Audio
from regard.model import Encoded, Transformer
from regard.settings import RegardError
from regard.text import Tokenizer

How = Beam | Sampling | Refinement
Overlong = Literal["refuse", "split"]
ROWS = 64
"""Texts in a batch, at most."""
TOKENS = 4096
"""Source tokens in a batch, padding included, at most."""


@dataclass(frozen=True)
class Translation:
    """A text that the model wrote for another. `score` ranks it among its like; `log_probability` is the model's own,
    in nats, the end token included."""

    text: str
    ids: tuple[int, ...]
    score: float
    log_probability: float
    finished: Literal["end", "limit", "blank"]


@dataclass(frozen=True)
class Alignment:
    """How much each token of a target looked at each of its source. `print` draws it for a terminal."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    weights: Float[Tensor, "t s"]

    @property
    def links(self) -> list[tuple[int, int]]:
        """(source, target) of the strongest look of each target token, counted from 0."""
        return links(self.weights)

    def svg(self, title: str = "") -> str:
        """The picture as SVG."""
        return to_svg(self.weights, self.source, self.target, title)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        weights = [[round(weight, 4) for weight in row] for row in self.weights.tolist()]
        return {"source": list(self.source), "target": list(self.target), "links": self.links, "weights": weights}

    def __str__(self) -> str:
        return to_text(self.weights, self.source, self.target)


class Translator:
    """A model with the tokenizers of its two sides. Raises `RegardError` where nothing could end a target."""

    def __init__(self, model: Transformer, source: Tokenizer, target: Tokenizer | None = None) -> None:
        if isinstance(model.config.source, Audio):
            raise RegardError("this model reads sound, not text: give it recordings (regard transcribe).")
        self.model, self.source, self.target = model, source, target or source
        if self.target.opening is None or self.target.end is None:
            raise RegardError("the tokenizer of the targets has no end token, so a translation would never end.")
        self.begin, self.end = self.target.opening, self.target.end
        self.longest = model.config.sizes("encoder").context_length
        """Tokens of a source that the model reads, the end token included."""

    def translate(
        self,
        texts: Sequence[str],
        how: How | None = None,
        *,
        limit: int = 128,
        n_best: int = 1,
        prefix: str = "",
        overlong: Overlong = "refuse",
        first: int = 1,
    ) -> list[list[Translation]]:
        """The `n_best` translations of each text, best first; with `Sampling` so many draws, in their order.

        how: None is mask-predict for a model that writes all words at once, else beam search. limit: target tokens at
        most. prefix: what every target begins with. first: the number of the first text, for messages. Raises
        `RegardError`.
        """
        if overlong not in get_args(Overlong):
            raise RegardError(f"overlong is 'refuse' or 'split', got {overlong!r}.")
        at_once = self.model.length is not None
        how = how or (Refinement() if at_once else Beam())
        if at_once != isinstance(how, Refinement):
            ways = ("all words at once: decode it with mask-predict", "word by word: decode it with beam search")
            raise RegardError(f"this model writes {ways[not at_once]}.")
        pieces: list[str] = []
        owners: list[int] = []
        for number, text in enumerate(texts):
            for piece in self.cut(text, overlong, first + number):
                pieces.append(piece)
                owners.append(number)
        if len(owners) > len(set(owners)) and n_best > 1:
            raise RegardError("a text that is split has one translation, joined of its parts: ask for n_best=1.")
        rows = [self._ids(piece) for piece in pieces]
        made: list[list[Translation]] = [[] for _ in pieces]
        writers: dict[type, Callable[..., list[list[Translation]]]]
        writers = {Beam: self._beams, Sampling: self._draws, Refinement: self._refined}
        for batch in batches([len(row) for row in rows]):
            found = writers[type(how)]([rows[n] for n in batch], how, limit, n_best, prefix)
            for number, translations in zip(batch, found, strict=True):
                made[number] = translations
        results: list[list[Translation]] = [[] for _ in texts]
        for owner, best in zip(owners, made, strict=True):
            results[owner] = _joined(results[owner], best) if results[owner] else best
        return [found or [Translation("", (), 0.0, 0.0, "blank")] for found in results]

    def alignment(self, source: str, target: str | Sequence[int], layer: int | None = None) -> Alignment:
        """How the tokens of a target, its end among them, looked at those of the source; see `generation.align`."""
        written = list(self.target.encode(target) if isinstance(target, str) else target)
        row, written = self._ids(source), [*written, self.end]
        [weights] = align(self.model, self.encode([row]), [[self.begin]], [written], layer)
        return Alignment(self._shown(self.source, row), self._shown(self.target, written), weights.float().cpu())

    def _shown(self, tokenizer: Tokenizer, ids: Sequence[int]) -> tuple[str, ...]:
        size = tokenizer.vocab_size
        texts = (
            tokenizer.token_bytes(token).decode(errors="replace") if token < size else self._mark(token)
            for token in ids
        )
        return tuple("end" if token == tokenizer.end else text for token, text in zip(ids, texts, strict=True))

    def _text(self, ids: Sequence[int]) -> str:
        """The text of ids. What is beyond the tokenizer stands for a run that was cut out, and is shown as its mark."""
        words = itertools.groupby(ids, lambda token: token < self.target.vocab_size)
        return "".join(
            self.target.decode(list(run)) if known else "".join(map(self._mark, run)) for known, run in words
        )

    def _mark(self, token: int) -> str:
        return f"⟨{self.model.config.output_vocab_size - token}⟩"

    def encode(self, rows: Sequence[Sequence[int]]) -> Encoded:
        """What the encoder makes of rows of ids, padded as needed."""
        lengths = torch.tensor([len(row) for row in rows])
        ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.as_tensor(np.asarray(row, dtype=np.int64))
        device = next(self.model.parameters()).device
        mask = None if bool((lengths == ids.shape[1]).all()) else Padding(lengths.to(device))
        with torch.inference_mode():
            return self.model.eval().encode(ids.to(device), mask)

    def cut(self, text: str, overlong: Overlong, number: int) -> list[str]:
        """The text, or its parts where it is longer than the model reads; nothing where it is blank."""
        text = text.strip()
        if not text:
            return []
        if self._fits(text):
            return [text]
        if overlong == "refuse":
            raise RegardError(
                f"text {number} is {len(self._ids(text)):,} tokens long, and the model reads {self.longest:,}: shorten "
                "it, or let it be split where a sentence ends (--overlong split)."
            )
        return split(text, self._fits)

    def _fits(self, text: str) -> bool:
        return len(self._ids(text)) <= self.longest

    def _ids(self, text: str) -> list[int]:
        end = self.source.end
        return self.source.encode(text) + ([] if end is None else [end])

    def _prompts(self, count: int, prefix: str) -> list[list[int]]:
        return [[self.begin, *(self.target.encode(prefix) if prefix else ())]] * count

    def _beams(self, rows: list[list[int]], how: Beam, limit: int, n_best: int, prefix: str) -> list[list[Translation]]:
        found = beam_search(
            self.model, self._prompts(len(rows), prefix), how, limit, end=self.end, n_best=n_best,
            encoded=self.encode(rows),
        )  # fmt: skip
        return [[self._made(prefix, *one) for one in best] for best in found]

    def _refined(
        self, rows: list[list[int]], how: Refinement, limit: int, n_best: int, prefix: str
    ) -> list[list[Translation]]:
        special = self.target.special
        if "mask" not in special:
            raise RegardError("the tokenizer of the targets has no mask token, which mask-predict starts from.")
        if prefix:
            raise RegardError("mask-predict writes all words at once: leave the prefix out, or take beam search.")
        found = mask_predict(
            self.model, self.encode(rows), how, mask=special["mask"], never=special.values(), limit=limit, n_best=n_best
        )
        return [[self._made("", *one) for one in best] for best in found]

    def _made(
        self, prefix: str, ids: list[int], score: float, log_probability: float, finished: Literal["end", "limit"]
    ) -> Translation:
        return Translation(prefix + self._text(ids), tuple(ids), score, log_probability, finished)

    def _draws(
        self, rows: list[list[int]], how: Sampling, limit: int, n_best: int, prefix: str
    ) -> list[list[Translation]]:
        ids: list[list[list[int]]] = [[[] for _ in range(n_best)] for _ in rows]
        nats = [[0.0] * n_best for _ in rows]
        ends: list[list[Literal["end", "limit"]]] = [["limit"] * n_best for _ in rows]
        prompts = self._prompts(len(rows), prefix)
        for step in Generation(
            self.model, prompts, how, limit, end=self.end, samples=n_best, encoded=self.encode(rows)
        ):
            nats[step.row][step.sample] += step.log_probability
            if step.finished == "end":
                ends[step.row][step.sample] = "end"
            else:
                ids[step.row][step.sample].append(step.id)
        return [
            [self._made(prefix, written, total, total, end) for written, total, end in zip(*row, strict=True)]
            for row in zip(ids, nats, ends, strict=True)
        ]


def batches(lengths: Sequence[int], rows: int = ROWS, tokens: int = TOKENS) -> Iterator[list[int]]:
    """The numbers of texts that share a batch: of about equal length, the longest first."""
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda n: (-lengths[n], n)):
        if batch and (len(batch) == rows or (len(batch) + 1) * lengths[batch[0]] > tokens):
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


SENTENCE = re.compile(r"(?<=[.!?…])(?=\s)|(?<=[。！？；])")
WORD = re.compile(r"(?<=\s)(?=\S)")


def split(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Parts that fit: whole sentences where possible, else words, else characters. Joined they are the text, but for
    white space at their ends."""
    for pieces in (SENTENCE.split(text), WORD.split(text), list(text)):
        if all(fits(piece.strip()) for piece in pieces):
            return _gathered(pieces, fits)
        if len(pieces) > 1 and len(pieces) < len(text):
            return [part for piece in pieces if piece.strip() for part in split(piece.strip(), fits)]
    raise RegardError("the model reads less than one character at once, so this text cannot be split.")


def _gathered(pieces: list[str], fits: Callable[[str], bool]) -> list[str]:
    """As many pieces together as fit."""
    parts: list[str] = []
    for piece in pieces:
        if parts and fits((parts[-1] + piece).strip()):
            parts[-1] += piece
        elif piece.strip():
            parts.append(piece)
    return [part.strip() for part in parts]


def _joined(before: list[Translation], after: list[Translation]) -> list[Translation]:
    """The translation of two parts of one text, one after the other."""
    first, second = before[0], after[0]
    wide = any("\u3000" <= character <= "\u9fff" for character in (first.text[-1:] + second.text[:1]))
    return [
        replace(
            first,
            text=first.text + ("" if wide else " ") + second.text,
            ids=first.ids + second.ids,
            score=first.score + second.score,
            log_probability=first.log_probability + second.log_probability,
            finished=first.finished if first.finished == "limit" else second.finished,
        )
    ]
