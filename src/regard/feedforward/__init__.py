"""What a layer does to each token alone: one feed-forward a file (`base.py` is their contract)."""

from regard.feedforward.base import ACTIVATIONS, Activation, FeedForward
from regard.feedforward.gated import Gated
from regard.feedforward.mlp import MLP

KINDS: dict[str, type[FeedForward]] = {
    "mlp": MLP,
    "gated": Gated,
}

__all__ = ["ACTIVATIONS", "KINDS", "MLP", "Activation", "FeedForward", "Gated"]
