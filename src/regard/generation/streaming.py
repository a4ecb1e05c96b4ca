"""Streaming: tokens become text as they come, never half a character, never a part of a stop string.

Text that may be the beginning of a stop string is held back until it is certain; so is a character whose bytes are
still to come. What the pieces of a row hold, joined, is its text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from regard.generation.engine import Finished, Generation, Step
from regard.settings import RegardError
from regard.text import Tokenizer


class Alternative(NamedTuple):
    """A token that could have come, as text, and its probability by the model."""

    token: str
    probability: float
    id: int


class Piece(NamedTuple):
    """A token, and the text that became certain by it: often a word, sometimes nothing, at the end all that was held.

    `probability` and `log_probability` (nats) are the model's own: temperature 1, nothing filtered.
    `sampling_probability` is the one it was drawn with.
    """

    text: str
    token: str
    """The token itself as text; � stands for part of a character."""
    id: int
    probability: float
    log_probability: float
    sampling_probability: float
    candidates: tuple[Alternative, ...]
    """The likeliest tokens by the model, best first."""
    row: int
    sample: int
    finished: Finished | None
    """Why the row ends here: its end token, the limit of tokens, a stop string; None while it goes on."""


class StopStrings:
    """Text that flows until a stop string appears in it; the stop string is not let through."""

    def __init__(self, stop: Sequence[str]) -> None:
        if "" in stop:
            raise RegardError("a stop string is empty: it would stop every text at once.")
        self.stop = tuple(stop)
        self.held = ""
        self.found = False

    def push(self, text: str) -> str:
        """What is certain of the text so far; nothing more once a stop string was found."""
        if not self.stop or self.found:
            return "" if self.found else text
        self.held += text
        found = [(place + len(stop), place) for stop in self.stop if (place := self.held.find(stop)) >= 0]
        if found:  # the one that is complete first, wherever tokens divide the text
            self.found = True
            certain, self.held = self.held[: min(found)[1]], ""
            return certain
        keep = self._possible()
        certain, self.held = self.held[: len(self.held) - keep], self.held[len(self.held) - keep :]
        return certain

    def flush(self) -> str:
        """What was held back, at the end of the text."""
        rest, self.held = self.held, ""
        return rest

    def _possible(self) -> int:
        """How many of the last characters may be the beginning of a stop string."""
        longest = min(len(self.held), max(map(len, self.stop)) - 1)
        return next((n for n in range(longest, 0, -1) if any(s.startswith(self.held[-n:]) for s in self.stop)), 0)


class _Row:
    """The text of one row: bytes to characters, characters to what is certain."""

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int], stop: Sequence[str]) -> None:
        self.decoder = tokenizer.stream()
        for token in prompt:  # so that the first token is decoded as one that follows others
            self.decoder.push(token)
        self.stops = StopStrings(stop)

    def push(self, step: Step) -> str:
        text = self.stops.push(self.decoder.push(step.id))
        if step.finished and not self.stops.found:
            text += self.stops.push(self.decoder.flush())
            if not self.stops.found:
                text += self.stops.flush()
        return text


def stream(
    generation: Generation, tokenizer: Tokenizer, prompts: Sequence[Sequence[int]], stop: Sequence[str] = ()
) -> Iterator[Piece]:
    """The pieces of a generation's steps. A row that reaches a stop string ends there.

    Raises `RegardError` at once if a stop string is empty.
    """
    rows = [[_Row(tokenizer, prompt, stop) for _ in range(generation.samples)] for prompt in prompts]
    return _pieces(generation, tokenizer, rows)


def _pieces(generation: Generation, tokenizer: Tokenizer, rows: list[list[_Row]]) -> Iterator[Piece]:

    def token_text(token: int) -> str:
        return tokenizer.token_bytes(token).decode(errors="replace")

    for step in generation:
        row = rows[step.row][step.sample]
        text = row.push(step)
        finished = step.finished
        if row.stops.found:
            finished = "stop"
            generation.finish(step.row, step.sample)
        yield Piece(
            text,
            token_text(step.id),
            step.id,
            step.probability,
            step.log_probability,
            step.sampling_probability,
            tuple(Alternative(token_text(c.id), c.probability, c.id) for c in step.candidates),
            step.row,
            step.sample,
            finished,
        )
