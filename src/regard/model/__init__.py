"""Ids to logits: the settings of a model, the parts of its layers, and the model itself."""

from regard.feedforward import MLP, FeedForward, Gated
from regard.inputs import Input, TokenInput
from regard.model.config import ModelConfig, StackConfig
from regard.model.heads import Head, LanguageHead
from regard.model.initialisation import Initialisation, Normal, Xavier, initialise
from regard.model.losses import Loss, token_loss
from regard.model.stack import Encoded, Stack
from regard.model.transformer import Transformer
from regard.residual import PostNorm, PreNorm, Residual

__all__ = [
    "MLP",
    "Encoded",
    "FeedForward",
    "Gated",
    "Head",
    "Initialisation",
    "Input",
    "LanguageHead",
    "Loss",
    "ModelConfig",
    "Normal",
    "PostNorm",
    "PreNorm",
    "Residual",
    "Stack",
    "StackConfig",
    "TokenInput",
    "Transformer",
    "Xavier",
    "initialise",
    "token_loss",
]
