"""Words and their pieces, entities and their tags: what training, prediction and evaluation must do alike.

A word has the pieces that it has in a sentence with single spaces, so those of a sentence are those of its words. The
first piece stands for the word. A word without pieces, such as one of control characters, is the unknown token.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from regard.text.tokenizer import Tokenizer

Entity = tuple[str, int, int]
"""Its type, its first word, and the word after its last."""


def pieces(tokenizer: Tokenizer, sentences: Sequence[Sequence[str]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The ids of each sentence [t], and where in them the first piece of each word stands [words]; both int64."""
    spaced = [(" " if place else "") + word for words in sentences for place, word in enumerate(words)]
    every = iter(tokenizer.encode_batch(spaced))
    unknown = np.array([tokenizer.unknown or 0], np.uint32)
    found = []
    for words in sentences:
        parts = [own if len(own) else unknown for own in (next(every) for _ in words)]
        sizes = np.array([len(part) for part in parts], np.int64)
        ids = np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)
        found.append((ids, np.cumsum(sizes) - sizes))
    return found


def marks_entities(labels: Sequence[str]) -> bool:
    """Whether these tags mark entities: each is O, or B-, I-, E- or S- and a type."""
    return all(label == "O" or (label[:2] in ("B-", "I-", "E-", "S-") and label[2:]) for label in labels)


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of a sentence's tags, read leniently: B- and S- begin one, and so do I- and E- where none of their
    type goes on."""
    found: list[Entity] = []
    before = "O"
    for place, tag in enumerate(tags):
        if tag[:2] in ("I-", "E-") and before[:2] in ("B-", "I-") and tag[2:] == before[2:]:
            kind, first, _ = found[-1]
            found[-1] = (kind, first, place + 1)
        elif tag != "O":
            found.append((tag[2:], place, place + 1))
        before = tag
    return found


def repair(tags: Sequence[str]) -> list[str]:
    """The same entities as BIO (IOB2): B- begins each, I- goes on."""
    repaired = ["O"] * len(tags)
    for kind, first, end in entities(tags):
        repaired[first:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - first - 1)]
    return repaired


def joined(text: str, place: int) -> bool:
    """Whether a reader takes the character at `place` for a part of the one before it: a mark, a joiner or what it
    joins, a skin tone."""
    letter = text[place]
    return (
        unicodedata.category(letter).startswith("M")
        or letter == "\u200d"
        or "\U0001f3fb" <= letter <= "\U0001f3ff"
        or text[place - 1] == "\u200d"
    )
