"""Words with tags → a tag for each word. What a word's first piece is said to be is what the word is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from regard.data.batches import IGNORE
from regard.data.example_store import Encoded, ExampleStore, Row, Targets, chunks
from regard.data.examples import Sentence
from regard.data.tagged import TaggedData, read_tagged
from regard.heads import Head
from regard.model import Transformer
from regard.prediction.base import windows
from regard.prediction.tag import Tagger
from regard.settings import RegardError
from regard.text import Tokenizer
from regard.text.frame import Frame
from regard.text.words import pieces
from regard.training.config import RunConfig
from regard.training.tasks.base import Say
from regard.training.tasks.examples import ExampleTask, balanced, in_order, number_of


class TaggingTask(ExampleTask):
    heads: ClassVar[tuple[str, ...]] = ("tag",)
    recipes: ClassVar[str] = "tag"

    def _read(self, config: RunConfig, say: Say = lambda message: None) -> Iterator[tuple[int, Sentence]]:
        assert isinstance(config.data, TaggedData)
        return read_tagged(config.data, say)

    def texts(self, config: RunConfig) -> Iterator[str]:
        for part, sentence in self._read(config):
            if part == 0:
                yield " ".join(sentence.words)

    def facts(self, config: RunConfig, say: Say) -> dict[str, Any]:
        counts = Counter[str]()
        for part, sentence in self._read(config, say):
            if part == 0:
                counts.update(sentence.tags or ())
        labels = list(getattr(config.model.head, "labels", ())) or in_order(set(counts))
        if len(labels) < 2:
            raise RegardError(
                f"all words have the tag {labels[0]!r:.40}: there is nothing to tell apart, so name another column "
                "with data.tag=…."
                if labels
                else "there is no sentence to train on: give more, or a smaller data.validation_fraction."
            )
        return {"labels": labels, "counts": [counts[label] for label in labels]}

    def targets(self, config: RunConfig, facts: dict[str, Any]) -> Targets:
        return Targets("int64", -1)

    def examples(
        self, config: RunConfig, facts: dict[str, Any], tokenizer: Tokenizer, length: int, say: Say
    ) -> Iterator[Encoded]:
        frame = Frame.of(tokenizer)
        numbers = {label: place for place, label in enumerate(facts["labels"])}
        for chunk in chunks(self._read(config)):
            encoded = pieces(tokenizer, [sentence.words for _, sentence in chunk])
            for (part, sentence), (ids, firsts) in zip(chunk, encoded, strict=True):
                tags = np.full(len(ids), IGNORE)
                tags[firsts] = [number_of(tag, numbers, sentence.where, "tag") for tag in sentence.tags or ()]
                rows = []
                for window in windows(len(ids), length - frame.added(), 0):
                    framed = frame.join(ids[window.start : window.stop], None, length)
                    target = np.full(len(framed.ids), IGNORE)
                    target[framed.first.start : framed.first.stop] = tags[window.start : window.stop]
                    rows.append(Row(framed.ids, framed.segments, target))
                    tags[window.start : window.stop] = IGNORE  # what the last window shares with the one before it
                yield Encoded(part, rows, [sentence.words, sentence.tags])

    def head(self, config: RunConfig, facts: dict[str, Any]) -> Head:
        head: Any = config.model.head.replace(labels=tuple(facts["labels"]))
        if config.training.class_weights == "balanced":
            head = head.replace(weights=balanced(facts["counts"]))
        return head

    def sample(self, model: Transformer, tokenizer: Tokenizer, store: ExampleStore, number: int) -> str:
        """The words that the model gives a tag other than the commonest, and those that have one."""
        words, tags = store.validation_read()[number]
        [found] = Tagger(model, tokenizer, "windows", lambda message: None).predict([words])
        commonest = store.facts["labels"][int(np.argmax(store.facts["counts"]))]

        def shown(given: Sequence[str]) -> str:
            marked = [f"{word}/{tag}" for word, tag in zip(words, given, strict=False) if tag != commonest]
            return " ".join(marked[:8]) or f"all {commonest}"

        return f"{' '.join(words)[:80]} → {shown(found.tags)}   ({shown(tags)})"
