"""What a published model is for, by the class that its config.json names: BertForTokenClassification tags.

Architectures differ in where a head's weights lie and in a transform; what a task is stands here once.
"""

from __future__ import annotations

from typing import Any, Literal

from regard.heads import Answer, Classify, Embed, Head, LanguageHead, MultiLabel, Regress, Tag
from regard.interop.base import Values
from regard.settings import RegardError

MOST_LABELS = 1 << 16

BASE = "Model"
TASKS = (BASE, "MaskedLM", "PreTraining", "SequenceClassification", "TokenClassification", "QuestionAnswering")

Transform = Literal["none", "tanh", "relu", "gelu"]


def head(values: Values, language: LanguageHead, transform: Transform, dropout: float | None) -> Head:
    """The head for what config.json says the model is for. A model without a head gives vectors.

    language    how words are predicted
    transform   what a text's first vector passes before it is classified
    dropout     before the head's last map, in training
    """
    task = task_of(values)
    if task == BASE:
        return Embed()
    if task in ("MaskedLM", "PreTraining"):
        values.only(tie_word_embeddings=True)
        return language
    if task == "QuestionAnswering":
        return Answer()
    names = labels(values)
    if task == "TokenClassification":
        return Tag(labels=names, dropout=dropout)
    how: dict[str, Any] = {"pooling": "first", "transform": transform, "dropout": dropout}
    single = "regression" if len(names) == 1 else "single_label_classification"
    match values.text("problem_type", single):
        case "regression" if len(names) == 1:
            return Regress(**how)
        case "single_label_classification":
            return Classify(labels=names, **how)
        case "multi_label_classification":
            return MultiLabel(labels=names, **how)
        case other:
            raise RegardError(f"{values.where}: problem_type {other!r} with {len(names)} labels is not known here.")


def task_of(values: Values) -> str:
    """What stands after "For" in the name of the model's class, or "Model"."""
    named = values.values.get("architectures") or [BASE]
    name = str(named[0]) if isinstance(named, list) else str(named)
    task = name.partition("For")[2] or (BASE if name.removesuffix("LMHeadModel").endswith(BASE) else name)
    if task not in TASKS:
        known = ", ".join(f"…{'' if task == BASE else 'For'}{task}" for task in TASKS)
        raise RegardError(f"{values.where}: the model is a {name[:60]}, and what can be read is {known}.")
    return task


def labels(values: Values) -> tuple[str, ...]:
    """The names of the labels, in the order of their numbers."""
    named = values.values.get("id2label")
    if named is None:
        return tuple(f"LABEL_{n}" for n in range(min(values.whole("num_labels", 2), MOST_LABELS)))
    if (
        not isinstance(named, dict)
        or not 1 <= len(named) <= MOST_LABELS
        or {str(number) for number in named} != {str(n) for n in range(len(named))}
        or not all(isinstance(label, str) for label in named.values())
    ):
        raise RegardError(f"{values.where}: id2label must name the labels 0, 1, 2 …, and does not.")
    return tuple(named[str(n)] for n in range(len(named)))
