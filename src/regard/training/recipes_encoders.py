"""Recipes of encoders, from scratch and from a pre-trained model: `regard train classify --from minilm --data …`.

bert             hidden words from those on both sides: pre-training, from text alone
classify, pair   a class for a text, or for two
multilabel       several labels for a text
regress          a number for a text, or for two
tag              a tag for each word
answer           where in a context the answer to a question stands
embed            a vector for each text, from pairs that mean the same

From scratch they are small, over characters, and so of any language; from a pre-trained model the learning rate is low
and what is drawn anew is the head alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from regard import heads
from regard.attention import Dot
from regard.data.labelled import LabelledData
from regard.data.pairs import PairsData
from regard.data.questions import QuestionData
from regard.data.tagged import TaggedData
from regard.inputs import TokenInput
from regard.layers import RMSNorm
from regard.model import MLP, LanguageHead, ModelConfig, Normal, PreNorm, StackConfig
from regard.positions import Rotary
from regard.text import TokenizerConfig
from regard.training.config import RunConfig, TrainingConfig
from regard.training.objectives import MaskedWords
from regard.training.optimisers import AdamW, Muon
from regard.training.schedules import WSD, Linear

if TYPE_CHECKING:
    from regard.data.base import Data
    from regard.training.recipes import Size


SPECIAL = {"pad": "[PAD]", "unknown": "[UNK]", "class": "[CLS]", "separator": "[SEP]", "mask": "[MASK]"}
"""As BERT's vocabulary writes them."""


def bert(size: Size, steps: int) -> RunConfig:
    """BERT's rows, masks and vocabulary, in the arrangement of `gpt`."""
    every = max(1, min(250, steps // 8))
    return RunConfig(
        tokenizer=TokenizerConfig(kind="wordpiece", vocab_size=size.pieces, special=SPECIAL, lowercase=True),
        model=_encoder(size, size.context_length).replace(head=LanguageHead(tied=True, bias=True)),
        training=TrainingConfig(
            steps=steps,
            batch_size=size.batch_size,
            objective=MaskedWords(),
            optimiser=Muon(),
            schedule=WSD(learning_rate=size.learning_rate, warmup=min(100, steps // 10), decay=0.4, shape="linear"),
            evaluate_every=every,
            evaluate_windows=max(16, 32_768 // size.context_length),
            checkpoint_every=every,
        ),
    )


def _encoder(size: Size, context_length: int) -> ModelConfig:
    """The arrangement of `gpt`, which sees both sides and is told of two texts which is which."""
    return ModelConfig(
        vocab_size=1,
        d_model=size.d_model,
        n_heads=size.n_heads,
        context_length=context_length,
        input=TokenInput(segments=2),
        encoder=StackConfig(
            n_layers=size.n_layers,
            attention=Dot(bias="none"),
            position=Rotary(),
            feedforward=MLP(activation="relu2", bias=False),
            norm=RMSNorm(),
            residual=PreNorm(),
        ),
        decoder=None,
        initialisation=Normal(residual="zero"),
    )


def classify(size: Size, steps: int) -> RunConfig:
    return _task(size, steps, LabelledData(), heads.Classify(pooling="mean"))


def multilabel(size: Size, steps: int) -> RunConfig:
    return _task(size, steps, LabelledData(), heads.MultiLabel(pooling="mean"))


def regress(size: Size, steps: int) -> RunConfig:
    return _task(size, steps, LabelledData(), heads.Regress(pooling="mean"))


def tag(size: Size, steps: int) -> RunConfig:
    return _task(size, steps, TaggedData(), heads.Tag())


def answer(size: Size, steps: int) -> RunConfig:
    return _task(size, steps, QuestionData(), heads.Answer())


def embed(size: Size, steps: int) -> RunConfig:
    return _task(size, steps, PairsData(), heads.Embed())


def _task(size: Size, steps: int, data: Data, head: heads.Head) -> RunConfig:
    """Small, over characters: [CLS] text [SEP], and [SEP] between two texts, whose segments are told."""
    return RunConfig(
        tokenizer=TokenizerConfig(kind="characters", special=("class", "separator", "unknown")),
        data=data,
        model=_encoder(size, 512).replace(dropout=0.1, head=head),
        training=TrainingConfig(
            steps=steps,
            epochs=10,
            batch_size=32,
            optimiser=Muon(),
            schedule=Linear(learning_rate=6e-3, warmup=0.1),
            evaluate_every=500,
            evaluate_windows=5000,
            checkpoint_every=500,
        ),
    )


def fine_tuning(config: RunConfig) -> RunConfig:
    """A recipe's run, but from a pre-trained model: few epochs, and a learning rate that leaves it what it knows.

    Source   Devlin et al. 2018, arXiv:1810.04805, §A.3 (batch, epochs and rates); Mosbach et al. 2020,
             arXiv:2006.04884, §6 (a rising rate first, and enough epochs for small sets).
    """
    training = config.training.replace(optimiser=AdamW(weight_decay=0.01, betas=(0.9, 0.999)))
    if not config.model.head.whole:  # more of what it was trained on
        return config.replace(training=training.replace(schedule=Linear(learning_rate=1e-4, warmup=0.05)))
    rates = {"tag": 1e-4, "answer": 1e-4}
    rate = rates.get(config.model.head.kind, 5e-5)
    schedule = Linear(learning_rate=rate, warmup=0.1)
    return config.replace(training=training.replace(schedule=schedule, epochs=4.0, average=None))


RECIPES = {
    "bert": bert,
    "classify": classify,
    "pair": classify,
    "multilabel": multilabel,
    "regress": regress,
    "tag": tag,
    "answer": answer,
    "embed": embed,
}
"""Recipes of tasks; `regard.training.recipes` lists all."""
