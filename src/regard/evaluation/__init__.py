"""A score for each task, with the conventions printed beside it."""

from regard.evaluation.loss import Evaluation, batch_loss, total_loss
from regard.evaluation.perplexity import Perplexity, evaluate, evaluate_part

__all__ = ["Evaluation", "Perplexity", "batch_loss", "evaluate", "evaluate_part", "total_loss"]
