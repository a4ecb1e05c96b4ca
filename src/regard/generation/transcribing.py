"""Sound in, text out: what a speech model writes for a recording, and what it listened to for each token.

A recording is heard as a whole, and what is written for it does not depend on those beside it in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from regard.attention import Padding
from regard.data.audio import read_sound
from regard.generation.alignment import align
from regard.generation.beam import Beam, beam_search
from regard.inputs import Audio
from regard.model import Encoded, Transformer
from regard.model.ctc import greedy
from regard.settings import RegardError
from regard.text import Tokenizer

SECONDS = 600.0
"""A recording that is transcribed may last so long."""


@dataclass(frozen=True)
class Transcript:
    """What was heard. `log_probability` is the model's own, in nats, the end token included."""

    text: str
    ids: tuple[int, ...]
    log_probability: float
    seconds: float
    """Of the sound."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Listening:
    """How much each token, the end last, listened to each vector of the encoder. Rows sum to 1."""

    tokens: tuple[str, ...]
    weights: Float[Tensor, "t s"]
    seconds_per_vector: float

    @property
    def times(self) -> list[tuple[float, float]]:
        """From when to when each token listened most: where nine tenths of its look lie, in seconds."""
        totals = self.weights.double().cumsum(1)
        low, high = (totals < 0.05).sum(1), (totals < 0.95).sum(1)
        step = self.seconds_per_vector
        return [(first * step, (last + 1) * step) for first, last in zip(low.tolist(), high.tolist(), strict=True)]


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

    def transcribe(self, sounds: Sequence[np.ndarray], beam: Beam | None = None, limit: int = 256) -> list[Transcript]:
        """What is said in each sound, of at most `limit` tokens."""
        encoded = self.encode(sounds)
        beam = beam or Beam(size=4)
        found = beam_search(self.model, [[self.begin]] * len(sounds), beam, limit, end=self.end, encoded=encoded)
        return [
            Transcript(
                self.tokenizer.decode(best.ids), tuple(best.ids), best.log_probability, len(sound) / self.features.rate
            )
            for [best, *_], sound in zip(found, sounds, strict=True)
        ]

    def listening(self, sound: np.ndarray, ids: Sequence[int], layer: int | None = None) -> Listening:
        """What each token of a transcript listened to. Raises `RegardError` where attention tells no weights."""
        encoded = self.encode([sound])
        [weights] = align(self.model, encoded, [[self.begin]], [[*ids, self.end]], layer)
        tokens = (*(self.tokenizer.token_bytes(token).decode(errors="replace") for token in ids), "end")
        return Listening(tokens, weights.float().cpu(), len(sound) / self.features.rate / encoded.x.shape[1])

    @torch.inference_mode()
    def spelt(self, sounds: Sequence[np.ndarray]) -> list[str]:
        """What CTC alone makes of each sound, by its likeliest path. Raises `RegardError` for a model without it."""
        if self.model.ctc is None:
            raise RegardError("this model was trained without CTC: set model.ctc.weight.")
        encoded = self.encode(sounds)
        return [self.tokenizer.decode(ids) for ids in greedy(self.model.ctc(encoded.x), encoded.mask.lengths)]

    @torch.inference_mode()
    def encode(self, sounds: Sequence[np.ndarray]) -> Encoded:
        """What the encoder makes of sounds, each [n] at the rate of the model's features."""
        frames, lengths = self.features(sounds)
        device = next(self.model.parameters()).device
        return self.model.eval().encode(frames.to(device), Padding(lengths.to(device)))
