"""BLEU, chrF and TER of translations by sacreBLEU, each with its signature, and BLEU by the length of the source.

    BLEU = 100 · min(1, e^(1 − r/c)) · (p_1 p_2 p_3 p_4)^(1/4)      p_n: share of n-grams that a reference has
    chrF = 100 · 5 P R / (4 P + R)                                  P, R: of character n-grams, n = 1 … 6
    TER  = 100 · edits / words of the references                    an edit: a word put in, out or changed, or a move

c and r are tokens of the translations and of the references, and all counts are summed over the set before dividing.
A signature names everything that a number depends on; numbers with different ones cannot be compared. The target
language chooses how BLEU finds words. Chinese and Japanese are also taken apart for TER. BLEU is of the whole set: it
is 0 where no translation has four tokens.

Source   Papineni et al. 2002 (BLEU); Popović 2015 (chrF); Snover et al. 2006 (TER); Post 2018, arXiv:1804.08771
         (sacreBLEU); Bahdanau, Cho & Bengio 2014, arXiv:1409.0473, figure 2 (BLEU by length).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from regard.data.formats import extra
from regard.evaluation.bootstrap import Bootstrap, Difference, Statistics
from regard.settings import RegardError

TOKENIZERS = {"zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab"}
"""Target language → what finds words in it for BLEU; 13a for all others."""

CODES = {"zho": "zh", "cmn": "zh", "jpn": "ja", "kor": "ko"}

_ASIAN = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_DRAWS = Bootstrap()


@dataclass(frozen=True)
class Score:
    """One score of a set of translations, from 0 to 100 (TER: may exceed it), and all that it depends on."""

    name: str
    value: float
    low: float | None
    high: float | None
    signature: str

    def __str__(self) -> str:
        interval = "" if self.low is None else f" ({self.low:.1f} to {self.high:.1f})"
        return f"{self.name:<5} {self.value:6.2f}{interval}  {self.signature}"


@dataclass(frozen=True)
class TranslationScores:
    """How good a set of translations is, and how it was measured."""

    bleu: Score
    chrf: Score
    ter: Score
    """Of this one, lower is better."""
    exact: float
    """The share of translations that are their reference, but for white space around them."""
    length_ratio: float
    """Tokens of the translations to tokens of the references, as BLEU counts them."""
    sentences: int
    empty: int
    """Translations without text. They are scored like all others."""
    empty_references: int
    bootstrap: Bootstrap | None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        found: dict[str, Any] = {name: dict(vars(getattr(self, name))) for name in ("bleu", "chrf", "ter")}
        for name in ("exact", "length_ratio", "sentences", "empty", "empty_references"):
            found[name] = getattr(self, name)
        return {
            **found,
            "bootstrap": None if self.bootstrap is None else dict(vars(self.bootstrap)),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        empty = f", {self.empty:,} translated to nothing" if self.empty else ""
        empty += f", {self.empty_references:,} with an empty reference" if self.empty_references else ""
        lines = [
            *map(str, (self.bleu, self.chrf, self.ter)),
            f"  {self.sentences:,} {'sentence' if self.sentences == 1 else 'sentences'}{empty}; "
            f"{self.exact:.1%} exact; {self.length_ratio:.3f} times as long as the references; of TER, lower is better",
        ]
        if self.bootstrap is not None:
            lines.append(f"  in brackets: {self.bootstrap}")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


def translation_scores(
    hypotheses: Sequence[str],
    references: Sequence[str],
    target_language: str | None = None,
    tokenized: bool = False,
    lowercase: bool = False,
    bootstrap: Bootstrap | None = _DRAWS,
) -> TranslationScores:
    """BLEU, chrF and TER of translations, one reference each.

    target_language   its code, such as de, zh or ja; None: words stand between spaces
    tokenized         the lines are tokens between spaces, which BLEU takes as they are: for what papers before
                      sacreBLEU report, and incomparable with BLEU of plain text
    lowercase         BLEU and chrF ignore case (TER always does)
    bootstrap         how intervals are drawn; None: no intervals

    An empty translation counts as one. Raises `RegardError` where lines do not match or there are none, for a language
    that is no code, and where sacreBLEU is not installed.
    """
    _check(hypotheses, references=references)
    metrics, notes = _metrics(target_language, tokenized, lowercase, references)
    counted = [metric.statistics(hypotheses, references) for metric in metrics]
    bleu, chrf, ter = (
        metric.measure(statistics, bootstrap) for metric, statistics in zip(metrics, counted, strict=True)
    )
    ours, theirs = counted[0][:, :2].sum(axis=0)
    lines = list(zip(hypotheses, references, strict=True))
    return TranslationScores(
        bleu,
        chrf,
        ter,
        exact=sum(hypothesis.strip() == reference.strip() for hypothesis, reference in lines) / len(lines),
        length_ratio=float(ours / max(theirs, 1)),
        sentences=len(lines),
        empty=sum(not hypothesis.strip() for hypothesis in hypotheses),
        empty_references=sum(not reference.strip() for reference in references),
        bootstrap=bootstrap,
        notes=notes,
    )


def translation_differences(
    hypotheses: Sequence[str],
    others: Sequence[str],
    references: Sequence[str],
    target_language: str | None = None,
    tokenized: bool = False,
    lowercase: bool = False,
    bootstrap: Bootstrap = _DRAWS,
) -> dict[str, Difference]:
    """BLEU, chrF and TER of translations minus those of another system's, on the same draws of sentences."""
    _check(hypotheses, references=references)
    _check(others, references=references)
    metrics, _ = _metrics(target_language, tokenized, lowercase, references)
    differences = {}
    for metric in metrics:
        ours, theirs = metric.statistics(hypotheses, references), metric.statistics(others, references)
        differences[metric.name] = bootstrap.difference(ours, theirs, metric.score)
    return differences


