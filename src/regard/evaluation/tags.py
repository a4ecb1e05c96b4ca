"""How well names in sentences are found: counted by whole entity, type and both ends right.

    precision = right / predicted     recall = right / true     F1 = 2 right / (predicted + true)

A tag is O, or B- I- E- S- and a type. By the default rule an entity goes on from a B or I into an I or E of its own
type, and every other tag than O begins one; so BIO, IOB1 and BIOES are read alike, and an I that follows nothing still
begins an entity. By the strict rule of a scheme, what the scheme forbids is no entity.

Source   Tjong Kim Sang & De Meulder 2003, arXiv:cs/0306050, §2.3 (the default rule is of its conlleval, and
         seqeval's); seqeval's mode="strict"; F1 of distinct surface forms: Derczynski et al. 2017 (WNUT17), §5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from regard.evaluation.bootstrap import Bootstrap
from regard.evaluation.classification import LabelScores, columns, over
from regard.evaluation.measures import DRAWS, Measure, lines, measured, plain
from regard.settings import RegardError

Scheme = Literal["any", "bio", "iob1", "bioes"]

CONVENTIONS = {
    "f1": "micro over entities, type and both ends right; 0/0 = 0",
    "precision": "right entities of those predicted",
    "recall": "right entities of those true",
    "macro_f1": "mean over types that are true or predicted",
    "surface_f1": "each distinct form and type once (WNUT17)",
    "token_accuracy": "words with the right tag, O among them",
}


def split(tag: str) -> tuple[str, str]:
    """B-person → (B, person); O → (O, "")."""
    prefix, _, kind = tag.partition("-")
    if prefix not in ("B", "I", "E", "S", "O") or (prefix == "O") != (kind == ""):
        raise RegardError(f"the tag {tag!r} is neither O nor B-, I-, E- or S- and a type, such as B-person.")
    return prefix, kind


def entities(tags: Sequence[str], scheme: Scheme = "any") -> list[tuple[str, int, int]]:
    """(type, first word, word after the last) of each entity. scheme: any reads all leniently, others are strict.

    Raises `RegardError` for a tag of another shape.
    """
    parts = [split(tag) for tag in tags]
    found: list[tuple[str, int, int]] = []
    place = 0
    while place < len(parts):
        before = parts[place - 1] if place else ("O", "")
        if not _begins(parts[place], before, scheme):
            place += 1
            continue
        end = place + 1
        while end < len(parts) and _goes_on(parts[end], parts[end - 1]):
            end += 1
        if scheme != "bioes" or _closed(parts[place:end]):
            found.append((parts[place][1], place, end))
            place = end
        else:
            place += 1
    return found


def _goes_on(tag: tuple[str, str], before: tuple[str, str]) -> bool:
    return tag[0] in ("I", "E") and before[0] in ("B", "I") and tag[1] == before[1]


def _begins(tag: tuple[str, str], before: tuple[str, str], scheme: Scheme) -> bool:
    if scheme == "bio":
        return tag[0] == "B"
    if scheme == "bioes":
        return tag[0] in ("B", "S")
    if scheme == "iob1":  # B only parts two neighbours of one type
        return tag[0] == "I" or (tag[0] == "B" and before[1] == tag[1])
    return tag[0] != "O"


def _closed(parts: Sequence[tuple[str, str]]) -> bool:
    return parts[-1][0] == ("S" if len(parts) == 1 else "E")


def repair(tags: Sequence[str]) -> list[str]:
    """The same entities by the default rule, written as BIO: B- begins each, I- goes on."""
    repaired = ["O"] * len(tags)
    for kind, first, end in entities(tags):
        repaired[first:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - first - 1)]
    return repaired


@dataclass(frozen=True)
class TagScores:
    """How well entities are found."""

    types: tuple[str, ...]
    measures: dict[str, Measure]
    per_type: LabelScores
    scheme: Scheme

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        rows = {
            kind: {name: float(getattr(self.per_type, name)[place]) for name in ("precision", "recall", "f1")}
            | {"support": int(self.per_type.support[place])}
            for place, kind in enumerate(self.types)
        }
        return {"measures": plain(self.measures), "per_type": rows, "scheme": self.scheme}

    def __str__(self) -> str:
        found = self.per_type
        head = ["", "precision", "recall", "F1", "true", "predicted"]
        rows = [
            [kind]
            + [f"{100 * value[place]:.1f}%" for value in (found.precision, found.recall, found.f1)]
            + [f"{int(found.support[place]):,}", f"{int(found.predicted[place]):,}"]
            for place, kind in enumerate(self.types)
        ]
        rule = "entities by seqeval's default rule" if self.scheme == "any" else f"entities strictly {self.scheme}"
        return "\n".join([*lines(self.measures), f"  {rule}", "", columns([head, *rows])])


def tag_scores(
    true: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    words: Sequence[Sequence[str]] | None = None,
    scheme: Scheme = "any",
    bootstrap: Bootstrap | None = DRAWS,
) -> TagScores:
    """Of sentences, a tag a word. words: for F1 of distinct surface forms, too.

    Raises `RegardError` where two sentences differ in length or a tag has another shape.
    """
    for place, (ours, theirs) in enumerate(zip(true, predicted, strict=True)):
        if len(ours) != len(theirs):
            raise RegardError(f"sentence {place + 1} has {len(ours)} true and {len(theirs)} predicted tags.")
    truth, guess = ([set(entities(tags, scheme)) for tags in side] for side in (true, predicted))
    types = tuple(sorted({kind for side in (truth, guess) for found in side for kind, _, _ in found}))
    number = {kind: place for place, kind in enumerate(types)}
    counted = np.zeros((len(truth), 3, len(types)))
    for sentence, (ours, theirs) in enumerate(zip(truth, guess, strict=True)):
        for which, found in enumerate((ours & theirs, theirs, ours)):
            for kind, _, _ in found:
                counted[sentence, which, number[kind]] += 1
    table = counted.reshape(len(truth), -1)
    same = np.array([sum(map(str.__eq__, *pair)) for pair in zip(true, predicted, strict=True)], dtype=np.float64)
    length = np.array([len(tags) for tags in true], dtype=np.float64)

    def scores(rows: np.ndarray) -> dict[str, float]:
        drawn = np.bincount(rows, minlength=len(truth)).astype(np.float64)
        counts = (drawn @ table).reshape(3, -1)
        right, guessed, real = counts.sum(axis=1)
        return {
            "f1": float(over(2 * right, guessed + real)),
            "precision": float(over(right, guessed)),
            "recall": float(over(right, real)),
            "macro_f1": LabelScores.of(*counts).macro_f1,
            "token_accuracy": float(over(drawn @ same, drawn @ length)),
        }

    measures = measured(len(truth), scores, CONVENTIONS, bootstrap)
    if words is not None:
        forms = [
            {
                (kind, *sentence[first:end])
                for found, sentence in zip(side, words, strict=True)
                for kind, first, end in found
            }
            for side in (truth, guess)
        ]
        both = len(forms[0]) + len(forms[1])
        value = 2 * len(forms[0] & forms[1]) / both if both else 0.0
        measures["surface_f1"] = Measure("surface_f1", value, convention=CONVENTIONS["surface_f1"])
    return TagScores(types, measures, LabelScores.of(*table.sum(axis=0).reshape(3, -1)), scheme)
