"""Pairs of texts that mean the same → a vector for each text, close for those of a pair.

The other pairs of a batch are what a text is told apart from, so a larger batch is a harder task; in micro-batches each
has its own.

Source   in-batch negatives: Henderson et al. 2017, arXiv:1705.00652, §4.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch.nn import functional as F

from regard.data.example_batches import EvaluationExamples
from regard.data.example_store import Encoded, ExampleStore, Row, Targets, chunks
from regard.data.pairs import Pair, PairsData, pairs
from regard.evaluation.loss import given
from regard.model import Transformer
from regard.text import Tokenizer
from regard.text.frame import Frame
from regard.training.config import RunConfig
from regard.training.tasks.base import Say
from regard.training.tasks.examples import ExampleTask

SHOWN = 32
"""Pairs among which a sample is looked for."""


class EmbeddingTask(ExampleTask):
    heads: ClassVar[tuple[str, ...]] = ("embed",)
    recipes: ClassVar[str] = "embed"
    together: ClassVar[int] = 2

    def _read(self, config: RunConfig, say: Say = lambda message: None) -> Iterator[Pair]:
        """All pairs but those with a blank side, which mean nothing."""
        assert isinstance(config.data, PairsData)
        return (pair for pair in pairs(config.data, say) if pair.source.strip() and pair.target.strip())

    def texts(self, config: RunConfig) -> Iterator[str]:
        for pair in self._read(config):
            if pair.part == 0:
                yield from (pair.source, pair.target)

    def targets(self, config: RunConfig, facts: dict[str, Any]) -> Targets:
        return Targets("int64", 0)

    def examples(
        self, config: RunConfig, facts: dict[str, Any], tokenizer: Tokenizer, length: int, say: Say
    ) -> Iterator[Encoded]:
        frame = Frame.of(tokenizer)
        for chunk in chunks(self._read(config, say)):
            firsts = tokenizer.encode_batch([pair.source for pair in chunk])
            seconds = tokenizer.encode_batch([pair.target for pair in chunk])
            for pair, *sides in zip(chunk, firsts, seconds, strict=True):
                framed = [frame.join(ids, None, length) for ids in sides]
                rows = [Row(row.ids, row.segments, 0, row.cut) for row in framed]
                yield Encoded(pair.part, rows, [pair.source, pair.target])

    def sample(self, model: Transformer, tokenizer: Tokenizer, store: ExampleStore, number: int) -> str:
        """A first text, and which of some second ones is nearest to it."""
        part = store.validation
        assert part is not None
        rows = EvaluationExamples(part, SHOWN, model.config.input.segments > 1, 2, limit=SHOWN)
        chosen, batch = rows.rows[0], rows.at(0).to(next(model.parameters()).device)
        vectors = model(batch.inputs, **given(batch))
        assert isinstance(vectors, torch.Tensor)
        count, read = len(chosen), store.validation_read()
        place = number % count
        near = F.cosine_similarity(vectors[place][None], vectors[count:]).argmax().item()
        return f"{read[chosen[place]][0]} → {read[chosen[int(near)]][1]}   ({read[chosen[place]][1]})"
