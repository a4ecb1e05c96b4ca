"""What every layer is made of: sizes, linear maps, embeddings, norms, and the taps that let one look inside."""

from regard.layers.linear import Embedding, Linear
from regard.layers.norm import LayerNorm, Norm, RMSNorm
from regard.layers.sizes import Sizes
from regard.layers.tap import formulas, listening, tap, taps

__all__ = [
    "Embedding",
    "LayerNorm",
    "Linear",
    "Norm",
    "RMSNorm",
    "Sizes",
    "formulas",
    "listening",
    "tap",
    "taps",
]
