"""Ids to logits: the settings of a model, the parts of its layers, and the model itself."""

from regard.feedforward import MLP, FeedForward, Gated
from regard.heads import Head, LanguageHead
from regard.heads.ctc import CTC
from regard.heads.losses import Loss, token_loss
from regard.inputs import Input, TokenInput
from regard.model.base import AnyStack, Encoded, StackModule
from regard.model.cells import GRU, LSTM, Cell
from regard.model.config import ModelConfig, StackConfig
from regard.model.initialisation import Initialisation, Normal, Xavier, initialise
from regard.model.recurrent import RecurrentConfig, RecurrentStack
from regard.model.stack import Stack
from regard.model.transformer import Transformer
from regard.residual import PostNorm, PreNorm, Residual

__all__ = [
    "CTC",
    "GRU",
    "LSTM",
    "MLP",
    "AnyStack",
    "Cell",
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
    "RecurrentConfig",
    "RecurrentStack",
    "Residual",
    "Stack",
    "StackConfig",
    "StackModule",
    "TokenInput",
    "Transformer",
    "Xavier",
    "initialise",
    "token_loss",
]