@dataclass(frozen=True)
class LengthScore:
    """BLEU of the sentences whose source has `shortest` to `longest` tokens (None: or more)."""

    shortest: int
    longest: int | None
    mean: float
    sentences: int
    bleu: Score


@dataclass(frozen=True)
class LengthScores:
    """BLEU by the length of the source. Lengths that no sentence has are left out."""

    rows: tuple[LengthScore, ...]
    bootstrap: Bootstrap | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        rows = [{**vars(row), "bleu": dict(vars(row.bleu))} for row in self.rows]
        return {"rows": rows, "bootstrap": None if self.bootstrap is None else dict(vars(self.bootstrap))}

    def __str__(self) -> str:
        lines = ["source tokens  sentences    BLEU"]
        for row in self.rows:
            length = f"{row.shortest} or more" if row.longest is None else f"{row.shortest} to {row.longest}"
            interval = "" if row.bleu.low is None else f" ({row.bleu.low:.1f} to {row.bleu.high:.1f})"
            lines.append(f"{length:>13}  {row.sentences:>9,}  {row.bleu.value:6.2f}{interval}")
        return "\n".join([*lines, f"  {self.rows[0].bleu.signature}"])


def bleu_by_length(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[str],
    edges: Sequence[int] = (10, 20, 30, 40, 50, 60),
    source_language: str | None = None,
    target_language: str | None = None,
    tokenized: bool = False,
    lowercase: bool = False,
    bootstrap: Bootstrap | None = _DRAWS,
) -> LengthScores:
    """BLEU of the sentences with up to edges[0] tokens in their source, up to edges[1] …, and more than the last.

    Tokens of the source are counted as BLEU would find them in `source_language`.
    """
    _check(hypotheses, references=references, sources=sources)
    if list(edges) != sorted({edge for edge in edges if edge > 0}) or not edges:
        raise RegardError(
            f"edges are {tuple(edges)}, and rising lengths of 1 or more were expected, such as 10, 20, 30."
        )
    metric = _metrics(target_language, tokenized, lowercase, references)[0][0]
    statistics = metric.statistics(hypotheses, references)
    words = _metrics(source_language, tokenized, lowercase, sources)[0][0].metric.tokenizer
    lengths = np.array([len(words(source.strip()).split()) for source in sources])
    rows = []
    for shortest, longest in zip((0, *(edge + 1 for edge in edges)), (*edges, None), strict=True):
        chosen = (lengths >= shortest) & (lengths <= (lengths.max() if longest is None else longest))
        if chosen.any():
            bleu = metric.measure(statistics[chosen], bootstrap)
            rows.append(LengthScore(shortest, longest, float(lengths[chosen].mean()), int(chosen.sum()), bleu))
    return LengthScores(tuple(rows), bootstrap)


