"""What each word of a text is, and the entities that words form together.

    p(tag of word w) = softmax(logits of w's first piece)

A text longer than the model reads is read in windows that overlap by half, and a word's tag is taken from the window
where the side with less around the word has most. Tags that mark entities are repaired: an I- that goes on from
nothing begins an entity, so that what comes out is BIO (IOB2), whatever scheme was learnt. An entity's score is the
mean probability of its words' tags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from regard.data.tagged import split_words
from regard.prediction.base import Long, Reader, windows
from regard.text.frame import Framed
from regard.text.words import entities, marks_entities, pieces, repair

Words = str | Sequence[str]
"""A text, which is split where a word ends and at punctuation; or its words."""


@dataclass(frozen=True)
class Entity:
    """Words that belong together: `text[start:end]` of the tagged text."""

    label: str
    text: str
    start: int
    end: int
    score: float

    def __str__(self) -> str:
        return f"{self.label} {self.text!r} {self.score:.1%}"


@dataclass(frozen=True, eq=False)
class Tagged:
    """A text's words with a tag each, and its entities in their order.

    spans: the characters of each word in `text`; of words that were given apart the text is joined by spaces.
    probabilities [words labels]: of each label that there is, float; those of a word sum to 1.
    """

    text: str
    words: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    tags: tuple[str, ...]
    entities: tuple[Entity, ...]
    labels: tuple[str, ...]
    probabilities: np.ndarray

    @property
    def scores(self) -> list[float]:
        """The probability of each word's likeliest label."""
        return self.probabilities.max(1).tolist() if self.words else []

    def top(self, word: int, k: int) -> list[tuple[str, float]]:
        """The k likeliest labels of a word, best first."""
        row = self.probabilities[word]
        return [(self.labels[place], float(row[place])) for place in np.argsort(-row, kind="stable")[:k]]

    def conll(self) -> str:
        """A word a line with its tag after a tab, and a blank line after them."""
        return "".join(f"{word}\t{tag}\n" for word, tag in zip(self.words, self.tags, strict=True)) + "\n"

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """Plain values that JSON can hold; with `top` the likeliest labels of each word, too."""
        found: dict[str, Any] = {"words": list(self.words), "tags": list(self.tags), "scores": self.scores}
        if marks_entities(self.labels):
            found["entities"] = [asdict(entity) for entity in self.entities]
        if top is not None:
            found["probabilities"] = [dict(self.top(word, top)) for word in range(len(self.words))]
        return found

    def __str__(self) -> str:
        if marks_entities(self.labels):
            return "  ".join(map(str, self.entities)) or "–"
        return " ".join(f"{word}/{tag}" for word, tag in zip(self.words, self.tags, strict=True))


class Tagger(Reader):
    """A tag for each word of a text."""

    usual: ClassVar[Long] = "windows"

    def predict(self, texts: Sequence[Words]) -> list[Tagged]:
        """In the order of the texts. Raises `RegardError`."""
        given = [_split(text) for text in texts]
        known = pieces(self.tokenizer, [words for _, words, _ in given])
        room = self.longest - self.frame.added()
        rows: list[Framed] = []
        places: list[tuple[int, range]] = []  # the text of each row, and which of its pieces the row holds
        for number, (ids, _) in enumerate(known):
            if len(ids) > room:
                self.overlong(len(ids), room)
            for window in windows(len(ids), room, room // 2) if len(ids) else ():
                rows.append(self.frame.join(ids[window.start : window.stop], length=self.longest))
                places.append((number, window))
            self.first += 1
        found = [np.zeros((len(first), len(self.head.labels))) for _, first in known]
        around = [np.full(len(first), -1) for _, first in known]
        for batch, made in self.outputs(rows):
            for row, logits in zip(batch, made, strict=True):
                number, window = places[row]
                own = rows[row].first
                first = known[number][1]
                here = np.flatnonzero((first >= window.start) & (first < window.stop))
                least = np.minimum(first[here] - window.start, window.stop - 1 - first[here])
                better = least > around[number][here]
                here, least = here[better], least[better]
                around[number][here] = least
                piece = logits[own.start : own.stop][first[here] - window.start]
                found[number][here] = piece.softmax(-1).numpy()
        return [self._tagged(*text, values) for text, values in zip(given, found, strict=True)]

    def _tagged(
        self, text: str, words: tuple[str, ...], spans: tuple[tuple[int, int], ...], values: np.ndarray
    ) -> Tagged:
        labels = self.head.labels
        tags = [labels[best] for best in values.argmax(1)] if words else []
        together: list[Entity] = []
        if marks_entities(labels):
            tags = repair(tags)
            for kind, first, end in entities(tags):
                start, stop = spans[first][0], spans[end - 1][1]
                score = float(values[first:end].max(1).mean())
                together.append(Entity(kind, text[start:stop], start, stop, score))
        return Tagged(text, words, spans, tuple(tags), tuple(together), tuple(labels), values)


def _split(text: Words) -> tuple[str, tuple[str, ...], tuple[tuple[int, int], ...]]:
    """The text, its words, and where they stand in it."""
    words = split_words(text) if isinstance(text, str) else tuple(text)
    whole = text if isinstance(text, str) else " ".join(words)
    spans, end = [], 0
    for word in words:
        start = whole.index(word, end)
        end = start + len(word)
        spans.append((start, end))
    return whole, words, tuple(spans)
