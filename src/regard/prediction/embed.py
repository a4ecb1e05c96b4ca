"""Texts as vectors, and the nearest of many texts to another: exact search by cosine.

    cos(a, b) = a · b / (‖a‖ ‖b‖)

Vectors are pooled and normalised as the model's head says. Of a text that is read in windows a vector is the mean over
the windows, normalised again where the head normalises.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float32
from torch.nn import functional as F

from regard.prediction.base import Reader, Text
from regard.settings import RegardError

T = TypeVar("T")

CHUNK = 4096
"""Texts whose vectors are in memory at once while others are searched."""


class Hit(NamedTuple):
    """A text that was found: its cosine with the query, and its number, counted from 0."""

    score: float
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.score:6.3f}  {self.text}"


class Hits(tuple[Hit, ...]):
    """What was found, the nearest first."""

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "–"


class Embedder(Reader):
    """A vector for each text."""

    def predict(self, texts: Sequence[Text]) -> Float32[np.ndarray, "n d"]:
        """In the order of the texts; of a blank text all is 0. Raises `RegardError`."""
        means, _ = self.means(texts, lambda vectors: vectors)
        if self.long == "windows" and self.head.normalise:
            means = F.normalize(means, dim=-1)
        if means.dim() == 1:  # no text has any tokens
            means = means.new_zeros(len(texts), self.size)
        return means.float().numpy()

    @property
    def size(self) -> int:
        """How many numbers a vector has."""
        return self.head.size or self.model.config.d_model

    def search(self, query: str, texts: Iterable[str], k: int = 10) -> Hits:
        """The k texts whose vectors are nearest to the query's. Texts may be many: they are read once, in parts.

        Blank texts are never found. Raises `RegardError`.
        """
        if k < 1:
            raise RegardError(f"the number of texts to find is 1 or more, got {k}.")
        wanted = unit(self.predict([query]))[0]
        if not wanted.any():
            raise RegardError("the query is empty: give a few words to search for.")
        self.first = 1
        found: list[tuple[float, int, str]] = []
        number = 0
        for part in chunks(texts, CHUNK):
            scores = unit(self.predict(part)) @ wanted
            real = [place for place in np.argsort(-scores, kind="stable") if part[place].strip()][:k]
            best = [(float(scores[place]), -number - int(place), part[place]) for place in real]
            found = heapq.nlargest(k, [*found, *best])
            number += len(part)
        return Hits(Hit(score, -place, text) for score, place, text in found)


def unit(vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """Vectors of length 1; those that are 0 stay 0."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def chunks(texts: Iterable[T], size: int) -> Iterator[list[T]]:
    every = iter(texts)
    while part := list(itertools.islice(every, size)):
        yield part
