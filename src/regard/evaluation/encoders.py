"""How well an encoder does the task that it was trained for, and where it fails worst."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regard.bundle import Model, load
from regard.data.examples import Question
from regard.evaluation import examples as given
from regard.evaluation.answers import answer_scores, f1
from regard.evaluation.bootstrap import Bootstrap
from regard.evaluation.calibration import Calibration, calibration
from regard.evaluation.classification import classification_scores, confusion, multilabel_scores, nll
from regard.evaluation.embedding import cosines, retrieval_scores, right_ranks, similarity_scores, unit
from regard.evaluation.measures import DRAWS
from regard.evaluation.pictures import confusion_svg, confusion_text, reliability_svg
from regard.evaluation.regression import ranks, regression_scores
from regard.evaluation.tags import tag_scores
from regard.prediction.answer import Answerer
from regard.prediction.classify import Classifier, MultiLabeller, Regressor
from regard.prediction.embed import Embedder
from regard.prediction.tag import Tagger
from regard.settings import RegardError
from regard.text.words import entities, marks_entities

Source = str | os.PathLike[str]
Say = Callable[[str], None]

WORST = 20
"""Examples that are shown unless told."""
TABLE = 12
"""Labels up to which a confusion is printed; the picture shows any number."""


@dataclass(frozen=True)
class Worst:
    """An example on which a model fails: what it is, what it was said to be, and how bad that is."""

    where: str
    text: str
    true: str
    predicted: str
    loss: float
    """What examples are sorted by."""
    measure: str
    """What `loss` is."""
    probability: float | None = None

    def __str__(self) -> str:
        sure = "" if self.probability is None else f" ({self.probability:.1%})"
        text = " ".join(self.text.split())
        shown = text if len(text) <= 200 else text[:199] + "…"
        return f"{self.where}: {self.true} → {self.predicted or '–'}{sure}  {self.measure} {self.loss:.3g}\n    {shown}"


@dataclass(frozen=True)
class TaskScores:
    """The scores of a model on examples of its task."""

    task: str
    """The kind of its head."""
    data: str
    examples: int
    scores: Any
    """What the task is measured by, with `measures`."""
    worst: tuple[Worst, ...]
    calibration: Calibration | None = None
    confusion: tuple[np.ndarray, tuple[str, ...]] | None = None
    """Counts, a row a true label, and the labels."""
    bootstrap: Bootstrap | None = None

    @property
    def measures(self) -> dict[str, float]:
        """Name → value."""
        return {name: measure.value for name, measure in self.scores.measures.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {
            "task": self.task,
            "examples": self.examples,
            **self.scores.to_dict(),
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
            "worst": [dict(vars(one)) for one in self.worst],
            "bootstrap": None if self.bootstrap is None else dict(vars(self.bootstrap)),
        }

    def confusion_svg(self, title: str = "") -> str:
        """A picture of which labels are taken for which. Raises `RegardError` where there is none."""
        if self.confusion is None:
            raise RegardError(f"what {self.task} says has no confusion matrix: it is of classes and tags.")
        return confusion_svg(*self.confusion, title or f"{self.examples:,} examples of {self.data}")

    def reliability_svg(self, title: str = "") -> str:
        """A picture of how sure the model is and how often it is right. Raises `RegardError` where it says no
        probabilities."""
        if self.calibration is None:
            raise RegardError(f"what {self.task} says has no probabilities of labels, so there is none to draw.")
        return reliability_svg(self.calibration, title or f"{self.examples:,} examples of {self.data}")

    def __str__(self) -> str:
        parts = [f"{self.examples:,} examples: {self.data}", str(self.scores)]
        if self.confusion is not None and len(self.confusion[1]) <= TABLE:
            parts += ["", confusion_text(*self.confusion)]
        if self.calibration is not None:
            parts += ["", str(self.calibration), self.calibration.table()]
        if self.bootstrap is not None:
            parts += ["", f"in brackets: {self.bootstrap}"]
        if self.worst:
            parts += ["", f"the {len(self.worst)} worst, by {self.worst[0].measure} (true → predicted):"]
            parts += [f"  {one}" for one in self.worst]
        return "\n".join(parts)


def evaluate_examples(
    model: Model | Source,
    data: Source | Iterable[Source] | None = None,
    settings: Iterable[str] = (),
    *,
    worst: int = WORST,
    language: str | None = None,
    long: Any = None,
    bootstrap: Bootstrap | None = DRAWS,
    say: Say = lambda message: None,
) -> TaskScores:
    """How well an encoder with a task's head does it.

    data       files, `hf:…` or `builtin:…` with labels; None: the run's validation part
    settings   of data, such as "data.label=2"; else they are read as the run's own were
    worst      how many of the examples are kept on which it fails most
    language   of answers (en, de, zh …), which chooses how they are compared; None: zh where they are Chinese, else en
    long       what is done with a text longer than the model reads, as in `regard.prediction`

    Raises `RegardError` where there are no examples, or one has a label that the model does not know.
    """
    model = model if isinstance(model, Model) else load(model)
    kind = model.config.head.kind
    if kind not in _TASKS:
        raise RegardError(f"{model.name} has no task that examples have labels of: its head is {kind!r}.")
    if kind != "answer" and language is not None:
        raise RegardError(f"{model.name} answers no questions, so a language changes nothing.")
    source = (
        None if data is None else [os.fspath(one) for one in ([data] if isinstance(data, (str, os.PathLike)) else data)]
    )
    how = {"bootstrap": bootstrap, "worst": worst, "say": say, "long": long}
    if kind == "answer":
        how["language"] = language
    return _TASKS[kind](model, source, list(settings), **how)


def _classify(
    model: Model, source: Any, settings: list[str], worst: int, say: Say, long: Any, bootstrap: Any
) -> TaskScores:
    found, name = given.labelled(model, source, settings, say)
    labels = tuple(model.config.head.labels)
    many = model.config.head.kind == "multilabel"
    truth = [given.numbers_of(_names(one.label), labels, one.where) for one in found]
    reader = (MultiLabeller if many else Classifier)(model.transformer, model.tokenizer, long, say)
    said = reader.predict(_texts(found))
    # A text without tokens has no probabilities: then all are as likely.
    even = dict.fromkeys(labels, 0.5 if many else 1 / len(labels))
    p = np.array([[(one.probabilities or even)[label] for label in labels] for one in said])
    if not many:
        true = np.array([numbers[0] for numbers in truth])
        scores = classification_scores(true, p, labels, bootstrap)
        losses, best = nll(true, p), p.argmax(axis=1)
        rows = [
            Worst(found[n].where, _shown(found[n]), labels[true[n]], labels[best[n]], float(losses[n]), "loss",
                  float(p[n, best[n]]))
            for n in _most(losses, worst)
        ]  # fmt: skip
        assert scores.confusion is not None
        return TaskScores("classify", name, len(found), scores, tuple(rows), calibration(true, p),
                          (scores.confusion, labels), bootstrap)  # fmt: skip
    marks = np.zeros(p.shape)
    for row, numbers in zip(marks, truth, strict=True):
        row[numbers] = 1
    losses = -np.log(np.maximum(np.where(marks > 0, p, 1 - p), np.finfo(float).tiny)).sum(axis=1)
    rows = [
        Worst(found[n].where, _shown(found[n]), ", ".join(_names(found[n].label)) or "none",
              ", ".join(label for label, chance in zip(labels, p[n], strict=True) if chance >= 0.5) or "none",
              float(losses[n]), "loss")
        for n in _most(losses, worst)
    ]  # fmt: skip
    scores = multilabel_scores(marks, p, labels, bootstrap)
    return TaskScores("multilabel", name, len(found), scores, tuple(rows), calibration(marks, p), None, bootstrap)


def _regress(
    model: Model, source: Any, settings: list[str], worst: int, say: Say, long: Any, bootstrap: Any
) -> TaskScores:
    found, name = given.labelled(model, source, settings, say)
    true = np.array([float(one.label) for one in found])
    said = Regressor(model.transformer, model.tokenizer, long, say).predict(_texts(found))
    predicted = np.array([model.config.head.mean if one.value is None else one.value for one in said])
    losses = np.abs(predicted - true)
    rows = [
        Worst(found[n].where, _shown(found[n]), f"{true[n]:.4g}", f"{predicted[n]:.4g}", float(losses[n]), "error")
        for n in _most(losses, worst)
    ]
    scores = regression_scores(true, predicted, bootstrap)
    return TaskScores("regress", name, len(found), scores, tuple(rows), bootstrap=bootstrap)


def _tag(model: Model, source: Any, settings: list[str], worst: int, say: Say, long: Any, bootstrap: Any) -> TaskScores:
    found, name = given.tagged(model, source, settings, say)
    labels = tuple(model.config.head.labels)
    given.check_tags(found, labels)
    said = Tagger(model.transformer, model.tokenizer, long, say).predict([one.words for one in found])
    true, predicted = [list(one.tags) for one in found], [list(one.tags) for one in said]
    scores = tag_scores(true, predicted, [one.words for one in found], bootstrap=bootstrap)
    sides = [[_spans(tags, scores.unit) for tags in side] for side in (true, predicted)]
    wrong = np.array([len(ours ^ theirs) for ours, theirs in zip(*sides, strict=True)])
    rows = []
    for n in _most(wrong, worst):
        words = found[n].words
        missed, extra = (_named(words, part) for part in (sides[0][n] - sides[1][n], sides[1][n] - sides[0][n]))
        rows.append(Worst(found[n].where, " ".join(words), missed or "–", extra, float(wrong[n]), "wrong entities"))
    numbers = {label: number for number, label in enumerate(labels)}
    known = all(tag in numbers for tags in true for tag in tags)
    sure = None
    if known and any(true):
        sure = calibration(
            np.array([numbers[tag] for tags in true for tag in tags]),
            np.concatenate([one.probabilities for one in said if len(one.words)]),
        )
    kinds = tuple(
        dict.fromkeys(_type(tag) for tags in (["O"] if scores.unit == "entity" else [], labels) for tag in tags)
    )
    place = {kind: number for number, kind in enumerate(kinds)}
    ours, theirs = (np.array([place[_type(tag)] for tags in side for tag in tags], int) for side in (true, predicted))
    mixed = confusion(ours, theirs, len(kinds))
    return TaskScores("tag", name, len(found), scores, tuple(rows), sure, (mixed, kinds), bootstrap)


def _answer(
    model: Model, source: Any, settings: list[str], worst: int, say: Say, long: Any, bootstrap: Any,
    language: str | None,
) -> TaskScores:  # fmt: skip
    found, name = given.questions(model, source, settings, say)
    language = language or _language(found)
    true = [[answer.text for answer in one.answers or ()] for one in found]
    asked = [(one.question, one.context) for one in found]
    said = Answerer(model.transformer, model.tokenizer, long, say).predict(asked)
    texts = [one.text for one in said]
    spans = [one.answers[0].text if one.answers else "" for one in said]
    silent = [one.no_answer for one in said]
    known = (
        [0.0 if score is None else score for score in silent] if any(score is not None for score in silent) else None
    )
    scores = answer_scores(texts, true, language, known, spans, bootstrap)
    # The worst: no word right, and sure of it.
    chance = [one.silence if one.best is None else one.best.probability for one in said]
    losses = np.array([1 - f1(*pair, language) for pair in zip(texts, true, strict=True)])
    rows = [
        Worst(found[n].where, found[n].question, " | ".join(dict.fromkeys(true[n])) or "no answer",
              texts[n] or "no answer", float(losses[n]), "1 − F1", chance[n])
        for n in np.lexsort((-np.array(chance), -losses))[:worst].tolist() if losses[n] > 0
    ]  # fmt: skip
    return TaskScores("answer", name, len(found), scores, tuple(rows), bootstrap=bootstrap)


def _embed(
    model: Model, source: Any, settings: list[str], worst: int, say: Say, long: Any, bootstrap: Any
) -> TaskScores:
    found, name = given.related(model, source, settings, say)
    reader = Embedder(model.transformer, model.tokenizer, long, say)
    first, second = (reader.predict([one[side] for one in found]) for side in (0, 1))
    if found[0].label is not None:
        similarity = np.array([one.label for one in found], dtype=float)
        near = cosines(first, second)
        gaps = np.abs(ranks(near) - ranks(similarity))
        rows = [
            Worst(found[n].where, _shown(found[n]), f"{similarity[n]:.4g}", f"cosine {near[n]:.3f}", float(gaps[n]),
                  "ranks apart")
            for n in _most(gaps, worst)
        ]  # fmt: skip
        scores = similarity_scores(first, second, similarity, bootstrap)
        return TaskScores("embed", name, len(found), scores, tuple(rows), bootstrap=bootstrap)
    texts = list(dict.fromkeys(one.second for one in found))
    place = {text: number for number, text in enumerate(texts)}
    right = np.array([place[one.second] for one in found])
    candidates = second[np.unique(right, return_index=True)[1]]
    rank = right_ranks(first, candidates, right)
    rows = []
    for n in _most(rank - 1, worst):
        nearest = texts[int((unit(candidates) @ unit(first[n : n + 1])[0]).argmax())]
        rows.append(Worst(found[n].where, found[n].text, found[n].second, nearest, float(rank[n]), "rank"))
    scores = retrieval_scores(first, candidates, right, bootstrap=bootstrap)
    return TaskScores("embed", name, len(found), scores, tuple(rows), bootstrap=bootstrap)


_TASKS: dict[str, Callable[..., TaskScores]] = {
    "classify": _classify,
    "multilabel": _classify,
    "regress": _regress,
    "tag": _tag,
    "answer": _answer,
    "embed": _embed,
}
"""By the kind of the head."""

TASKS = tuple(_TASKS)


def _most(losses: np.ndarray, count: int) -> list[int]:
    """The numbers of those with the greatest losses, none that lost nothing."""
    order = np.argsort(-losses, kind="stable")[:count]
    return [int(n) for n in order if losses[n] > 0]


def _names(label: Any) -> list[str]:
    return list(label) if isinstance(label, tuple) else [label]


def _texts(found: Sequence[Any]) -> list[Any]:
    return [one.text if one.second is None else (one.text, one.second) for one in found]


def _shown(one: Any) -> str:
    return one.text if one.second is None else f"{one.text} │ {one.second}"


def _spans(tags: Sequence[str], unit: str) -> set[tuple[str, int, int]]:
    words = {(tag, place, place + 1) for place, tag in enumerate(tags)}
    return set(entities(tags)) if unit == "entity" else words


def _named(words: Sequence[str], spans: set[tuple[str, int, int]]) -> str:
    return ", ".join(
        f"{kind} {' '.join(words[first:end])!r}" for kind, first, end in sorted(spans, key=lambda s: s[1:])
    )


def _type(tag: str) -> str:
    return tag[2:] if marks_entities([tag]) and tag != "O" else tag


def _language(found: Sequence[Question]) -> str:
    text = "".join(answer.text for one in found for answer in one.answers or ())
    return "zh" if 3 * sum("\u3400" <= letter <= "\u9fff" for letter in text) > len(text) else "en"
