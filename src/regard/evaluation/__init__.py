"""A score for each task, with the conventions printed beside it."""

from regard.evaluation.bootstrap import Bootstrap
from regard.evaluation.encoders import TaskScores, evaluate_examples
from regard.evaluation.loss import Evaluation, batch_loss, given, total_loss
from regard.evaluation.perplexity import Perplexity, evaluate, evaluate_part
from regard.evaluation.transcription import TranscriptionScores, transcription_scores
from regard.evaluation.translation import (
    LengthScores,
    TranslationScores,
    bleu_by_length,
    translation_differences,
    translation_scores,
)

__all__ = [
    "Bootstrap",
    "Evaluation",
    "LengthScores",
    "Perplexity",
    "TaskScores",
    "TranscriptionScores",
    "TranslationScores",
    "batch_loss",
    "bleu_by_length",
    "evaluate",
    "evaluate_examples",
    "evaluate_part",
    "given",
    "total_loss",
    "transcription_scores",
    "translation_differences",
    "translation_scores",
]
