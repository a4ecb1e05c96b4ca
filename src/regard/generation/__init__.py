"""Logits → ids → text: sampling, the engine, streaming, and the score of a text that is there already."""

from regard.generation.alignment import align, links, to_svg, to_text
from regard.generation.beam import Beam, Hypothesis, beam_search
from regard.generation.engine import Candidate, Generation, Overflow, Step, generate
from regard.generation.mask_predict import Refinement, mask_predict
from regard.generation.sampling import Sampling
from regard.generation.scoring import log_probabilities, windows
from regard.generation.streaming import Alternative, Piece, StopStrings, stream

__all__ = [
    "Alternative",
    "Beam",
    "Candidate",
    "Generation",
    "Hypothesis",
    "Overflow",
    "Piece",
    "Refinement",
    "Sampling",
    "Step",
    "StopStrings",
    "align",
    "beam_search",
    "generate",
    "links",
    "log_probabilities",
    "mask_predict",
    "stream",
    "to_svg",
    "to_text",
    "windows",
]
