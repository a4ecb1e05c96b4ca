"""Sound in, text out: what a speech model writes for a recording, and what it listened to for each token.

A recording is heard as a whole, and what is written for it does not depend on those beside it in a batch. A model with
CTC has two opinions, and the text is chosen by both:

    score(y) = (1 − λ) ln p_decoder(y | x) + λ ln p_CTC(y | x)        y among the beams, and CTC's likeliest path

Source   Watanabe, Hori, Kim, Hershey & Hayashi 2017, doi:10.1109/JSTSP.2017.2763455, §IV (rescoring).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from regard.attention import Padding
from regard.data.audio import read_sound
from regard.data.batches import IGNORE
from regard.data.pair_batches import padded
from regard.generation.alignment import align, to_svg, to_text
from regard.generation.beam import Beam, beam_search
from regard.heads.ctc import greedy
from regard.inputs import Audio
from regard.model import Encoded, Transformer
from regard.settings import RegardError
from regard.text import Tokenizer

SECONDS = 600.0
"""A recording that is transcribed may last so long."""


Texts = dict[tuple[int, ...], float]
"""Texts of a row, as ids, with the decoder's ln p of each."""

ROWS = 32
"""Recordings in a batch."""

COLUMNS = 60
"""Of a picture, at most."""


@dataclass(frozen=True)
class Listening:
    """How much each token, the end last, listened to each vector of the encoder. `print` draws it for a terminal."""

    tokens: tuple[str, ...]
    weights: Float[Tensor, "t s"]
    """Rows sum to 1."""
    seconds_per_vector: float

    @property
    def times(self) -> list[tuple[float, float]]:
        """From when to when each token listened: where the middle nine tenths of its look lie, in seconds."""
        sums = self.weights.double().cumsum(1)
        first, last = (sums < 0.05).sum(1), (sums < 0.95).sum(1)
        step = self.seconds_per_vector
        return [(low * step, (high + 1) * step) for low, high in zip(first.tolist(), last.tolist(), strict=True)]

    def svg(self, title: str = "") -> str:
        """The picture as SVG: a row a token, a column a stretch of the sound, named by where it begins."""
        return to_svg(*self._stretches(), self.tokens, title)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {
            "tokens": list(self.tokens),
            "times": [[round(second, 3) for second in time] for time in self.times],
            "seconds_per_vector": self.seconds_per_vector,
            "weights": [[round(weight, 4) for weight in row] for row in self.weights.tolist()],
        }

    def __str__(self) -> str:
        return to_text(*self._stretches(), self.tokens)

    def _stretches(self) -> tuple[Float[Tensor, "t c"], list[str]]:
        """As many vectors taken together as leave few enough columns, and when each column begins."""
        together = -(-self.weights.shape[1] // COLUMNS)
        columns = [part.sum(1) for part in self.weights.split(together, dim=1)]
        names = [f"{place * together * self.seconds_per_vector:.1f}" for place in range(len(columns))]
        return torch.stack(columns, 1), names


@dataclass(frozen=True)
class Transcript:
    """What was heard. `log_probability` is the model's own, in nats, the end token included."""

    text: str
    ids: tuple[int, ...]
    log_probability: float
    seconds: float
    """Of the sound."""
    listening: Listening | None = None
    """Where it was asked for."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        listening = None if self.listening is None else self.listening.to_dict()
        return {**vars(self), "ids": list(self.ids), "listening": listening}

    def __str__(self) -> str:
        return self.text


def transcribe(
    model: Transformer,
    tokenizer: Tokenizer,
    path: str | Path | bytes,
    beam: Beam | None = None,
    limit: int = 256,
    joint: float | None = None,
    listening: bool = False,
) -> Transcript:
    """What is said in a file of sound, or in its bytes; see `Transcriber.transcribe`. Raises `RegardError`."""
    ear = Transcriber(model, tokenizer)
    sound = ear.read(path)
    [found] = ear.transcribe([sound], beam, limit, joint)
    return replace(found, listening=ear.listening(sound, found.ids)) if listening else found


class Transcriber:
    """A model that hears, with its tokenizer. Raises `RegardError` where the model reads no sound."""

    def __init__(self, model: Transformer, tokenizer: Tokenizer) -> None:
        source = model.config.source
        if not isinstance(source, Audio) or model.decoder is None:
            raise RegardError("this model reads text, not sound: train one with the recipe speech.")
        if tokenizer.opening is None or tokenizer.end is None:
            raise RegardError("the tokenizer has no end token, so a transcript would never end.")
        self.model, self.tokenizer, self.features = model, tokenizer, source.features
        self.begin, self.end = tokenizer.opening, tokenizer.end

    def read(self, path: str | Path | bytes) -> np.ndarray:
        """The samples [n] of a file, as the model hears them. Raises `RegardError`."""
        return read_sound(path, self.features.rate, longest=SECONDS).samples

    def transcribe(
        self, sounds: Sequence[np.ndarray], beam: Beam | None = None, limit: int = 256, joint: float | None = None
    ) -> list[Transcript]:
        """What is said in each sound [n], in at most `limit` tokens; some are heard at a time, those of a length.

        joint: how much CTC counts for in the choice among the beams' texts; None: 0.5 where the model has CTC, else 0.
        """
        if joint is None:
            joint = 0.0 if self.model.ctc is None else 0.5
        beam = beam or Beam()
        order = sorted(range(len(sounds)), key=lambda number: len(sounds[number]))
        found: dict[int, Transcript] = {}
        for start in range(0, len(order), ROWS):
            rows = order[start : start + ROWS]
            encoded, prompts = self.encode([sounds[row] for row in rows]), [[self.begin]] * len(rows)
            best = beam_search(
                self.model, prompts, beam, limit, end=self.end, n_best=beam.size if joint else 1, encoded=encoded
            )
            texts = [{tuple(one.ids): one.log_probability for one in several} for several in best]
            if joint:
                texts = self._chosen(texts, encoded, joint, limit)
            for row, several in zip(rows, texts, strict=True):
                ids, log_p = next(iter(several.items()))
                found[row] = Transcript(self.tokenizer.decode(ids), ids, log_p, len(sounds[row]) / self.features.rate)
        return [found[row] for row in range(len(sounds))]

    @torch.inference_mode()
    def _chosen(self, texts: list[Texts], encoded: Encoded, joint: float, limit: int) -> list[Texts]:
        """The best of each row's texts, and of the likeliest path of CTC, by what both say of them."""
        ctc = self.model.ctc
        if ctc is None:
            raise RegardError("this model was trained without CTC: set joint=0.")
        log_p, lengths = ctc(encoded.x), encoded.mask.lengths
        paths = [tuple(path[:limit]) for path in self.spelt_ids(encoded)]
        for several, path, own in zip(texts, paths, self._log_p(paths, encoded), strict=True):
            several.setdefault(path, own)
        every = [(row, ids) for row, several in enumerate(texts) for ids in several]
        rows = torch.tensor([row for row, _ in every], device=log_p.device)
        labels = padded([np.array(ids, dtype=np.int64) for _, ids in every], 0, width=1).to(log_p.device)
        counts = torch.tensor([len(ids) for _, ids in every], device=log_p.device)
        lengths = counts.new_full((len(log_p),), log_p.shape[1]) if lengths is None else lengths
        nats, _ = torch.ops.regard.ctc(log_p[rows], labels, lengths[rows], counts, ctc.blank)
        scores = {}
        for (row, ids), cost in zip(every, nats.tolist(), strict=True):
            possible = cost > 0 or not ids  # a text that is too long for its sound costs 0
            scores[row, ids] = (1 - joint) * texts[row][ids] - joint * cost if possible else -math.inf
        best = [max(several, key=lambda ids: scores[row, ids]) for row, several in enumerate(texts)]
        return [{ids: several[ids]} for ids, several in zip(best, texts, strict=True)]

    def _log_p(self, texts: Sequence[tuple[int, ...]], encoded: Encoded) -> list[float]:
        """What the decoder alone gives each text, its end included."""
        inputs = padded([np.array([self.begin, *ids]) for ids in texts], 0).to(encoded.x.device)
        targets = padded([np.array([*ids, self.end]) for ids in texts], IGNORE).to(encoded.x.device)
        lengths = torch.tensor([len(ids) + 1 for ids in texts], device=encoded.x.device)
        loss = self.model.eval()(inputs, targets, mask=Padding(lengths), encoded=encoded)
        return [-nats for nats in loss.nll.double().sum(1).tolist()]

    def listening(self, sound: np.ndarray, ids: Sequence[int], layer: int | None = None) -> Listening:
        """What each token of a transcript listened to. Raises `RegardError` where attention tells no weights."""
        encoded = self.encode([sound])
        [weights] = align(self.model, encoded, [[self.begin]], [[*ids, self.end]], layer)
        tokens = (*(self.tokenizer.token_bytes(token).decode(errors="replace") for token in ids), "end")
        return Listening(tokens, weights.float().cpu(), len(sound) / self.features.rate / encoded.x.shape[1])

    def spelt(self, sounds: Sequence[np.ndarray]) -> list[str]:
        """What CTC alone makes of each sound, by its likeliest path. Raises `RegardError` for a model without it."""
        return [self.tokenizer.decode(ids) for ids in self.spelt_ids(self.encode(sounds))]

    @torch.inference_mode()
    def spelt_ids(self, encoded: Encoded) -> list[list[int]]:
        """The same as ids, of what the encoder made."""
        if self.model.ctc is None:
            raise RegardError("this model was trained without CTC: set model.ctc.weight.")
        return greedy(self.model.ctc(encoded.x), encoded.mask.lengths)

    @torch.inference_mode()
    def encode(self, sounds: Sequence[np.ndarray]) -> Encoded:
        """What the encoder makes of sounds, each [n] at the rate of the model's features."""
        frames, lengths = self.features(sounds)
        device = next(self.model.parameters()).device
        return self.model.eval().encode(frames.to(device), Padding(lengths.to(device)))
