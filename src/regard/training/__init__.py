"""Training: recipes, objectives, optimisers, checkpoints, devices, and `loop.py`, which reads from top to bottom."""

from regard.training.average import EMA, Average, Last
from regard.training.config import RunConfig, TrainingConfig
from regard.training.loop import Run, fit
from regard.training.objectives import MaskPredict, NextWord, Objective, SpanCorruption
from regard.training.optimisers import SGD, Adafactor, AdamW, Muon, Optimiser
from regard.training.recipes import RECIPES, recipe
from regard.training.run import train
from regard.training.schedules import WSD, Constant, Cosine, InverseSquareRoot, Linear, Noam, Schedule

__all__ = [
    "EMA",
    "RECIPES",
    "SGD",
    "WSD",
    "Adafactor",
    "AdamW",
    "Average",
    "Constant",
    "Cosine",
    "InverseSquareRoot",
    "Last",
    "Linear",
    "MaskPredict",
    "Muon",
    "NextWord",
    "Noam",
    "Objective",
    "Optimiser",
    "Run",
    "RunConfig",
    "Schedule",
    "SpanCorruption",
    "TrainingConfig",
    "fit",
    "recipe",
    "train",
]
