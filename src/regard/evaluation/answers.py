"""How well answers are found in texts: by the same words (F1) and by the same answer (exact match).

    F1 = 2 P R / (P + R)      P: share of the given answer's tokens that stand in the true one, R: the other way

Both answers are normalised first: lower case, punctuation taken out, articles taken out, one space between words. Of
several true answers the best one counts. "No answer" is right where there is none, and has F1 1 or 0.

Source   Rajpurkar et al. 2016, arXiv:1606.05250, §6.1; 2018, arXiv:1806.03822, §5 (no answer); Lewis et al. 2020,
         arXiv:1910.07475, §4 (other languages: their own articles, all of Unicode's punctuation, Chinese by character).
Differs  CMRC 2018's F1 takes the longest common part of two answers instead of a bag of characters.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regard.evaluation.bootstrap import Bootstrap
from regard.evaluation.measures import DRAWS, Measure, lines, measured, plain

ARTICLES = {
    "en": "a|an|the",
    "de": "ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des",
    "es": "un|una|unos|unas|el|la|los|las",
}
_HAN = re.compile("([\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])")


def normalise(answer: str, language: str = "en") -> str:
    """An answer as it is compared. language: en, de, es …; one without articles drops none."""
    kept = "".join(letter for letter in answer.lower() if not _punctuation(letter, language))
    if language in ARTICLES:
        kept = re.sub(rf"\b({ARTICLES[language]})\b", " ", kept)
    return " ".join(kept.split())


def _punctuation(letter: str, language: str) -> bool:
    return letter in string.punctuation or (language != "en" and unicodedata.category(letter).startswith("P"))


def tokens(answer: str, language: str = "en") -> list[str]:
    """What F1 counts: words between spaces; of Chinese (zh) each Han character is one."""
    normal = normalise(answer, language)
    return (_HAN.sub(r" \1 ", normal) if language == "zh" else normal).split()


def exact_match(given: str, true: Sequence[str], language: str = "en") -> float:
    """1 where the answer is one of the true ones. No true answer: where it is empty."""
    ours = tokens(given, language)
    return float(any(ours == tokens(answer, language) for answer in _answers(true, language)))


def f1(given: str, true: Sequence[str], language: str = "en") -> float:
    """The best F1 of the answer with a true one. No true answer: 1 where it is empty, or else 0."""
    ours = tokens(given, language)
    return max(_overlap(ours, tokens(answer, language)) for answer in _answers(true, language))


def _answers(true: Sequence[str], language: str) -> list[str]:
    return [answer for answer in true if normalise(answer, language)] or [""]


def _overlap(ours: Sequence[str], theirs: Sequence[str]) -> float:
    if not ours or not theirs:
        return float(ours == theirs)
    same = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * same / (len(ours) + len(theirs))


@dataclass(frozen=True)
class Threshold:
    """From which no-answer score on a model should keep silent, and what that gives."""

    best: float
    """Silent where the score is greater. −∞: always."""
    f1: float
    exact_match: float
    curve: tuple[tuple[float, float, float], ...]
    """(threshold, F1, exact match), by rising threshold, each with what is answered up to it."""

    def __str__(self) -> str:
        where = "answer nothing" if self.best == -np.inf else f"answer where the no-answer score is ≤ {self.best:.3f}"
        return f"best F1 {100 * self.f1:.2f}% (exact match {100 * self.exact_match:.2f}%): {where}"


def best_threshold(no_answer: np.ndarray, exact: np.ndarray, f1: np.ndarray, answerable: np.ndarray) -> Threshold:
    """The threshold with the best F1, tried at every score.

    no_answer [n]: how much rather there is none; exact, f1 [n]: of the best span, were it given; answerable [n]: bool.
    Chosen on the data it is scored on, so it is the most that a threshold can give, not what it will give elsewhere.
    """
    order = np.argsort(no_answer, kind="stable")
    silent = float((~answerable).sum())
    sums = [(silent + np.cumsum(np.where(answerable, score, -1.0)[order])) / len(order) for score in (f1, exact)]
    scores = no_answer[order]
    last = np.r_[np.diff(scores) != 0, True]
    curve = [(-np.inf, silent / len(order), silent / len(order))]
    curve += [(float(a), float(b), float(c)) for a, b, c in zip(scores[last], *(s[last] for s in sums), strict=True)]
    best = max(curve, key=lambda point: point[1])
    return Threshold(best[0], best[1], best[2], tuple(curve))


@dataclass(frozen=True)
class AnswerScores:
    """How well answers are found."""

    measures: dict[str, Measure]
    language: str
    questions: int
    without: int
    """Questions that have no answer."""
    threshold: Threshold | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        best = self.threshold
        return {
            "measures": plain(self.measures),
            "language": self.language,
            "questions": self.questions,
            "without_answer": self.without,
            "threshold": None if best is None else {
                "best": best.best if np.isfinite(best.best) else None, "f1": best.f1, "exact_match": best.exact_match,
            },
        }  # fmt: skip

    def __str__(self) -> str:
        best = [] if self.threshold is None else [f"  {self.threshold}"]
        return "\n".join([*lines(self.measures), *best])


def answer_scores(
    given: Sequence[str],
    true: Sequence[Sequence[str]],
    language: str = "en",
    no_answer: Sequence[float] | None = None,
    spans: Sequence[str] | None = None,
    bootstrap: Bootstrap | None = DRAWS,
) -> AnswerScores:
    """Of one answer a question ("" for none) and all its true ones (none where there is no answer).

    no_answer, spans   for the best threshold: how much rather there is none, and the best span if one must be given
    """
    exact = np.array([exact_match(*pair, language) for pair in zip(given, true, strict=True)])
    overlap = np.array([f1(*pair, language) for pair in zip(given, true, strict=True)])
    answerable = np.array([any(normalise(answer, language) for answer in answers) for answers in true])
    split = answerable.any() and not answerable.all()

    def scores(rows: np.ndarray) -> dict[str, float]:
        values = {"exact_match": float(exact[rows].mean()), "f1": float(overlap[rows].mean())}
        if split:
            has = answerable[rows]
            for name, chosen in (("answered", rows[has]), ("unanswerable", rows[~has])):
                values[f"{name}_f1"] = float(overlap[chosen].mean()) if len(chosen) else 0.0
        return values

    words = "characters" if language == "zh" else "words"
    without = f", articles of {language!r}" if language in ARTICLES else ""
    conventions = {
        "exact_match": f"without case, punctuation{without}; the best of several true answers",
        "f1": f"of {words} in common, normalised alike",
        "answered_f1": "of questions that have an answer",
        "unanswerable_f1": "of questions that have none",
    }
    measures = measured(len(exact), scores, conventions, bootstrap)
    threshold = None
    if no_answer is not None and spans is not None and not answerable.all():
        exact, overlap = (
            np.array([score(*pair, language) for pair in zip(spans, true, strict=True)]) for score in (exact_match, f1)
        )
        threshold = best_threshold(np.asarray(no_answer, np.float64), exact, overlap, answerable)
    return AnswerScores(measures, language, len(exact), int((~answerable).sum()), threshold)
