"""`regard fill`: what stands behind the masks of a text, with probabilities."""

from __future__ import annotations

import itertools
import json as json_
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from regard.cli.lines import one_line, piped

if TYPE_CHECKING:
    from regard.prediction.fill import Blank

CHUNK = 256
"""Lines that are read before they are filled in."""


def fill(
    model: Annotated[str, Parameter(help="The folder of a run or of a model, or a name of regard models.")],
    text: Annotated[
        str | None, Parameter(help="A text with [MASK] where words are hidden; - or nothing reads lines piped in.")
    ] = None,
    /,
    *,
    top: Annotated[int, Parameter(help="How many words are shown for a mask.")] = 5,
    json: Annotated[bool, Parameter(help="One JSON object a text, for programs.")] = False,
    device: Annotated[str | None, Parameter(help="cpu, cuda …; a GPU if there is one.")] = None,
) -> None:
    """Say what stands behind the masks of a text.

    A mask is written [MASK], whatever the model's own mask token is. First comes the text with the likeliest words,
    then a line for each mask with the likeliest for it.
    """
    import sys

    from regard.bundle import load
    from regard.prediction.fill import filled
    from regard.settings import RegardError

    if text is None and (sys.stdin is None or sys.stdin.isatty()):
        raise RegardError("there is nothing to fill in: give a text with [MASK] in it, or pipe lines in.")
    filler = load(model, device=device).reader("fill")
    lines: Iterator[str] = piped() if text in (None, "-") else iter([text or ""])
    while chunk := list(itertools.islice(lines, CHUNK)):
        for one, blanks in zip(chunk, filler.predict(chunk, top), strict=True):
            if json:
                print(json_.dumps(_record(one, filled(one, blanks), blanks), ensure_ascii=False), flush=True)
            else:
                print(one_line(filled(one, blanks)), flush=True)
                for number, blank in enumerate(blanks, start=1):
                    said = "  ".join(f"{one_line(word.text)} {word.probability:.1%}" for word in blank.candidates)
                    print(f"  {number}  {said}", flush=True)


def _record(text: str, whole: str, blanks: list[Blank]) -> dict[str, Any]:
    return {
        "text": text,
        "filled": whole,
        "blanks": [
            {
                "start": blank.start,
                "end": blank.end,
                "candidates": [{"text": one.text, "probability": one.probability} for one in blank.candidates],
            }
            for blank in blanks
        ],
    }
