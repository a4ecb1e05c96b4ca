"""The numbers that a part needs to build its module, handed down from the model by its stack."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Sizes that parts of one layer share. All are resolved: nothing is None.

    `layer` counts from 0 within its stack of `depth` layers; `place` names the spot for taps (`decoder.3`). `causal`
    says that the stack is a decoder, `other_depth` how many layers the model's other stack has (0: it has none).
    """

    d_model: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_ff: int
    context_length: int
    dropout: float = 0.0
    layer: int = 0
    depth: int = 1
    other_depth: int = 0
    causal: bool = False
    place: str = ""
