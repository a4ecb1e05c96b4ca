"""The settings of a run: how it trains, and with the model, the data and the tokenizer, all that it is."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from regard.data.kinds import Data, TextData
from regard.inputs import WordVectors
from regard.model import ModelConfig
from regard.settings import Settings, SettingsError
from regard.text import TokenizerConfig
from regard.training.average import Average
from regard.training.objectives import NextWord, Objective
from regard.training.optimisers import AdamW, Optimiser
from regard.training.scheduled import ScheduledSampling
from regard.training.schedules import Cosine, Schedule


class TrainingConfig(Settings):
    """How a model is trained. Counts are of steps (updates) unless they say otherwise."""

    steps: int = Field(2000, ge=0)
    epochs: float | None = Field(None, gt=0)
    """Labelled data: how often each example is seen, which then sets `steps`; and there is an evaluation in each half
    of an epoch."""
    batch_size: int = Field(32, ge=1)
    """Rows of a step, all micro-batches and processes together."""
    batch_tokens: int | None = Field(None, ge=1)
    """Pairs: as many of about equal length as have so many tokens on their longer side; none: `batch_size` pairs."""
    accumulate: int = Field(1, ge=1)
    """Micro-batches into which a step's rows are cut, to need less memory; the step is the same."""
    objective: Objective = NextWord()
    sampled: ScheduledSampling | None = None
    """How many of the words that a decoder reads are the right ones; none: all (teacher forcing)."""
    optimiser: Optimiser = AdamW()
    schedule: Schedule = Cosine(warmup=100)
    clip: float | None = Field(1.0, gt=0)
    """The largest norm of all gradients together; longer ones are shortened to it."""
    smoothing: float = Field(0.0, ge=0, lt=1)
    r_drop: float = Field(0.0, ge=0)
    """Each example is read twice, under two draws of dropout, and so much counts how far the two outcomes differ."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: an example of a rare class counts for more, so that all classes count alike."""
    frozen: int | Literal["encoder"] | None = None
    """What stays as it is: the input and so many of the lowest layers, or all but the head."""
    max_length: int | None = Field(None, ge=8)
    """Labelled data: tokens of a text, or of a window of one, that are read; none: the model's context."""
    overlap: int = Field(64, ge=0)
    """Questions: tokens that two windows of a context share."""
    z_loss: float = Field(0.0, ge=0)
    average: Average | None = None
    """An average of the weights, which is evaluated and kept as the model."""
    seed: int = Field(0, ge=0)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    """auto: when the run is long enough to repay it."""
    spread: Literal["auto", "ddp", "fsdp"] = "auto"
    """How processes share the work under torchrun; auto is ddp."""
    log_every: int = Field(10, ge=1)
    evaluate_every: int = Field(250, ge=1)
    evaluate_windows: int | None = Field(512, ge=1)
    """Windows of the validation part that an evaluation sees, spread evenly, always the same; none: all."""
    checkpoint_every: int = Field(250, ge=1)
    patience: int | None = Field(None, ge=1)
    """Stop after so many evaluations without a better one."""
    sample_prompt: str = ""
    sample_tokens: int = Field(40, ge=0)
    """Length of the text that is shown after each evaluation; 0 shows none."""
    tensorboard: bool = False

    @model_validator(mode="after")
    def _check(self) -> Any:
        if self.batch_tokens is None and self.batch_size % self.accumulate:
            raise SettingsError(
                f"a batch of {self.batch_size} rows cannot be cut into {self.accumulate} equal micro-batches: "
                "let accumulate divide batch_size"
            )
        return self


# What may differ when a run is resumed: it changes how long and how closely it is watched, not what it computes.
FREE = frozenset(
    f"training.{name}"
    for name in (
        "steps",
        "epochs",
        "device",
        "compile",
        "spread",
        "log_every",
        "evaluate_every",
        "evaluate_windows",
        "checkpoint_every",
        "patience",
        "sample_prompt",
        "sample_tokens",
        "tensorboard",
    )
)


class RunConfig(Settings):
    """A whole run, as `run.toml` holds it. A model without a `vocab_size` takes the tokenizer's."""

    recipe: str = ""
    """The name that it was made from, and the size, if any."""
    size: str = ""
    tokenizer: TokenizerConfig | str = TokenizerConfig()
    """How to learn one; or a file, a folder, or an encoding's name to load it from."""
    target_tokenizer: TokenizerConfig | str = "shared"
    """The same for what is written, where sources and targets share no vocabulary."""
    data: Data = TextData()
    model: ModelConfig
    start: str = ""
    """A run, a Hugging Face folder or a name of `regard models`, whose weights and tokenizer it begins with."""
    distil: str = ""
    """A run that translates: what it writes for the sources is learnt in the place of their targets."""
    vectors: str = ""
    """A file of word vectors (word2vec's or GloVe's) that the table of a `word_vectors` input begins with."""
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="before")
    @classmethod
    def _vocab_size(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("model", {}), dict):
            values = {**values, "model": {"vocab_size": 1, **values.get("model", {})}}
        return values

    @model_validator(mode="after")
    def _check(self) -> Any:
        if self.vectors and not isinstance(self.model.input, WordVectors):
            raise SettingsError(
                f"the vectors {self.vectors} have no place in an input of the kind {self.model.input.kind!r}: "
                "set model.input.kind=word_vectors"
            )
        return self


def completed(now: RunConfig, before: RunConfig) -> RunConfig:
    """The settings with what they leave to the data, or to the start, as it was found before."""
    model, old = now.model, before.model
    if now.start and now.start == before.start:
        model = old if type(model.head) is type(old.head) else model
    if model.vocab_size == 1:
        model = model.replace(vocab_size=old.vocab_size)
    if getattr(model.head, "labels", None) == () or model.head.kind == "regress" == old.head.kind:
        model = model.replace(head=old.head) if type(model.head) is type(old.head) else model
    return now.replace(model=model)


def differences(before: RunConfig, now: RunConfig) -> list[tuple[str, Any, Any]]:
    """The settings that may not change when a run is resumed and did: (name, before, now)."""
    return [
        (name, old, new)
        for name, old, new in _differences("", before.to_dict(), now.to_dict())
        if name not in FREE and name not in ("recipe", "size")
    ]


def _differences(path: str, before: Any, now: Any) -> list[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(now, dict):
        if before.get("kind") != now.get("kind"):
            return [(f"{path}.kind", before.get("kind"), now.get("kind"))]
        return [
            difference
            for key in dict.fromkeys((*before, *now))
            for difference in _differences(f"{path}.{key}".lstrip("."), before.get(key), now.get(key))
        ]
    return [] if before == now else [(path, before, now)]
