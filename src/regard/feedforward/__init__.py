"""What a layer does to each token alone: one feed-forward a file (`base.py` is their contract). A line is a kind."""

from regard.feedforward.base import ACTIVATIONS as ACTIVATIONS
from regard.feedforward.base import Activation as Activation
from regard.feedforward.base import FeedForward as FeedForward
from regard.feedforward.mlp import MLP as MLP
from regard.feedforward.gated import Gated as Gated
from regard.feedforward.experts import Experts as Experts
