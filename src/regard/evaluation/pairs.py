"""How well a model writes one text for another: the loss of the references, and the scores of what it writes itself.

    loss    = −(1/n) Σ log p(target_i | target before it, source)        nats a token, the end token included

The loss is the true negative log-likelihood, whatever the model was trained to lower. Each pair counts, also one with a
blank side, which is translated to nothing.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regard.bundle import Model, load
from regard.data.pair_batches import pair_batch
from regard.data.pair_store import PairStore
from regard.data.pairs import PairsData, pairs, splits_itself
from regard.evaluation.loss import Evaluation, total_loss
from regard.evaluation.translation import LengthScores, TranslationScores, bleu_by_length, translation_scores
from regard.generation import Beam, Refinement
from regard.generation.translating import batches
from regard.settings import RegardError

Source = str | os.PathLike[str]


@dataclass(frozen=True)
class PairScores:
    """The scores of a model on pairs, how they were made, and what it wrote."""

    evaluation: Evaluation
    scores: TranslationScores
    how: Any
    """The settings of the search."""
    seconds: float
    """What writing took."""
    tokens: int
    """What was written."""
    sources: tuple[str, ...]
    written: tuple[str, ...]
    references: tuple[str, ...]

    def by_length(self, **options: Any) -> LengthScores:
        """BLEU by the length of the source; options are those of `bleu_by_length`."""
        return bleu_by_length(self.sources, self.written, self.references, **options)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold, without the texts."""
        return {
            "loss": self.evaluation.loss,
            "perplexity": self.evaluation.perplexity,
            "tokens": self.evaluation.tokens,
            **self.scores.to_dict(),
            "how": self.how.to_dict(),
            "seconds": self.seconds,
            "tokens_per_second": self.tokens / max(self.seconds, 1e-9),
        }

    def __str__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.how.to_dict().items() if value is not None)
        return (
            f"{self.evaluation}\n{self.scores}\n"
            f"  written with {type(self.how).__name__}({settings}): {self.tokens:,} tokens in {self.seconds:.1f} s, "
            f"{self.tokens / max(self.seconds, 1e-9):,.0f} a second"
        )


def evaluate_pairs(
    model: Model | Source,
    data: Source | Iterable[Source] | None = None,
    target: Source | Iterable[Source] = (),
    *,
    how: Any = None,
    tokens: int = 128,
    language: str | None = None,
    tokenized: bool = False,
    lowercase: bool = False,
    limit: int | None = None,
    **settings: Any,
) -> PairScores:
    """The scores of a translator on pairs.

    data, target   as `PairsData` takes them, of built-in sets the validation part; None: the run's
    how            the search: `Beam(…)`, the default
    language       of the targets, which chooses BLEU's tokenizer
    tokenized      the texts are tokens between spaces, and BLEU takes them as they are
    limit          so many pairs only, from the first
    settings       more of `PairsData`, such as columns=("en", "zh")

    Raises `RegardError` where there are no pairs, or the model writes no text for another.
    """
    model = model if isinstance(model, Model) else load(model)
    if model.family != "encoder-decoder":
        raise RegardError(f"{model.name} has no encoder and decoder, so there is nothing for it to translate.")
    if data is not None:
        config = PairsData(source=data, target=target, validation_fraction=0, **settings)
        part = int(splits_itself(config))  # of a built-in set, what was not trained on
        chosen = ((pair.source, pair.target) for pair in pairs(config) if pair.part == part)
        found = list(itertools.islice(chosen, limit))
    else:
        found = _kept(model)[:limit]
    if not found:
        raise RegardError("there are no pairs to evaluate on.")
    sources, references = (tuple(side) for side in zip(*found, strict=True))
    how = how or (Beam() if model.transformer.length is None else Refinement())
    begun = time.perf_counter()
    best = model.translate(sources, how, tokens=tokens, overlong="split")
    seconds = time.perf_counter() - begun
    written = tuple(one[0].text for one in best)
    return PairScores(
        pair_loss(model, found),
        translation_scores(written, references, language, tokenized, lowercase),
        how,
        seconds,
        sum(len(one[0].ids) + (one[0].finished == "end") for one in best),
        sources,
        written,
        references,
    )


def pair_loss(model: Model, found: list[tuple[str, str]]) -> Evaluation:
    """The loss of the targets of pairs, whose sides are not both blank."""
    own, target = model.tokenizer, model.target_tokenizer
    assert target.opening is not None
    assert target.end is not None
    end = [] if own.end is None else [own.end]
    rows = [[*own.encode(source.strip()), *end] for source, _ in found]
    expected = [target.encode(text.strip()) for _, text in found]
    longer = [max(len(row), len(text) + 1) for row, text in zip(rows, expected, strict=True)]
    made = (
        pair_batch(
            [np.asarray(rows[n], dtype=np.int64) for n in batch],
            [np.asarray(expected[n], dtype=np.int64) for n in batch],
            target.opening,
            target.end,
        )
        for batch in batches(longer)
    )
    return Evaluation.of(*total_loss(model.transformer, made))


def _kept(model: Model) -> list[tuple[str, str]]:
    """The validation pairs of the run."""
    store = (model.folder or Path()) / "data"
    if model.folder is None or not (store / "pairs.json").is_file():
        raise RegardError(f"{model.name} holds no pairs of its own: name some to evaluate on.")
    kept = PairStore.open(store)
    part = kept.validation
    if part is None:
        raise RegardError(f"{model.name} was trained without a validation part: name pairs to evaluate on.")
    texts = kept.validation_texts()
    if texts is not None:
        return texts
    sides = ((part.source, model.tokenizer), (part.target, model.target_tokenizer))
    return list(zip(*([own.decode(side.row(n)) for n in range(len(side))] for side, own in sides), strict=True))
