"""What stands around a text, or around two, before a model reads them: [CLS] first [SEP] second [SEP]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from regard.settings import RegardError
from regard.text.tokenizer import Tokenizer

Ids = Sequence[int] | np.ndarray


class Piece(NamedTuple):
    """One of the texts, or ids that always stand there; and the segment that its tokens are of."""

    what: Literal["first", "second"] | tuple[int, ...]
    segment: int


class Framed(NamedTuple):
    """The ids [t] (int64) with all that stands around them, and where the texts stand among them."""

    ids: np.ndarray
    segments: np.ndarray
    """[t], int64: 0 or 1, as the frame has it."""
    first: range
    second: range | None
    cut: int
    """How many tokens of the texts had to go."""


@dataclass(frozen=True)
class Frame:
    """The frame of one text and that of two. Training and prediction put texts into it, and nothing else does."""

    single: tuple[Piece, ...]
    pair: tuple[Piece, ...]

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Frame:
        """The frame that the tokenizer's own file declares; else one made of its special tokens:
        [class | begin] first [separator | end] second [separator | end], nothing where there is no such token.
        """
        declared = _declared(tokenizer.post_processor or {})
        if declared is not None:
            return declared
        opening = tokenizer.begin if tokenizer.class_ is None else tokenizer.class_
        closing = tokenizer.end if tokenizer.separator is None else tokenizer.separator
        return _framed_by(
            () if opening is None else (opening,), () if closing is None else (closing,), between=1, second_segment=1
        )

    def added(self, two: bool = False) -> int:
        """How many tokens stand around one text, or around two."""
        return sum(len(piece.what) for piece in self._pieces(two) if isinstance(piece.what, tuple))

    def join(self, first: Ids, second: Ids | None = None, length: int | None = None) -> Framed:
        """One or two texts in their frame, of `length` tokens at most.

        What is too long is cut from its end, the longer of two texts first. Raises `RegardError` where not even the
        frame fits.
        """
        two = second is not None
        texts = {"first": np.asarray(first, np.int64), "second": np.asarray([] if second is None else second, np.int64)}
        before = sum(map(len, texts.values()))
        if length is not None:
            room = length - self.added(two)
            if room < 0:
                raise RegardError(
                    f"a length of {length} is too small: {self.added(two)} special tokens stand around the text; "
                    "give a greater one."
                )
            shorter, longer = sorted(texts, key=lambda name: len(texts[name]))  # of equals the second is the longer
            texts[shorter] = texts[shorter][: room // 2]
            texts[longer] = texts[longer][: room - len(texts[shorter])]
        ids: list[np.ndarray] = []
        segments: list[np.ndarray] = []
        at: dict[str, range] = {}
        place = 0
        for what, segment in self._pieces(two):
            part = np.asarray(what, np.int64) if isinstance(what, tuple) else texts[what]
            if not isinstance(what, tuple):
                at[what] = range(place, place + len(part))
            ids.append(part)
            segments.append(np.full(len(part), segment, np.int64))
            place += len(part)
        return Framed(
            np.concatenate(ids),
            np.concatenate(segments),
            at["first"],
            at.get("second"),
            before - sum(map(len, texts.values())),
        )

    def _pieces(self, two: bool) -> tuple[Piece, ...]:
        return self.pair if two else self.single


def _framed_by(opening: tuple[int, ...], closing: tuple[int, ...], between: int, second_segment: int) -> Frame:
    single = (Piece(opening, 0), Piece("first", 0), Piece(closing, 0))
    second = (Piece("second", second_segment), Piece(closing, second_segment))
    return Frame(single, (*single, Piece(closing * (between - 1), 0), *second))


def _declared(processor: dict[str, Any]) -> Frame | None:
    """The frame that a `post_processor` of a tokenizer.json makes; None where it makes none."""
    match processor.get("type"):
        case "BertProcessing":
            return _framed_by((processor["cls"][1],), (processor["sep"][1],), between=1, second_segment=1)
        case "RobertaProcessing":
            return _framed_by((processor["cls"][1],), (processor["sep"][1],), between=2, second_segment=0)
        case "TemplateProcessing":
            return Frame(tuple(_template(processor, "single")), tuple(_template(processor, "pair")))
        case "Sequence":
            frames = map(_declared, processor["processors"])
            return next((frame for frame in frames if frame is not None), None)
        case _:
            return None


def _template(processor: dict[str, Any], which: str) -> Iterator[Piece]:
    for piece in processor[which]:
        if "Sequence" in piece:
            yield Piece("first" if piece["Sequence"]["id"] == "A" else "second", piece["Sequence"]["type_id"])
        else:
            token = piece["SpecialToken"]
            yield Piece(tuple(processor["special_tokens"][token["id"]]["ids"]), token["type_id"])
