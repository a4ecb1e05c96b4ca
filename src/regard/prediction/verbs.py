"""What a model does, by its head: the verb of `Model` that it has, and what to say where another was asked for."""

from __future__ import annotations

from typing import Any, NamedTuple

from regard.inputs import Audio
from regard.model import ModelConfig, Transformer
from regard.prediction.answer import Answerer
from regard.prediction.base import Reader
from regard.prediction.classify import Classifier, MultiLabeller, Regressor
from regard.prediction.embed import Embedder
from regard.prediction.fill import Filler
from regard.prediction.tag import Tagger
from regard.text import Tokenizer


class Verb(NamedTuple):
    """The verb that a model has, and what it does, in words."""

    name: str
    does: str


HEADS = {
    "classify": Verb("predict", "gives the class of a text"),
    "multilabel": Verb("predict", "gives the labels of a text"),
    "regress": Verb("predict", "gives a number for a text"),
    "tag": Verb("predict", "tags words"),
    "answer": Verb("answer", "answers questions about a text"),
    "embed": Verb("embed", "gives a vector for a text"),
}

FAMILIES = {
    "decoder": Verb("generate", "continues a text"),
    "encoder": Verb("fill", "fills in hidden words"),
    "encoder-decoder": Verb("generate", "writes one text for another"),
}
"""Of models whose head gives words."""


def verb_of(config: ModelConfig) -> Verb:
    """What a model with these settings is for."""
    if isinstance(config.source, Audio):
        return Verb("transcribe", "writes down what is said")
    return HEADS.get(config.head.kind) or FAMILIES[config.family]


READERS: dict[str, type[Reader]] = {
    "classify": Classifier,
    "multilabel": MultiLabeller,
    "regress": Regressor,
    "tag": Tagger,
    "answer": Answerer,
    "embed": Embedder,
    "language": Filler,
}
"""Who speaks for a head, by its kind."""


def reader(transformer: Transformer, tokenizer: Tokenizer, **settings: Any) -> Any:
    """The one of these that speaks for the model's head. Settings: those of `Reader`."""
    return READERS[transformer.config.head.kind](transformer, tokenizer, **settings)
