"""Build, train, run, serve and see every Transformer.

    import regard as rg

    run = rg.train("gpt", data="tales.txt", steps=2_000, out="runs/tales")
    lm = rg.load("runs/tales")
    for piece in lm.stream("Once upon a time"):
        print(piece.text, end="")

The names below are imported when they are first used, so that `import regard` costs nothing.
"""

# ruff: noqa: F401 — the imports below are for type checkers
from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from regard.attention import Dot
    from regard.bundle import Model, load
    from regard.evaluation import evaluate
    from regard.generation import Beam, Piece, Sampling, generate
    from regard.layers import LayerNorm, RMSNorm
    from regard.model import MLP, Gated, ModelConfig, RecurrentConfig, StackConfig, Transformer
    from regard.model.presets import preset
    from regard.positions import Learned, NoPosition, Rotary, Sinusoidal
    from regard.settings import RegardError
    from regard.store import save_model
    from regard.text import Tokenizer
    from regard.training import RunConfig, train

# Where each public name lives, in the order in which a newcomer meets them.
_HOMES = {
    "train": "regard.training",
    "load": "regard.bundle",
    "Model": "regard.bundle",
    "Piece": "regard.generation",
    "evaluate": "regard.evaluation",
    "Tokenizer": "regard.text",
    "Sampling": "regard.generation",
    "Beam": "regard.generation",
    "generate": "regard.generation",
    "RunConfig": "regard.training",
    "ModelConfig": "regard.model",
    "StackConfig": "regard.model",
    "RecurrentConfig": "regard.model",
    "preset": "regard.model.presets",
    "Transformer": "regard.model",
    "Dot": "regard.attention",
    "Learned": "regard.positions",
    "NoPosition": "regard.positions",
    "Rotary": "regard.positions",
    "Sinusoidal": "regard.positions",
    "MLP": "regard.model",
    "Gated": "regard.model",
    "LayerNorm": "regard.layers",
    "RMSNorm": "regard.layers",
    "save_model": "regard.store",
    "RegardError": "regard.settings",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'regard' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
