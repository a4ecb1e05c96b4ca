"""The contract between a run and its kind of data."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from regard.data.batches import BatchSource, EvaluationSource
from regard.model import Transformer
from regard.settings import RegardError
from regard.store import TARGET_TOKENIZER, TOKENIZER
from regard.text import Tokenizer, TokenizerConfig
from regard.training import checkpoint
from regard.training.config import RunConfig
from regard.training.objectives import Objective

Say = Callable[[str], None]
Given = Tokenizer | str | os.PathLike[str] | None
"""A tokenizer to use instead of learning one, or where it lies."""

SETTINGS = "run.toml"


@dataclass(frozen=True)
class Ready:
    """All that training needs of the data, once they are prepared."""

    tokenizer: Tokenizer
    batches: BatchSource
    validation: EvaluationSource | None
    described: str
    """What a step is, for a person."""
    sample: Callable[[Transformer, int], str]
    """What the model writes after so many steps."""
    identity: dict[str, str]
    """What must be the same when the run is resumed."""
    target_tokenizer: Tokenizer | None = None
    """Of the targets, where they have one of their own."""
    objective: Objective | None = None
    """With the ids that it needs; None: as the settings say."""
    measure: Callable[[Transformer], dict[str, float]] | None = None
    """How well a model does its task on the validation part: name → value, the main one first, greater is better."""


class Task(Protocol):
    def prepare(self, config: RunConfig, folder: Path, given: Given, going_on: bool, say: Say) -> RunConfig:
        """Tokenizers and stores in the run's folder, and the settings, now complete. One process does it for all."""
        ...

    def open(self, config: RunConfig, folder: Path) -> Ready:
        """What was prepared."""
        ...


def tokenizer_of(
    settings: TokenizerConfig | str,
    given: Given,
    kept: Path,
    going_on: bool,
    texts: Callable[[], Iterable[str] | Iterator[str]],
    say: Say,
    what: str,
) -> Tokenizer:
    """The tokenizer that was given, or named, or kept from before, or is learnt now.

    Raises `RegardError` where a run would go on with another one than it began with.
    """
    if isinstance(given, Tokenizer):
        found = given
    elif given is not None or isinstance(settings, str):
        found = Tokenizer.load(given if given is not None else str(settings))
    elif going_on and kept.exists():
        found = Tokenizer.load(kept)
    else:
        say(f"Learning a tokenizer ({settings.kind}) from {what}.")
        found = Tokenizer.train(texts(), **settings.to_dict())
    if going_on and kept.exists():
        before = Tokenizer.load(kept)
        if before.fingerprint != found.fingerprint:
            raise RegardError(
                f"{kept.parent} was begun with another tokenizer ({before.vocab_size:,} tokens, and this one has "
                f"{found.vocab_size:,}); train into another folder, or leave the tokenizer out to go on."
            )
    return found


def write_down(config: RunConfig, folder: Path, tokenizer: Tokenizer, target: Tokenizer | None = None) -> None:
    """The settings and the tokenizers, all of them or none."""

    def write(to: Path) -> None:
        tokenizer.save(to / TOKENIZER)
        if target is not None:
            target.save(to / TARGET_TOKENIZER)
        (to / SETTINGS).write_text(config.to_toml(), encoding="utf-8")

    checkpoint.replace_files(folder, write, "the tokenizer and the settings")
