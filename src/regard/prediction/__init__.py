"""Texts to answers: labels, tags, spans, vectors, hidden words. One task a file.

    classify.py   classes, labels, numbers      tag.py      tags and entities
    answer.py     spans of a context            embed.py    vectors, and search by them
    fill.py       words behind masks

`base.py` is what they share: it frames texts, batches them by length, and reads what is long in windows.
"""

from __future__ import annotations

from regard.prediction.answer import Answer, Answered, Answerer
from regard.prediction.base import Long, Reader, Text
from regard.prediction.classify import Class, Classifier, Labels, MultiLabeller, Number, Regressor
from regard.prediction.embed import Embedder, Hit, Hits
from regard.prediction.fill import Blank, Candidate, Filler
from regard.prediction.tag import Entity, Tagged, Tagger, Words
from regard.prediction.verbs import READERS, reader

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
