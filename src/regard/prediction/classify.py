"""What a text is: its class, its labels, or its number.

    class     p = softmax(logits), the likeliest is the text's
    labels    p = sigmoid(logits), each for itself; those of `threshold` or more are the text's
    number    the output itself

Of a text that is read in windows these are means over the windows: of probabilities, not of logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from regard.prediction.base import Reader, Text


@dataclass(frozen=True)
class Class:
    """The class of a text, None of a blank one, and the probability of each class."""

    label: str | None
    probabilities: dict[str, float] = field(default_factory=dict)

    @property
    def probability(self) -> float:
        return 0.0 if self.label is None else self.probabilities[self.label]

    def top(self, k: int) -> list[tuple[str, float]]:
        """The k likeliest classes with their probabilities, best first."""
        return best(self.probabilities, k)

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """Plain values that JSON can hold, with the `top` likeliest classes, or all."""
        p = None if self.label is None else self.probability
        return {"label": self.label, "probability": p, "probabilities": _shown(self.probabilities, top)}

    def __str__(self) -> str:
        return "–" if self.label is None else "  ".join(f"{label} {p:.1%}" for label, p in self.top(3))


@dataclass(frozen=True)
class Labels:
    """The labels of a text, the likeliest first, None of a blank one; and the probability of each that there is."""

    labels: tuple[str, ...] | None
    probabilities: dict[str, float] = field(default_factory=dict)

    def top(self, k: int) -> list[tuple[str, float]]:
        """The k likeliest labels with their probabilities, best first."""
        return best(self.probabilities, k)

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """Plain values that JSON can hold, with the `top` likeliest labels, or all."""
        labels = None if self.labels is None else list(self.labels)
        return {"labels": labels, "probabilities": _shown(self.probabilities, top)}

    def __str__(self) -> str:
        if not self.labels:
            return "–" if self.labels is None else "none"
        return "  ".join(f"{label} {self.probabilities[label]:.1%}" for label in self.labels)


@dataclass(frozen=True)
class Number:
    """The number of a text, None of a blank one."""

    value: float | None

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {"value": self.value}

    def __str__(self) -> str:
        return "–" if self.value is None else f"{self.value:.4g}"


def best(probabilities: dict[str, float], k: int) -> list[tuple[str, float]]:
    return sorted(probabilities.items(), key=lambda item: -item[1])[:k]


def _shown(probabilities: dict[str, float], top: int | None) -> dict[str, float]:
    return probabilities if top is None else dict(best(probabilities, top))


class Classifier(Reader):
    """A class for each text, or for two together."""

    def predict(self, texts: Sequence[Text]) -> list[Class]:
        """In the order of the texts. Raises `RegardError`."""
        means, known = self.means(texts, lambda logits: logits.softmax(-1))
        return [
            Class(self.head.labels[row.argmax()], dict(zip(self.head.labels, row.tolist(), strict=True)))
            if real
            else Class(None)
            for row, real in zip(means, known, strict=True)
        ]


class MultiLabeller(Reader):
    """Any number of labels for each text: those whose probability is `threshold` or more."""

    threshold: float = 0.5

    def predict(self, texts: Sequence[Text]) -> list[Labels]:
        """In the order of the texts. Raises `RegardError`."""
        means, known = self.means(texts, lambda logits: logits.sigmoid())
        found = []
        for row, real in zip(means.tolist(), known, strict=True):
            probabilities = dict(zip(self.head.labels, row, strict=True)) if real else {}
            labels = tuple(label for label, p in best(probabilities, len(probabilities)) if p >= self.threshold)
            found.append(Labels(labels if real else None, probabilities))
        return found


class Regressor(Reader):
    """A number for each text, or for two together."""

    def predict(self, texts: Sequence[Text]) -> list[Number]:
        """In the order of the texts. Raises `RegardError`."""
        means, known = self.means(texts, lambda numbers: numbers)
        return [Number(value if real else None) for value, real in zip(means.tolist(), known, strict=True)]
