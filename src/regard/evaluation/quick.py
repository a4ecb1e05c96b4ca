"""A few numbers of a task from a head's outputs, quickly: what a training prints while it runs.

Outputs and targets are as the heads give and take them; no texts, no intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from regard.evaluation.classification import confusion, label_scores, matthews, over
from regard.evaluation.embedding import right_ranks
from regard.evaluation.regression import pearson, spearman
from regard.evaluation.tags import tag_scores
from regard.settings import RegardError


def quick_measures(
    kind: str, outputs: Tensor | Sequence[Tensor], targets: Tensor | Sequence[Tensor], labels: Sequence[str] = ()
) -> dict[str, float]:
    """Name → value, the task's main one first. kind: classify, multilabel, regress, tag, answer or embed.

    outputs    [n c], [n c], [n]; of tag and answer a row [t c] or [t 2] a text, or [n t c], [n t 2]; of embed [n d]
    targets    [n] (−100: none), [n c], [n]; of tag [t] a text; of answer [n 2]; of embed [n] rows of the positives
    labels     of tag: their names

    Raises `RegardError` for another kind.
    """
    if kind not in _KINDS:
        raise RegardError(f"there are no quick measures of {kind!r}: give one of {', '.join(_KINDS)}.")
    return _KINDS[kind](outputs, targets, labels)


def _classify(outputs: Tensor, targets: Tensor, labels: Sequence[str]) -> dict[str, float]:
    kept = targets != -100
    predicted, true = outputs[kept].argmax(-1).cpu().numpy(), targets[kept].cpu().numpy()
    counts = confusion(true, predicted, outputs.shape[-1])
    found = label_scores(counts)
    measures = {"accuracy": float(over(counts.trace(), counts.sum())), "macro_f1": found.macro_f1}
    measures |= {"f1": float(found.f1[1])} if outputs.shape[-1] == 2 else {}
    return measures | {"matthews": matthews(counts)}


def _multilabel(outputs: Tensor, targets: Tensor, labels: Sequence[str]) -> dict[str, float]:
    given, true = (outputs >= 0).double(), targets.double()
    right, both = (given * true).sum(), given.sum() + true.sum()
    exact = (given == true).all(dim=1).double().mean()
    return {"micro_f1": (2 * right / both.clamp(min=1)).item(), "subset_accuracy": exact.item()}


def _regress(outputs: Tensor, targets: Tensor, labels: Sequence[str]) -> dict[str, float]:
    kept = ~targets.isnan()
    predicted, true = outputs[kept].double().cpu().numpy(), targets[kept].double().cpu().numpy()
    error = float(((predicted - true) ** 2).mean())
    return {"pearson": pearson(predicted, true), "spearman": spearman(predicted, true), "mse": error}


def _tag(outputs: Sequence[Tensor], targets: Sequence[Tensor], labels: Sequence[str]) -> dict[str, float]:
    true, predicted = [], []
    for row, target in zip(outputs, targets, strict=True):
        kept = target != -100
        true.append([labels[place] for place in target[kept].tolist()])
        predicted.append([labels[place] for place in row[: len(target)][kept].argmax(-1).tolist()])
    found = tag_scores(true, predicted, bootstrap=None).measures
    return {name: found[name].value for name in ("f1", "precision", "recall", "token_accuracy")}


def _answer(outputs: Sequence[Tensor], targets: Tensor, labels: Sequence[str]) -> dict[str, float]:
    """Ends right among places, not yet among texts: padding must hold −∞."""
    ends = torch.stack([row.argmax(0).cpu() for row in outputs])
    right = ends == targets.cpu()
    start, end = right.double().mean(0).tolist()
    return {"both_ends": right.all(1).double().mean().item(), "start": start, "end": end}


def _embed(outputs: Tensor, targets: Tensor, labels: Sequence[str]) -> dict[str, float]:
    anchors = (targets != -100).nonzero()[:, 0]
    candidates = (targets == -100).nonzero()[:, 0]
    place = torch.searchsorted(candidates, targets[anchors])
    vectors = outputs.double().cpu().numpy()
    ranks = right_ranks(vectors[anchors.cpu()], vectors[candidates.cpu()], place.cpu().numpy())
    return {"accuracy@1": float((ranks == 1).mean()), "mrr": float((1 / ranks).mean())}


_KINDS: dict[str, Callable[[Any, Any, Sequence[str]], dict[str, float]]] = {
    "classify": _classify,
    "multilabel": _multilabel,
    "regress": _regress,
    "tag": _tag,
    "answer": _answer,
    "embed": _embed,
}
