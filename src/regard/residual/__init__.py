"""How a layer's steps join the residual stream, and where the norms stand: one placement a file (`base.py`)."""

from regard.residual.base import Residual, ResidualModule, Stream
from regard.residual.post import PostNorm
from regard.residual.pre import PreNorm

KINDS: dict[str, type[Residual]] = {
    "post": PostNorm,
    "pre": PreNorm,
}

__all__ = ["KINDS", "PostNorm", "PreNorm", "Residual", "ResidualModule", "Stream"]
