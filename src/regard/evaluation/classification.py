"""How well labels are predicted: one label a text, or any number of them.

    precision = tp / (tp + fp)     recall = tp / (tp + fn)     F1 = 2 tp / (2 tp + fp + fn)
    Matthews  = (n · Σ C_kk − Σ p_k t_k) / √((n² − Σ p_k²)(n² − Σ t_k²))      p, t: how often k is predicted, true

A quotient 0/0 counts as 0. Macro is the plain mean over the labels that are true or predicted somewhere, weighted the
mean by how often they are true, micro counts all labels together. With one label a text micro F1 is the accuracy.

Source   van Rijsbergen 1979 (F); Gorodkin 2004 (Matthews for more than two labels). Averages: as scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regard.evaluation.bootstrap import Bootstrap
from regard.evaluation.measures import DRAWS, Measure, lines, measured, plain

CONVENTIONS = {
    "accuracy": "the likeliest label is the true one; equals micro F1",
    "macro_f1": "mean over labels that are true or predicted; 0/0 = 0",
    "weighted_f1": "mean weighted by how often a label is true",
    "matthews": "from −1 to 1; 0 where all have one label",
    "nll": "nats a text of the true label; lower is better",
    "micro_f1": "all decisions together; 0/0 = 0",
    "subset_accuracy": "all labels of a text are right",
}


@dataclass(frozen=True)
class LabelScores:
    """Precision, recall and F1 of each label, and how often it is true: arrays [c]."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray
    predicted: np.ndarray

    @classmethod
    def of(cls, right: np.ndarray, predicted: np.ndarray, support: np.ndarray) -> LabelScores:
        """From counts a label [c]: predicted and true, predicted, true."""
        return cls(
            over(right, predicted), over(right, support), over(2 * right, predicted + support), support, predicted
        )

    @property
    def macro_f1(self) -> float:
        seen = (self.support > 0) | (self.predicted > 0)
        return float(self.f1[seen].mean()) if seen.any() else 0.0

    @property
    def weighted_f1(self) -> float:
        return float(over(self.f1 @ self.support, self.support.sum()))


def over(above: Any, below: Any) -> Any:
    """A quotient in which 0/0 is 0."""
    return np.divide(above, below, out=np.zeros(np.shape(below)), where=np.asarray(below) > 0)


def confusion(true: np.ndarray, predicted: np.ndarray, n_labels: int) -> np.ndarray:
    """Counts [c c]: a row a true label, a column a predicted one."""
    return np.bincount(true * n_labels + predicted, minlength=n_labels * n_labels).reshape(n_labels, n_labels)


def label_scores(counts: np.ndarray) -> LabelScores:
    """Of a confusion [c c]."""
    return LabelScores.of(counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1))


def matthews(counts: np.ndarray) -> float:
    """Matthews correlation coefficient of a confusion [c c]."""
    predicted, true = counts.sum(axis=0).astype(float), counts.sum(axis=1).astype(float)
    n = predicted.sum()
    spread = (n * n - predicted @ predicted) * (n * n - true @ true)
    return float((n * np.trace(counts) - predicted @ true) / np.sqrt(spread)) if spread > 0 else 0.0


def average_precision(true: np.ndarray, scores: np.ndarray) -> float:
    """Area under the steps of precision over recall: Σ (recall_k − recall_{k−1}) precision_k; NaN without a true one.

    true [n] of 0 and 1, scores [n]. Texts with equal scores count as found together.
    """
    if not true.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    last = np.r_[np.diff(scores[order]) != 0, True]
    found, shown = np.cumsum(true[order])[last], np.flatnonzero(last) + 1
    return float(np.diff(found, prepend=0) @ (found / shown) / true.sum())


