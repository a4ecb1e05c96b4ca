"""Texts with labels → a class, several labels, or a number for a text, or for two."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from regard.data.example_store import Encoded, ExampleStore, Row, Targets, chunks
from regard.data.examples import Example
from regard.data.labelled import LabelledData, read_labelled
from regard.heads import Head
from regard.model import Transformer
from regard.prediction.classify import Classifier, MultiLabeller, Regressor
from regard.settings import RegardError
from regard.text import Tokenizer
from regard.text.frame import Frame
from regard.training.config import RunConfig
from regard.training.tasks.base import Say
from regard.training.tasks.examples import ExampleTask, balanced, in_order, number_of

MOST_LABELS = 1000
"""More of them than this, on more than half as many examples, are no labels but a wrong column."""


class LabelledTask(ExampleTask):
    heads: ClassVar[tuple[str, ...]] = ("classify", "multilabel", "regress")
    recipes: ClassVar[str] = "classify, pair, multilabel or regress"

    def _read(self, config: RunConfig, say: Say = lambda message: None) -> Iterator[tuple[int, Example]]:
        assert isinstance(config.data, LabelledData)
        return read_labelled(config.data, config.model.head.kind, say)  # type: ignore[arg-type]

    def texts(self, config: RunConfig) -> Iterator[str]:
        for part, example in self._read(config):
            if part == 0:
                yield from (text for text in (example.text, example.second) if text is not None)

    def facts(self, config: RunConfig, say: Say) -> dict[str, Any]:
        kind, counts, numbers = config.model.head.kind, Counter[str](), []
        examples = 0
        for part, example in self._read(config, say):
            if config.recipe == "pair" and example.second is None:
                raise RegardError(
                    f"{example.where}, has one text, and the recipe pair learns from two: name the column of the other "
                    "with data.second=…, or take classify."
                )
            examples += 1
            if part == 1:
                continue
            if kind == "regress":
                numbers.append(_number(example))
            else:
                counts.update(example.label if isinstance(example.label, tuple) else [str(example.label)])
        if kind == "regress":
            mean = math.fsum(numbers) / max(1, len(numbers))
            spread = math.sqrt(math.fsum((x - mean) ** 2 for x in numbers) / max(1, len(numbers)))
            if not spread:
                raise RegardError(f"all {len(numbers):,} training examples have the number {mean:g}: nothing to learn.")
            return {"mean": mean, "spread": spread}
        asked = list(getattr(config.model.head, "labels", ()))
        labels = asked or in_order(set(counts))
        if kind == "classify" and len(labels) < 2:
            raise RegardError(
                f"all {examples:,} examples have the label {labels[0]!r:.40}: there is nothing to tell apart, so name "
                "another column with data.label=…."
                if labels
                else "there is no example to train on: give more, or a smaller data.validation_fraction."
            )
        if not labels:
            raise RegardError("no training example has a label: name another column with data.label=….")
        if not asked and len(labels) > MOST_LABELS and 2 * len(labels) > examples:
            raise RegardError(
                f"there are {len(labels):,} different labels on {examples:,} examples, such as {labels[0]!r:.40}: name "
                "the column of the labels with data.label=…, or take the recipe regress for numbers."
            )
        return {"labels": labels, "counts": [counts[label] for label in labels]}

    def targets(self, config: RunConfig, facts: dict[str, Any]) -> Targets:
        match config.model.head.kind:
            case "classify":
                return Targets("int64", 0)
            case "multilabel":
                return Targets("float32", len(facts["labels"]))
            case _:
                return Targets("float32", 0)

    def examples(
        self, config: RunConfig, facts: dict[str, Any], tokenizer: Tokenizer, length: int, say: Say
    ) -> Iterator[Encoded]:
        frame, kind = Frame.of(tokenizer), config.model.head.kind
        numbers = {label: place for place, label in enumerate(facts.get("labels", ()))}
        for chunk in chunks(self._read(config)):
            firsts = tokenizer.encode_batch([example.text for _, example in chunk])
            seconds = iter(tokenizer.encode_batch([e.second for _, e in chunk if e.second is not None]))
            for (part, example), first in zip(chunk, firsts, strict=True):
                framed = frame.join(first, None if example.second is None else next(seconds), length)
                row = Row(framed.ids, framed.segments, _target(example, kind, numbers), framed.cut)
                yield Encoded(part, [row], list(example[:3]))

    def head(self, config: RunConfig, facts: dict[str, Any]) -> Head:
        head: Any = config.model.head
        if head.kind == "regress":
            return head.replace(mean=facts["mean"], spread=facts["spread"])
        head = head.replace(labels=tuple(facts["labels"]))
        if config.training.class_weights == "balanced":
            head = head.replace(weights=balanced(facts["counts"]))
        return head

    def sample(self, model: Transformer, tokenizer: Tokenizer, store: ExampleStore, number: int) -> str:
        text, second, right = store.validation_read()[number]
        how: dict[str, Any] = {"classify": Classifier, "multilabel": MultiLabeller, "regress": Regressor}
        [found] = how[model.config.head.kind](model, tokenizer, say=lambda message: None).predict(
            [text if second is None else (text, second)]
        )
        shown = f"{text[:80]}{'' if second is None else f' | {second[:80]}'}"
        return f"{shown} → {found}   ({', '.join(right) if isinstance(right, list) else right})"


def _number(example: Example) -> float:
    assert isinstance(example.label, float)
    return example.label


def _target(example: Example, kind: str, numbers: dict[str, int]) -> Any:
    if kind == "regress":
        return _number(example)
    if kind == "classify":
        return number_of(str(example.label), numbers, example.where)
    assert isinstance(example.label, tuple)
    target = np.zeros(len(numbers), np.float32)
    target[[number_of(label, numbers, example.where) for label in example.label]] = 1
    return target
