"""Logits → ids → text: sampling, the engine, streaming, and the score of a text that is there already."""

from regard.generation.engine import Candidate, Generation, Overflow, Step, generate
from regard.generation.sampling import Sampling
from regard.generation.scoring import log_probabilities, windows
from regard.generation.streaming import Alternative, Piece, StopStrings, stream

__all__ = [
    "Alternative",
    "Candidate",
    "Generation",
    "Overflow",
    "Piece",
    "Sampling",
    "Step",
    "StopStrings",
    "generate",
    "log_probabilities",
    "stream",
    "windows",
]
