"""Word and character error rates of transcriptions, by jiwer.

    WER = (S + D + I) / N      words substituted, deleted, inserted, over the N words of the references
    CER                        the same of characters, the single spaces between words among them

What both sides went through before stands in the result: error rates under two normalisers cannot be compared.

Source   Levenshtein 1966 (the distance); Morris, Maier & Green 2004 (error rates and what they leave out).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regard.data.formats import extra
from regard.evaluation.bootstrap import Bootstrap, Statistics
from regard.settings import RegardError, nearest


def words_only(text: str) -> str:
    """In lower case, with a space for everything that is neither letter, digit, mark nor apostrophe.

    >>> words_only("Twenty-one, isn’t it?")
    "twenty one isn't it"
    """
    text = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    return "".join(each if each == "'" or unicodedata.category(each)[0] in "LNM" else " " for each in text)


NORMALISERS: dict[str, Callable[[str], str]] = {"none": str, "lower": str.lower, "words": words_only}
"""Name → what both sides go through. White space is one space after all of them."""

_DRAWS = Bootstrap()


@dataclass(frozen=True)
class ErrorRate:
    """Errors of a kind of unit, all counted against the references."""

    unit: str
    hits: int
    substitutions: int
    deletions: int
    insertions: int
    low: float | None = None
    high: float | None = None

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def total(self) -> int:
        """Units of the references."""
        return self.hits + self.substitutions + self.deletions

    @property
    def rate(self) -> float:
        """Errors a unit: 0 where all is right; what was inserted can take it above 1."""
        return self.errors / self.total

    def to_dict(self) -> dict[str, Any]:
        return {"rate": self.rate, **vars(self)}

    def __str__(self) -> str:
        name = {"words": "WER", "characters": "CER"}[self.unit]
        interval = "" if self.low is None else f" ({self.low:.2%} to {self.high:.2%})"
        return (
            f"{name} {self.rate:7.2%}{interval}  {self.substitutions:,} substituted, {self.deletions:,} deleted, "
            f"{self.insertions:,} inserted, of {self.total:,} {self.unit}"
        )


@dataclass(frozen=True)
class Mistaken:
    """A recording that was heard wrongly; both texts as they were compared."""

    index: int
    """From 0, as the lists have it."""
    reference: str
    hypothesis: str
    errors: int
    """Of words."""


@dataclass(frozen=True)
class TranscriptionScores:
    """How well recordings were written down, and how it was measured."""

    wer: ErrorRate
    cer: ErrorRate
    exact: float
    """The share of recordings without an error."""
    recordings: int
    empty: int
    """Recordings in which nothing was heard. They are scored like all others."""
    normaliser: str
    worst: tuple[Mistaken, ...]
    bootstrap: Bootstrap | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {
            **vars(self),
            "wer": self.wer.to_dict(),
            "cer": self.cer.to_dict(),
            "worst": [dict(vars(each)) for each in self.worst],
            "bootstrap": None if self.bootstrap is None else dict(vars(self.bootstrap)),
        }

    def __str__(self) -> str:
        empty = f", {self.empty:,} heard as nothing" if self.empty else ""
        lines = [
            f"{self.wer}\n{self.cer}",
            f"  {self.recordings:,} {'recording' if self.recordings == 1 else 'recordings'}{empty}; "
            f"{self.exact:.1%} without an error; normaliser: {self.normaliser}",
        ]
        if self.bootstrap is not None:
            lines.append(f"  in brackets: {self.bootstrap}")
        for each in self.worst:
            lines.append(f"  {each.errors} wrong in recording {each.index + 1}")
            lines += [f"    said   {each.reference}", f"    heard  {each.hypothesis or '(nothing)'}"]
        return "\n".join(lines)


def transcription_scores(
    hypotheses: Sequence[str],
    references: Sequence[str],
    normaliser: str | Callable[[str], str] = "none",
    worst: int = 5,
    bootstrap: Bootstrap | None = _DRAWS,
) -> TranscriptionScores:
    """Word and character error rates of what was heard against what was said.

    normaliser   what both sides go through: a name of `NORMALISERS`, or a function, whose name the result states
    worst        how many of the recordings with the most errors are kept
    bootstrap    how intervals are drawn; None: no intervals

    Raises `RegardError` where lines do not match, there are no words to hear, or jiwer is not installed.
    """
    jiwer = extra("jiwer", "scoring transcriptions", "speech")
    name, normalise = _normaliser(normaliser)
    for lines in (hypotheses, references):
        if isinstance(lines, str):
            raise RegardError("a list with a text for each recording was expected, not one text.")
    if len(hypotheses) != len(references):
        raise RegardError(
            f"there are {len(hypotheses):,} hypotheses and {len(references):,} references: each needs the other."
        )
    heard, said = ([" ".join(normalise(line).split()) for line in lines] for lines in (hypotheses, references))
    if not any(said):
        raise RegardError("there are no words in the references, so no share of them can be wrong.")
    words, characters = (_counts(process(said, heard)) for process in (jiwer.process_words, jiwer.process_characters))
    errors = words[:, 1:].sum(axis=1)
    order = [int(index) for index in np.argsort(-errors, kind="stable")[:worst] if errors[index]]
    return TranscriptionScores(
        _rate("words", words, bootstrap),
        _rate("characters", characters, bootstrap),
        exact=float(np.mean(errors == 0)),
        recordings=len(said),
        empty=heard.count(""),
        normaliser=name,
        worst=tuple(Mistaken(index, said[index], heard[index], int(errors[index])) for index in order),
        bootstrap=bootstrap,
    )


def _counts(output: Any) -> Statistics:
    """[recordings, (hits, substitutions, deletions, insertions)] of jiwer's alignments."""
    counts = np.zeros((len(output.alignments), 4), dtype=np.int64)
    columns = {"equal": 0, "substitute": 1, "delete": 2, "insert": 3}
    for row, chunks in zip(counts, output.alignments, strict=True):
        for chunk in chunks:
            length = max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
            row[columns[chunk.type]] += length
    return counts


def _rate(unit: str, counts: Statistics, bootstrap: Bootstrap | None) -> ErrorRate:
    low, high = (None, None) if bootstrap is None else bootstrap.interval(counts, _share)
    hits, substitutions, deletions, insertions = (int(count) for count in counts.sum(axis=0))
    return ErrorRate(unit, hits, substitutions, deletions, insertions, low, high)


def _share(sums: Statistics) -> float:
    hits, substitutions, deletions, insertions = sums
    return float((substitutions + deletions + insertions) / max(hits + substitutions + deletions, 1))


def _normaliser(normaliser: str | Callable[[str], str]) -> tuple[str, Callable[[str], str]]:
    if not isinstance(normaliser, str):
        return getattr(normaliser, "__qualname__", type(normaliser).__qualname__), normaliser
    if normaliser not in NORMALISERS:
        raise RegardError(f"there is no normaliser {normaliser!r}{nearest(normaliser, NORMALISERS)}")
    return normaliser, NORMALISERS[normaliser]
