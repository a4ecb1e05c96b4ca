"""What every layer is made of: sizes, linear maps, embeddings, norms, and the taps that let one look inside."""

from regard.layers.dropout import dropout
from regard.layers.linear import Embedding, Linear, Linears, Table
from regard.layers.norm import DyT, LayerNorm, Norm, RMSNorm, ScaleNorm
from regard.layers.sizes import Sizes
from regard.layers.tap import formulas, listening, tap, taps

__all__ = [
    "DyT",
    "Embedding",
    "LayerNorm",
    "Linear",
    "Linears",
    "Norm",
    "RMSNorm",
    "ScaleNorm",
    "Sizes",
    "Table",
    "dropout",
    "formulas",
    "listening",
    "tap",
    "taps",
]
