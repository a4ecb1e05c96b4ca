"""A score for each task, with the conventions printed beside it."""

from regard.evaluation.loss import Evaluation, batch_loss, evaluate_loss, total_loss

__all__ = ["Evaluation", "batch_loss", "evaluate_loss", "total_loss"]
