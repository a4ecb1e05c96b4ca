"""What a run does with its kind of data: tokenizers, stores, batches, and the sample that is shown.

text.py          text → the next word
translation.py   pairs → a text for a text
speech.py        recordings → the words in them
labelled.py      texts with labels → a class, labels or a number
tagging.py       words with tags → a tag for each word
answers.py       questions about contexts → where the answer stands
embedding.py     pairs → a vector for each text
examples.py      what the last four share
"""

from regard.training import config as settings
from regard.training.tasks.answers import AnswerTask
from regard.training.tasks.base import Ready, Task
from regard.training.tasks.embedding import EmbeddingTask
from regard.training.tasks.labelled import LabelledTask
from regard.training.tasks.speech import SpeechTask
from regard.training.tasks.tagging import TaggingTask
from regard.training.tasks.text import TextTask
from regard.training.tasks.translation import TranslationTask

TASKS: dict[str, Task] = {
    "text": TextTask(),
    "pairs": TranslationTask(),
    "speech": SpeechTask(),
    "labelled": LabelledTask(),
    "tagged": TaggingTask(),
    "questions": AnswerTask(),
}
"""The kind of data → what is done with it."""


def task_of(config: settings.RunConfig) -> Task:
    """What is done with the run's data. From pairs a head for vectors learns otherwise than a decoder."""
    embeds = config.data.kind == "pairs" and config.model.head.kind == "embed"
    return EmbeddingTask() if embeds else TASKS[config.data.kind]


__all__ = [
    "TASKS",
    "AnswerTask",
    "EmbeddingTask",
    "LabelledTask",
    "Ready",
    "SpeechTask",
    "TaggingTask",
    "Task",
    "TextTask",
    "TranslationTask",
    "task_of",
]
