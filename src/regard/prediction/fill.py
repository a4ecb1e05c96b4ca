"""Says what stands behind a mask: the likeliest pieces, each with its probability.

A mask is written [MASK], or as the tokenizer's own mask token is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import torch

from regard.model import Transformer
from regard.prediction.base import Reader
from regard.settings import RegardError
from regard.text import Tokenizer

MASK = "[MASK]"


class Candidate(NamedTuple):
    """A piece that may stand behind a mask: its text, without the space before it, and what the model gives it."""

    text: str
    probability: float
    id: int


class Blank(NamedTuple):
    """A mask of a text: the characters `text[start:end]` where it stands, and the likeliest pieces, best first."""

    start: int
    end: int
    candidates: tuple[Candidate, ...]


class Filler(Reader):
    """Says hidden words of a text, each as if the others stayed hidden."""

    def __init__(self, transformer: Transformer, tokenizer: Tokenizer) -> None:
        if transformer.config.family != "encoder" or transformer.config.head.kind != "language":
            raise RegardError("this model has no head for hidden words: pre-train one with regard train bert.")
        if tokenizer.mask is None:
            raise RegardError("this model's tokenizer has no mask token, so it was not trained to fill in words.")
        super().__init__(transformer, tokenizer, "refuse")
        self.mask = tokenizer.mask
        own = tokenizer.decode([self.mask], special=True).strip()
        self.marks = re.compile("|".join(map(re.escape, dict.fromkeys((MASK, own)))))
        self._spaced = tokenizer.kind in ("bpe", "bytes", "unigram")  # a piece brings the space before it

    def fill(self, text: str, k: int = 5) -> list[Blank]:
        """What stands behind each mask of a text, in their order. Raises `RegardError` where there is no mask."""
        return self.predict([text], k)[0]

    @torch.no_grad()
    def predict(self, texts: Sequence[str], k: int = 5) -> list[list[Blank]]:
        """The same for several texts."""
        if k < 1:
            raise RegardError(f"k is how many words are shown for a mask, 1 or more; got {k}.")
        marks = [list(self.marks.finditer(text)) for text in texts]
        rows = []
        for number, (text, found) in enumerate(zip(texts, marks, strict=True), start=self.first):
            if not found:
                raise RegardError(f"text {number} has no mask: write {MASK} where a word is hidden.")
            rows += list(self._rows(self._ids(text, found), None))
            self.first += 1
        blanks: list[list[Blank]] = [[] for _ in texts]
        for batch, logits in self.outputs(rows):
            for at, row in enumerate(batch):
                places = [place for place, token in enumerate(rows[row].ids) if token == self.mask]
                likely = logits[at, places].float().softmax(-1).topk(min(k, logits.shape[-1]))
                for mark, values, ids in zip(marks[row], likely.values.tolist(), likely.indices.tolist(), strict=True):
                    candidates = (
                        Candidate(self._text(token), value, token) for token, value in zip(ids, values, strict=True)
                    )
                    blanks[row].append(Blank(mark.start(), mark.end(), tuple(candidates)))
        return blanks

    def overlong(self, size: int, room: int) -> None:
        raise RegardError(
            f"text {self.first} is {size:,} tokens long, and the model reads {room:,} at once: leave only what stands "
            "around its masks."
        )

    def _ids(self, text: str, marks: list[re.Match[str]]) -> list[int]:
        ids: list[int] = []
        done = 0
        for mark in marks:
            before = text[done : mark.start()]
            before = before.removesuffix(" ") if self._spaced else before
            ids += [*self.tokenizer.encode(before), self.mask]
            done = mark.end()
        return ids + self.tokenizer.encode(text[done:])

    def _text(self, token: int) -> str:
        if token in self.tokenizer.special.values():
            return self.tokenizer.decode([token], special=True).strip()
        text = self.tokenizer.token_bytes(token).decode(errors="replace")
        goes_on = self.tokenizer.kind == "wordpiece" and not text.startswith(" ")
        return f"##{text}" if goes_on else text.removeprefix(" ")


def filled(text: str, blanks: Sequence[Blank]) -> str:
    """The text with the likeliest piece in each blank."""
    parts, done = [], 0
    for blank in blanks:
        best = blank.candidates[0].text
        parts += [text[done : blank.start], best.removeprefix("##")]
        done = blank.end
    return "".join([*parts, text[done:]])
