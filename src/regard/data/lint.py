"""What is wrong with data, before a model learns it: repeats, empty texts, labels that contradict, texts too long."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from regard.data import masks
from regard.data.examples import Example
from regard.data.masks import Pieces
from regard.seeds import derive_seed
from regard.text import Tokenizer
from regard.text.frame import Frame

SHOWN = 3
"""Examples of a finding."""


class Finding(NamedTuple):
    """One thing that was looked at. level: "note" says how it is, "warning" what should be looked at."""

    what: str
    level: str
    says: str
    examples: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"what": self.what, "level": self.level, "says": self.says, "examples": list(self.examples)}


class _Counts:
    """Of the texts, as they come by."""

    def __init__(self) -> None:
        self.parts: Counter[int] = Counter()
        self.seen: dict[int, dict[str, int]] = {0: {}, 1: {}}
        self.repeats: Counter[str] = Counter()
        self.empty: list[str] = []
        self.labels: Counter[str] = Counter()
        self.of_text: dict[str, dict[str, str]] = defaultdict(dict)
        self.lengths: list[int] = []
        self.tokens = self.unknown = self.hidden = self.could = 0


def lint(
    rows: Iterable[tuple[int, Example]],
    *,
    tokenizer: Tokenizer | None = None,
    length: int | None = None,
    rate: float | None = None,
) -> list[Finding]:
    """What there is to say of texts, each with its part (0 train, 1 validation).

    tokenizer: counts tokens, those that are unknown, and with `length` (of the context) what would be cut off.
    rate: the part of tokens that is asked to be hidden; what is really drawn is measured. Holds the distinct texts.
    """
    counts = _Counts()
    frame = Frame.of(tokenizer) if tokenizer is not None else None
    pieces = Pieces.of(tokenizer, tokenizer.mask) if tokenizer and rate and tokenizer.mask is not None else None
    for part, one in rows:
        _count(counts, part, one)
        if tokenizer is None or frame is None:
            continue
        own = [tokenizer.encode(text) for text in (one.text, one.second) if text is not None]
        ids = np.array([token for text in own for token in text], np.int64)
        counts.lengths.append(len(ids) + frame.added(len(own) > 1))
        counts.tokens += len(ids)
        if tokenizer.unknown is not None:
            counts.unknown += int((ids == tokenizer.unknown).sum())
        if pieces is not None and rate is not None:
            random = np.random.default_rng(derive_seed(0, "lint", len(counts.lengths)))
            counts.hidden += int((masks.draw(ids, pieces, rate, "token", random) >= 0).sum())
            counts.could += int((~pieces.special[ids]).sum())
    found = [*_texts(counts), *_labels(counts)]
    if tokenizer is not None:
        found += _tokens(counts, length, rate)
    return found


def _count(counts: _Counts, part: int, one: Example) -> None:
    counts.parts[part] += 1
    text = one.text if one.second is None else f"{one.text}\t{one.second}"
    if not text.strip():
        counts.empty.append(one.where)
        return
    if text in counts.seen[part]:
        counts.repeats[text] += 1
    counts.seen[part][text] = part
    if one.label is None:
        return
    labels = one.label if isinstance(one.label, tuple) else (str(one.label),)
    if not isinstance(one.label, float):
        counts.labels.update(labels)
    counts.of_text[text].setdefault(" | ".join(labels), one.where)


def _texts(counts: _Counts) -> list[Finding]:
    rows = sum(counts.parts.values())
    apart = f", {counts.parts[1]:,} of them to validate" if counts.parts[1] else ""
    found = [Finding("texts", "note", f"{rows:,} texts{apart}")]
    if counts.empty:
        found.append(Finding("empty", "warning", f"{len(counts.empty):,} texts are empty", tuple(counts.empty[:SHOWN])))
    again = counts.repeats.total()
    if again:
        often = tuple(f"{count + 1} × {text[:60]}" for text, count in counts.repeats.most_common(SHOWN))
        found.append(
            Finding("repeated", "warning", f"{again:,} texts ({again / rows:.1%}) repeat another of their part", often)
        )
    both = [text for text in counts.seen[1] if text in counts.seen[0]]
    if both:
        says = f"{len(both):,} texts of the validation part are trained on: what is measured there is too good"
        found.append(Finding("leaked", "warning", says, tuple(text[:60] for text in both[:SHOWN])))
    return found


def _labels(counts: _Counts) -> list[Finding]:
    found = []
    if often := counts.labels.most_common():
        total = counts.labels.total()
        says = f"{len(often)} labels: " + ", ".join(f"{name} {count / total:.1%}" for name, count in often[:12])
        found.append(Finding("labels", "note", says + (" …" if len(often) > 12 else "")))
        (most, largest), (least, smallest) = often[0], often[-1]
        if largest > 10 * smallest and len(often) <= 100:
            says = f"{most} occurs {largest / smallest:.0f} times as often as {least}"
            found.append(Finding("imbalance", "warning", f"{says}: see training.class_weights=balanced"))
    against = {text: labels for text, labels in counts.of_text.items() if len(labels) > 1}
    if against:
        shown = tuple(
            f"{text[:60]}: " + ", ".join(f"{label} ({where})" for label, where in labels.items())
            for text, labels in list(against.items())[:SHOWN]
        )
        says = f"{len(against):,} texts have labels that contradict each other"
        found.append(Finding("contradictions", "warning", says, shown))
    return found


def _tokens(counts: _Counts, length: int | None, rate: float | None) -> list[Finding]:
    if not counts.lengths:
        return []
    lengths = np.array(counts.lengths)
    middle, most = np.quantile(lengths, 0.5), lengths.max()
    found = [Finding("lengths", "note", f"a text has {middle:.0f} tokens (median), at most {most:,}")]
    if length is not None:
        long = float((lengths > length).mean())
        cut = float(np.maximum(lengths - length, 0).sum() / lengths.sum())
        says = f"{long:.1%} of texts are longer than the {length:,} tokens that are read, and lose {cut:.1%} of all"
        found.append(Finding("truncation", "warning" if long > 0.05 else "note", says))
    share = counts.unknown / max(1, counts.tokens)
    found.append(
        Finding("unknown", "warning" if share > 0.01 else "note", f"{share:.2%} of tokens are unknown to the tokenizer")
    )
    if rate is not None and counts.could:
        drawn = counts.hidden / counts.could
        off = abs(drawn - rate) > 0.02
        says = f"{drawn:.1%} of tokens are hidden, and {rate:.0%} were asked for"
        says += ": the texts are short, and of each at least one is" if off else ""
        found.append(Finding("masks", "warning" if off else "note", says))
    return found