@dataclass(frozen=True)
class _Metric:
    """A metric of sacreBLEU, by what it counts in each sentence."""

    name: str
    metric: Any

    def statistics(self, hypotheses: Sequence[str], references: Sequence[str]) -> Statistics:
        return np.array(self.metric._extract_corpus_statistics(hypotheses, [references]), dtype=np.float64)

    def score(self, sums: Statistics) -> float:
        return float(self.metric._compute_score_from_stats(sums.tolist()).score)

    def measure(self, statistics: Statistics, bootstrap: Bootstrap | None) -> Score:
        low, high = (None, None) if bootstrap is None else bootstrap.interval(statistics, self.score)
        value = self.score(statistics.sum(axis=0))
        return Score(self.name, value, low, high, str(self.metric.get_signature()))


def _metrics(
    language: str | None, tokenized: bool, lowercase: bool, lines: Sequence[str]
) -> tuple[list[_Metric], tuple[str, ...]]:
    """BLEU, chrF and TER for a language, and what is to be known of them."""
    extra("sacrebleu", "scoring translations", "translation")
    from sacrebleu.metrics import BLEU, CHRF, TER

    code, notes = _code(language), []
    tokenizer = "none" if tokenized else TOKENIZERS.get(code, "13a")
    make = partial(BLEU, lowercase=lowercase, force=True)
    try:
        bleu = make(tokenize=tokenizer)
    except RuntimeError:  # the words of this language are found by a package that is not here
        bleu = make(tokenize="char")
        notes.append(f"BLEU of characters, not of words: for those pip install 'sacrebleu[{code}]'.")
    if tokenized:
        notes.append("BLEU of the tokens as given: not comparable with BLEU of plain text.")
    elif language is None and _looks_asian(lines):
        notes.append(
            "The references look Chinese or Japanese, and no words were found in them: name the target language."
        )
    apart = code in ("zh", "ja") and not tokenized
    metrics = {"BLEU": bleu, "chrF2": CHRF(lowercase=lowercase), "TER": TER(normalized=apart, asian_support=apart)}
    return [_Metric(name, metric) for name, metric in metrics.items()], tuple(notes)


def _code(language: str | None) -> str:
    """zh-CN → zh, cmn_Hans → zh; "" for None."""
    if language is None:
        return ""
    code = re.split("[-_]", language.lower())[0]
    if not re.fullmatch("[a-z]{2,3}", code):
        raise RegardError(f"the language {language!r} is no code: write it as de, zh or ja.")
    return CODES.get(code, code)


def _looks_asian(lines: Sequence[str]) -> bool:
    text = "".join(lines[:1000])
    return 3 * len(_ASIAN.findall(text)) > len(text)


def _check(hypotheses: Sequence[str], **others: Sequence[str]) -> None:
    """Raises `RegardError` where lines are none, or not as many as others, or no text."""
    for name, lines in {"hypotheses": hypotheses, **others}.items():
        if isinstance(lines, str):
            raise RegardError(f"the {name} are one text, and a list with a text for each sentence was expected.")
        if len(lines) != len(hypotheses):
            raise RegardError(
                f"there are {len(hypotheses):,} hypotheses and {len(lines):,} {name}: each needs the other."
            )
        for line in lines:
            if not isinstance(line, str):
                raise RegardError(f"the {name} hold {line!r:.40}, and text was expected.")
    if not hypotheses:
        raise RegardError("there are no sentences to score.")
