"""Texts to answers: labels, tags, spans, vectors, hidden words. One task a file.

    classify.py   classes, labels, numbers      tag.py      tags and entities
    answer.py     spans of a context            embed.py    vectors, and search by them
    fill.py       words behind masks

`base.py` is what they share: it frames texts, batches them by length, and reads what is long in windows.
"""

from __future__ import annotations

from typing import Any

from regard.model import Transformer
from regard.prediction.answer import Answer, Answered, Answerer
from regard.prediction.base import Long, Reader, Text
from regard.prediction.classify import Class, Classifier, Labels, MultiLabeller, Number, Regressor
from regard.prediction.embed import Embedder, Hit, Hits
from regard.prediction.fill import Blank, Candidate, Filler
from regard.prediction.tag import Entity, Tagged, Tagger, Words
from regard.text import Tokenizer

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


__all__ = [
    "READERS",
    "Answer",
    "Answered",
    "Answerer",
    "Blank",
    "Candidate",
    "Class",
    "Classifier",
    "Embedder",
    "Entity",
    "Filler",
    "Hit",
    "Hits",
    "Labels",
    "Long",
    "MultiLabeller",
    "Number",
    "Reader",
    "Regressor",
    "Tagged",
    "Tagger",
    "Text",
    "Words",
    "reader",
]
