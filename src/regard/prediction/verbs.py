"""What a model does, by its head: the verb of `Model` that it has, and what to say where another was asked for."""

from __future__ import annotations

from typing import NamedTuple

from regard.inputs import Audio
from regard.model import ModelConfig


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
