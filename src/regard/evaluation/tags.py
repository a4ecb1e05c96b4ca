"""How well names in sentences are found: counted by whole entity, type and both ends right.

    precision = right / predicted     recall = right / true     F1 = 2 right / (predicted + true)

A tag is O, or B- I- E- S- and a type. By the default rule (`text.words.entities`) an entity goes on from a B or I into
an I or E of its own type, and every other tag than O begins one; so BIO, IOB1 and BIOES are read alike, and an I that
follows nothing still begins an entity. By the strict rule of a scheme, what the scheme forbids is no entity. Tags of
another shape, such as parts of speech, are counted word by word.

Source   Tjong Kim Sang & De Meulder 2003, arXiv:cs/0306050, §2.3 (the default rule is of its conlleval, and
         seqeval's); seqeval's mode="strict"; F1 of distinct surface forms: Derczynski et al. 2017 (WNUT17), §5.
Differs  Where strict IOB1 forbids a B- (its neighbour has another type), seqeval drops the entity before it as well.
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
from regard.text.words import Entity, entities, marks_entities, repair

Scheme = Literal["any", "bio", "iob1", "bioes"]

CONVENTIONS = {
    "f1": "micro; type and both ends right; 0/0 = 0",
    "precision": "right ones of those predicted",
    "recall": "right ones of those true",
    "macro_f1": "mean over types that are true or predicted",
    "surface_f1": "each distinct form and type once (WNUT17)",
    "token_accuracy": "words with the right tag, O among them; leniently read, both sides as BIO",
}


def strict_entities(tags: Sequence[str], scheme: Literal["bio", "iob1", "bioes"]) -> list[Entity]:
    """(type, first word, word after the last) of each entity that the scheme allows."""
    parts = [(tag[:1], tag[2:]) for tag in tags]
    found: list[Entity] = []
    place = 0
    while place < len(parts):
        before = parts[place - 1] if place else ("O", "")
        if not _begins(parts[place], before, scheme):
            place += 1
            continue
        end = place + 1
        while end < len(parts) and _goes_on(parts[end], parts[end - 1]):
            end += 1
        if scheme != "bioes" or parts[end - 1][0] == ("S" if end - place == 1 else "E"):
            found.append((parts[place][1], place, end))
            place = end
        else:
            place += 1
    return found


def _goes_on(tag: tuple[str, str], before: tuple[str, str]) -> bool:
    return tag[0] in ("I", "E") and before[0] in ("B", "I") and tag[1] == before[1]


def _begins(tag: tuple[str, str], before: tuple[str, str], scheme: str) -> bool:
    if scheme == "iob1":  # B only parts two neighbours of one type
        return tag[0] == "I" or (tag[0] == "B" and before[1] == tag[1])
    return tag[0] == "B" or (scheme == "bioes" and tag[0] == "S")


@dataclass(frozen=True)
class TagScores:
    """How well entities are found."""

    types: tuple[str, ...]
    measures: dict[str, Measure]
    per_type: LabelScores
    unit: Literal["entity", "word"]
    """What is counted."""
    scheme: Scheme

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        rows = {
            kind: {name: float(getattr(self.per_type, name)[place]) for name in ("precision", "recall", "f1")}
            | {"support": int(self.per_type.support[place])}
            for place, kind in enumerate(self.types)
        }
        return {"measures": plain(self.measures), "per_type": rows, "unit": self.unit, "scheme": self.scheme}

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
        rule = "words, as these tags mark no entities" if self.unit == "word" else rule
        return "\n".join([*lines(self.measures), f"  counted: {rule}", "", columns([head, *rows])])


def tag_scores(
    true: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    words: Sequence[Sequence[str]] | None = None,
    scheme: Scheme = "any",
    bootstrap: Bootstrap | None = DRAWS,
) -> TagScores:
    """Of sentences, a tag a word. words: for F1 of distinct surface forms, too.

    Raises `RegardError` where two sentences differ in length.
    """
    for place, (ours, theirs) in enumerate(zip(true, predicted, strict=True)):
        if len(ours) != len(theirs):
            raise RegardError(f"sentence {place + 1} has {len(ours)} true and {len(theirs)} predicted tags.")
    unit: Literal["entity", "word"] = "word"
    if marks_entities([tag for side in (true, predicted) for tags in side for tag in tags]):
        unit = "entity"
        if scheme == "any":
            true, predicted = [repair(tags) for tags in true], [repair(tags) for tags in predicted]
    truth, guess = ([_found(tags, unit, scheme) for tags in side] for side in (true, predicted))
    types = tuple(sorted({kind for side in (truth, guess) for found in side for kind, _, _ in found}))
    number = {kind: place for place, kind in enumerate(types)}
    counted = np.zeros((len(truth), 3, len(types)))
    for sentence, (real, guessed) in enumerate(zip(truth, guess, strict=True)):
        for which, found in enumerate((real & guessed, guessed, real)):
            for kind, _, _ in found:
                counted[sentence, which, number[kind]] += 1
    table = counted.reshape(len(truth), -1)
    same = np.array([sum(map(str.__eq__, *pair)) for pair in zip(true, predicted, strict=True)], dtype=np.float64)
    length = np.array([len(tags) for tags in true], dtype=np.float64)

    def scores(rows: np.ndarray) -> dict[str, float]:
        drawn = np.bincount(rows, minlength=len(truth)).astype(np.float64)
        counts = (drawn @ table).reshape(3, -1)
        right, given, known = counts.sum(axis=1)
        return {
            "f1": float(over(2 * right, given + known)),
            "precision": float(over(right, given)),
            "recall": float(over(right, known)),
            "macro_f1": LabelScores.of(*counts).macro_f1,
            "token_accuracy": float(over(drawn @ same, drawn @ length)),
        }

    measures = measured(len(truth), scores, CONVENTIONS, bootstrap)
    if words is not None and unit == "entity":
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
    return TagScores(types, measures, LabelScores.of(*table.sum(axis=0).reshape(3, -1)), unit, scheme)


def _found(tags: Sequence[str], unit: str, scheme: Scheme) -> set[Entity]:
    if unit == "word":
        return {(tag, place, place + 1) for place, tag in enumerate(tags)}
    return set(entities(tags) if scheme == "any" else strict_entities(tags, scheme))
