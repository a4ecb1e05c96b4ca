"""What readers of labelled data give: a text with its label, words with their tags, a question with its answers."""

from __future__ import annotations

from typing import NamedTuple

Label = str | tuple[str, ...] | float
"""The name of a class, the names of several labels, or a number."""


class Example(NamedTuple):
    """A text, or two, and its label; None where it is not known. `where` says it for messages: "dev.tsv, line 12"."""

    text: str
    second: str | None
    label: Label | None
    where: str


class Sentence(NamedTuple):
    """Words and the tag of each; None where they are not known."""

    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    where: str
    text: str | None = None
    """The sentence as it was written, where that is known; else the words with single spaces between them."""


class AnswerSpan(NamedTuple):
    """An answer, as it stands in the context from the character `start` on."""

    text: str
    start: int


class Question(NamedTuple):
    """A question about a context: () where the context has no answer, None where the answers are not known."""

    id: str
    question: str
    context: str
    answers: tuple[AnswerSpan, ...] | None
    where: str
