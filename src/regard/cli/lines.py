"""What `regard generate` does with a model that writes one text for another: a line in, a line out.

An empty line gives an empty line, so that line n of what comes out belongs to line n of what went in.
"""

from __future__ import annotations

import itertools
import json as json_
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regard.settings import RegardError

if TYPE_CHECKING:
    from regard.bundle import Model
    from regard.generation.translating import How, Overlong, Translation

CHUNK = 512
"""Lines that are read before they are written for; among so many, those of equal length share batches."""


def write_lines(
    model: Model,
    prompt: str | None,
    how: How | None,
    *,
    n_best: int,
    tokens: int,
    prefix: str,
    overlong: Overlong,
    align: str | None,
    json: bool,
) -> None:
    """Reads lines from the prompt or standard input, and prints what the model writes for each."""
    if align is not None:
        check_picture(align)
    count = 0
    for chunk in _chunks(_lines(prompt)):
        found = model.translate(
            chunk, how, n_best=n_best, tokens=tokens, prefix=prefix, overlong=overlong, first=count + 1
        )
        for source, best in zip(chunk, found, strict=True):
            count += 1
            if align is not None and count > 1:
                raise RegardError("one alignment is drawn at a time: give --align with one line.")
            alignment = None
            if align is not None and best[0].finished != "blank":
                alignment = model.alignment(source, [*model.target_tokenizer.encode(prefix), *best[0].ids])
                Path(align).write_text(alignment.svg(), encoding="utf-8")
            _show(source, best, n_best, json, alignment)
    if count == 0:
        raise RegardError("there is nothing to write for: give a text, or pipe one in, a line each.")


def _show(source: str, best: list[Translation], n_best: int, json: bool, alignment: Any) -> None:
    if json:
        translations = [
            {
                "text": one.text,
                "score": one.score,
                "log_probability": one.log_probability,
                "tokens": len(one.ids),
                "finished": one.finished,
            }
            for one in best
        ]
        record = {"source": source, "translations": translations}
        if alignment is not None:
            record["alignment"] = alignment.to_dict()
        print(json_.dumps(record, ensure_ascii=False), flush=True)
    elif n_best == 1:
        print(one_line(best[0].text), flush=True)
    else:
        for rank, one in enumerate(best, start=1):
            print(f"{rank}\t{one.score:.4f}\t{one_line(one.text)}", flush=True)


def one_line(text: str) -> str:
    """A text on one line, so that lines that come out belong to those that went in."""
    return plain(text.replace("\r", " ").replace("\n", " "))


def check_picture(path: str) -> None:
    """Raises `RegardError` where an SVG could not be written, before any work is done."""
    if Path(path).suffix.lower() != ".svg":
        raise RegardError(f"pictures are drawn as SVG, and {path!r} does not end in .svg.")
    check_writable(path)


def check_writable(path: str) -> None:
    """Raises `RegardError` where a file could not be written. What it holds stays; a new one is empty."""
    try:
        Path(path).open("ab").close()
    except OSError as error:
        raise RegardError(f"{path!r} cannot be written ({error.strerror or error}): name another file.") from None


def _lines(prompt: str | None) -> Iterable[str]:
    if prompt not in (None, "-"):
        return (prompt or "").split("\n")
    if prompt is None and (sys.stdin is None or sys.stdin.isatty()):
        return ()
    return piped()


def piped() -> Iterator[str]:
    """The lines of standard input, without their ends. Raises `RegardError` where they are no text."""
    for number, line in enumerate(getattr(sys.stdin, "buffer", sys.stdin), start=1):
        try:
            text = line.decode() if isinstance(line, bytes) else line
        except UnicodeDecodeError:
            raise RegardError(f"line {number} of standard input is not UTF-8: convert it first.") from None
        text = text.removeprefix("\ufeff") if number == 1 else text
        yield text.removesuffix("\n").removesuffix("\r")


def _chunks(lines: Iterable[str]) -> Iterator[list[str]]:
    every = iter(lines)
    while chunk := list(itertools.islice(every, CHUNK)):
        yield chunk


def plain(text: str) -> str:
    """Text as it is for a file or a pipe; on a terminal without what could steer it."""
    if not sys.stdout.isatty():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else "·" for c in text)


def refuse(name: str, does: str, options: dict[str, Any]) -> None:
    """Raises `RegardError` where an option was given that a model of this kind has no use for."""
    given = [option for option, value in options.items() if value]
    if given:
        raise RegardError(f"{name} {does}, and {' and '.join(given)} would change nothing.")
