"""What all tasks on labelled examples share: an encoder reads framed texts, and its head learns what belongs to them.

First all examples are gone through to find the labels, then again to write them down as ids; nothing is held but that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch

from regard.data.base import Data
from regard.data.example_batches import EvaluationExamples, ExampleBatches
from regard.data.example_store import Encoded, ExampleStore, Targets, fingerprint_of, kept_examples, make_examples
from regard.data.store import keep_standard_input
from regard.evaluation.loss import given as given_to
from regard.evaluation.quick import quick_measures
from regard.heads import Head
from regard.model import Transformer
from regard.settings import RegardError, SettingsError
from regard.store import TOKENIZER
from regard.text import Tokenizer
from regard.text.frame import Frame
from regard.training.config import RunConfig
from regard.training.tasks.base import Given, Ready, Say, tokenizer_of, write_down


class ExampleTask:
    """A task's own part is what its methods below say of the data."""

    heads: ClassVar[tuple[str, ...]]
    """The kinds of heads that learn from this kind of data."""
    recipes: ClassVar[str]
    """Those that it can be had with, for messages."""
    together: ClassVar[int] = 1
    """Rows of an example."""

    # — a task's own —

    def texts(self, config: RunConfig) -> Iterator[str]:
        """The texts of the training part, from which a tokenizer is learnt."""
        raise NotImplementedError

    def facts(self, config: RunConfig, say: Say) -> dict[str, Any]:
        """What must be known of all examples before they are written down, such as the labels."""
        return {}

    def targets(self, config: RunConfig, facts: dict[str, Any]) -> Targets:
        raise NotImplementedError

    def examples(
        self, config: RunConfig, facts: dict[str, Any], tokenizer: Tokenizer, length: int, say: Say
    ) -> Iterator[Encoded]:
        """All examples in their frame, of at most `length` tokens."""
        raise NotImplementedError

    def head(self, config: RunConfig, facts: dict[str, Any]) -> Head:
        """The head, which now knows its labels."""
        return config.model.head

    def sample(self, model: Transformer, tokenizer: Tokenizer, store: ExampleStore, number: int) -> str:
        """What the model says of validation example `number`, and what is right."""
        raise NotImplementedError

    def measure(
        self, config: RunConfig, tokenizer: Tokenizer, store: ExampleStore, validation: EvaluationExamples
    ) -> Callable[[Transformer], dict[str, float]]:
        """How well a model does the task on the validation part."""
        return measures(validation, config.model.head)

    # — what all share —

    def prepare(self, config: RunConfig, folder: Path, given: Given, going_on: bool, say: Say) -> RunConfig:
        head = config.model.head
        if head.kind not in self.heads or config.model.family != "encoder":
            raise SettingsError(
                f"{config.data.kind} data are learnt by an encoder with a head for them, and this model is "
                f"{'an' if config.model.family[0] == 'e' else 'a'} {config.model.family} with a {head.kind} head: take "
                f"the recipe {self.recipes}."
            )
        check_terms(config)
        data: Data = keep_standard_input(config.data, folder, going_on)
        if not data.source:
            raise RegardError(f"there are no {config.data.kind} data: name a file with --data.")
        config = config.replace(data=data)
        tokenizer = tokenizer_of(
            config.tokenizer, given, folder / TOKENIZER, going_on,
            lambda: (text + "\n" for text in self.texts(config)), say, ", ".join(data.source),
        )  # fmt: skip
        store = self._store(config, tokenizer, folder / "data", say)
        vocabulary = max(tokenizer.vocab_size, config.model.vocab_size)
        model = config.model.replace(vocab_size=vocabulary, head=self.head(config, store.facts))
        config = config.replace(model=model, training=self._steps(config, store))
        write_down(config, folder, tokenizer)
        say(self.described(config, store, tokenizer))
        return config

    def described(self, config: RunConfig, store: ExampleStore, tokenizer: Tokenizer) -> str:
        train, validation = (0 if part is None else len(part.starts) - 1 for part in (store.train, store.validation))
        labels = getattr(config.model.head, "labels", ())
        named = ", ".join(labels[:8]) + (" …" if len(labels) > 8 else "")
        return (
            f"{train:,} examples to train on, {validation:,} to validate; "
            + (f"{len(labels):,} labels ({named}); " if labels else "")
            + f"{tokenizer.vocab_size:,} in the vocabulary."
        )

    def _store(self, config: RunConfig, tokenizer: Tokenizer, folder: Path, say: Say) -> ExampleStore:
        length, head = self._length(config), config.model.head
        fingerprint = fingerprint_of(
            config.data,
            tokenizer=tokenizer.fingerprint,
            frame=Frame.of(tokenizer),
            head=[head.kind, config.recipe == "pair"],
            length=[length, config.training.overlap],
        )
        kept = kept_examples(folder, fingerprint, say)
        asked = list(getattr(head, "labels", ()))
        if kept is not None and asked in ([], kept.facts.get("labels", asked)):
            return kept
        notes: list[str] = []

        def note(message: str) -> None:
            notes.append(message)
            say(message)

        facts = self.facts(config, note)
        shape = self.targets(config, facts)
        examples = self.examples(config, facts, tokenizer, length, note)
        return make_examples(examples, shape, tokenizer.vocab_size, folder, fingerprint, facts, notes, say)

    def _length(self, config: RunConfig) -> int:
        context, asked = config.model.context_length, config.training.max_length
        if asked is not None and asked > context:
            raise SettingsError(f"training.max_length is {asked}, and the model reads {context} tokens: lower it")
        return asked or context

    def _steps(self, config: RunConfig, store: ExampleStore) -> Any:
        training = config.training
        if training.epochs is None:
            return training
        batches = ExampleBatches(store.train, training.batch_size, together=self.together).batches
        steps = max(1, math.ceil(training.epochs * batches))
        often = max(1, min(training.evaluate_every, max(10, math.ceil(batches / 2))))
        return training.replace(steps=steps, evaluate_every=often, checkpoint_every=often)

    def open(self, config: RunConfig, folder: Path) -> Ready:
        training, model = config.training, config.model
        tokenizer, store = Tokenizer.load(folder / TOKENIZER), ExampleStore.open(folder / "data")
        segments = model.input.segments > 1
        batches = ExampleBatches(
            store.train, training.batch_size, training.seed, training.accumulate, segments, self.together
        )
        validation = None
        if store.validation is not None:
            rows = max(1, training.batch_size // training.accumulate)
            validation = EvaluationExamples(
                store.validation, rows, segments, self.together, limit=training.evaluate_windows
            )

        def sample(model: Transformer, step: int) -> str:
            if store.validation is None:
                return ""
            was = model.training
            model.eval()
            number = (step // max(1, training.evaluate_every)) % (len(store.validation.starts) - 1)
            with torch.no_grad():
                said = self.sample(model, tokenizer, store, number)
            model.train(was)
            return said

        return Ready(
            tokenizer,
            batches,
            validation,
            f"{training.steps:,} steps of {training.batch_size} examples, {batches.epochs(training.steps):.2f} epochs",
            sample,
            {"tokenizer": tokenizer.fingerprint, "data": store.contents},
            measure=None if validation is None else self.measure(config, tokenizer, store, validation),
        )


TERMS = {
    "smoothing": ("classify", "tag"),
    "r_drop": ("classify",),
    "class_weights": ("classify", "tag"),
    "z_loss": (),
}
"""Which heads know a term of the loss."""


def check_terms(config: RunConfig) -> None:
    """Raises `SettingsError` where training asks for what the head does not know."""
    for name, heads in TERMS.items():
        if getattr(config.training, name) not in (0.0, "none") and config.model.head.kind not in heads:
            known = f" (it is for {' and '.join(heads)})" if heads else ""
            raise SettingsError(f"training.{name} is nothing to a {config.model.head.kind} head{known}: leave it out")


def balanced(counts: list[int]) -> tuple[float, ...]:
    """The weight of each class with which all count alike: the mean count by its own."""
    return tuple(round(sum(counts) / (len(counts) * max(1, count)), 6) for count in counts)


def measures(validation: EvaluationExamples, head: Any) -> Callable[[Transformer], dict[str, float]]:
    """How well a model does its task on the validation part: name → value, the main one first, greater is better."""

    @torch.no_grad()
    def measure(model: Transformer) -> dict[str, float]:
        device = next(model.parameters()).device
        outputs: list[torch.Tensor] = []
        targets: list[torch.Tensor] = []
        for batch in validation:
            made = model(batch.to(device).inputs, **given_to(batch.to(device)))
            assert isinstance(made, torch.Tensor)
            made = made.float().cpu()
            if head.kind == "embed":
                rows = sum(len(output) for output in outputs)
                targets.append(torch.where(batch.targets < 0, batch.targets, batch.targets + rows))
                outputs.append(made)
            elif head.kind == "tag":
                outputs += list(made)
                targets += list(batch.targets)
            else:
                outputs.append(made)
                targets.append(batch.targets)
        if head.kind == "tag":
            return quick_measures("tag", outputs, targets, head.labels)
        return quick_measures(head.kind, torch.cat(outputs), torch.cat(targets), getattr(head, "labels", ()))

    return measure


def in_order(names: set[str]) -> list[str]:
    """Labels sorted: as numbers where all are whole numbers, else as text."""
    numbers = all(name.lstrip("-").isdecimal() for name in names)
    return sorted(names, key=lambda name: (int(name), name)) if numbers else sorted(names)


def number_of(label: str, numbers: dict[str, int], where: str, what: str = "label") -> int:
    """The number of a label. Raises `RegardError` where no training example has it."""
    number = numbers.get(label)
    if number is None:
        known = ", ".join(list(numbers)[:8]) + (" …" if len(numbers) > 8 else "")
        raise RegardError(
            f"{where}, has the {what} {label!r:.60}, which is in no training example (they have {known}): correct "
            "it, or give training examples of it."
        )
    return number