def nll(true: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """−log p of each text's true label, in nats [n]."""
    least = np.finfo(np.float64).tiny
    return -np.log(np.maximum(probabilities[np.arange(len(true)), true].astype(np.float64), least))


@dataclass(frozen=True)
class ClassificationScores:
    """How well labels are predicted, one label a text or many."""

    labels: tuple[str, ...]
    measures: dict[str, Measure]
    per_label: LabelScores
    confusion: np.ndarray | None
    """[c c], a row a true label; None where a text may have many."""
    average_precision: np.ndarray | None = None
    """[c], of many labels a text; NaN for a label that is never true."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        found = self.per_label
        rows: dict[str, dict[str, Any]] = {}
        for place, label in enumerate(self.labels):
            rows[label] = {name: float(getattr(found, name)[place]) for name in ("precision", "recall", "f1")}
            rows[label]["support"] = int(found.support[place])
            if self.average_precision is not None:
                value = float(self.average_precision[place])
                rows[label]["average_precision"] = None if np.isnan(value) else value
        counts = None if self.confusion is None else self.confusion.tolist()
        return {"measures": plain(self.measures), "per_label": rows, "confusion": counts, "labels": list(self.labels)}

    def __str__(self) -> str:
        return "\n".join([*lines(self.measures), "", self.table()])

    def table(self) -> str:
        """Precision, recall, F1 and count of each label."""
        head = ["", "precision", "recall", "F1", "texts"]
        found, rows = self.per_label, []
        for place, label in enumerate(self.labels):
            values = (found.precision[place], found.recall[place], found.f1[place])
            rows.append([label, *(f"{100 * value:.1f}%" for value in values), f"{int(found.support[place]):,}"])
        if self.average_precision is not None:
            head.append("average precision")
            for row, value in zip(rows, self.average_precision, strict=True):
                row.append("–" if np.isnan(value) else f"{100 * value:.1f}%")
        return columns([head, *rows])


def columns(rows: Sequence[Sequence[str]], indent: str = "  ") -> str:
    """Rows of cells as text: the first column stands left, the others right."""
    from rich.cells import cell_len

    widths = [max(cell_len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        indent
        + "  ".join(
            cell + " " * (width - cell_len(cell)) if place == 0 else " " * (width - cell_len(cell)) + cell
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def classification_scores(
    true: np.ndarray, probabilities: np.ndarray, labels: Sequence[str], bootstrap: Bootstrap | None = DRAWS
) -> ClassificationScores:
    """Of one label a text. true [n]: numbers of labels; probabilities [n c]. With two labels also F1 of the second."""
    predicted, c = probabilities.argmax(axis=1), len(labels)
    cells, losses = true * c + predicted, nll(true, probabilities)

    def scores(rows: np.ndarray) -> dict[str, float]:
        counts = np.bincount(cells[rows], minlength=c * c).reshape(c, c)
        found = label_scores(counts)
        values = {"accuracy": float(np.trace(counts) / len(rows)), "macro_f1": found.macro_f1}
        values |= {"f1": float(found.f1[1])} if c == 2 else {"weighted_f1": found.weighted_f1}
        return values | {"matthews": matthews(counts), "nll": float(losses[rows].mean())}

    conventions = CONVENTIONS | ({"f1": f"of the label {labels[1]!r}, as the positive one"} if c == 2 else {})
    measures = measured(len(true), scores, conventions, bootstrap, numbers=("matthews", "nll"))
    counts = confusion(true, predicted, c)
    return ClassificationScores(tuple(labels), measures, label_scores(counts), counts)


def multilabel_scores(
    true: np.ndarray, probabilities: np.ndarray, labels: Sequence[str], bootstrap: Bootstrap | None = DRAWS
) -> ClassificationScores:
    """Of any number of labels a text. true [n c] of 0 and 1; probabilities [n c]; a label is given from one half on."""
    given, true = (probabilities >= 0.5).astype(np.float64), true.astype(np.float64)
    counted = np.concatenate((given * true, given, true), axis=1)
    whole = (given == true).all(axis=1)
    least = np.finfo(np.float64).tiny
    of_truth = np.where(true > 0, probabilities, 1 - probabilities.astype(np.float64))
    losses = -np.log(np.maximum(of_truth, least)).mean(axis=1)

    def scores(rows: np.ndarray) -> dict[str, float]:
        drawn = np.bincount(rows, minlength=len(true)).astype(np.float64)
        right, predicted, support = (drawn @ counted).reshape(3, -1)
        return {
            "micro_f1": float(over(2 * right.sum(), predicted.sum() + support.sum())),
            "macro_f1": LabelScores.of(right, predicted, support).macro_f1,
            "subset_accuracy": float(whole[rows].mean()),
            "nll": float(losses[rows].mean()),
        }

    conventions = CONVENTIONS | {"nll": "nats a decision, a text and label each; lower is better"}
    measures = measured(len(true), scores, conventions, bootstrap, numbers=("nll",))
    right, predicted, support = counted.sum(axis=0).reshape(3, -1)
    found = np.array([average_precision(true[:, k], probabilities[:, k]) for k in range(len(labels))])
    return ClassificationScores(tuple(labels), measures, LabelScores.of(right, predicted, support), None, found)
