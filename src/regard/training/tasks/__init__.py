"""What a run does with its kind of data: tokenizers, stores, batches, and the sample that is shown.

text.py          text → the next word
translation.py   pairs → a text for a text
speech.py        recordings → the words in them
"""

from regard.training.tasks.base import Ready, Task
from regard.training.tasks.speech import SpeechTask
from regard.training.tasks.text import TextTask
from regard.training.tasks.translation import TranslationTask

TASKS: dict[str, Task] = {"text": TextTask(), "pairs": TranslationTask(), "speech": SpeechTask()}
"""The kind of data → what is done with it."""

__all__ = ["TASKS", "Ready", "SpeechTask", "Task", "TextTask", "TranslationTask"]
