"""Papers, each in a file that runs: what it claimed, the number it printed, and minutes on a CPU that check it.

A paper is one file, `NAME.py` (with _ for -), and one line in `PAPERS`. The docstring of its file is the lesson: the
claim in one sentence, then Source, Printed (the numbers with their conventions), Here (what is run) and Proxy (what is
cheaper here than there, and what that leaves open). Its one function, `reproduce(seed)`, measures and gives a
`Reproduction`. Nothing heavy is imported before a paper is run.
"""

from __future__ import annotations

from regard.papers.base import Check, Reproduction

__all__ = ["PAPERS", "Check", "Reproduction"]

PAPERS: dict[str, str] = {
    "schmidhuber1991": "Fast weights: one net writes the weights of another, and this is linear attention",
    "bahdanau2014": "Attention comes to translation: one vector is too small for a long sentence",
    "layernorm": "Layer normalization: why statistics of a batch fail on sentences of unequal length",
    "vaswani2017": "Attention is all you need: sizes, cost, √d_k and the learning rate",
    "parallelism": "What can run at once: an encoder, a decoder in training, and no RNN",
    "xiong2020": "Where the norm stands: why Post-LN needs a warm-up and Pre-LN none",
    "residual2023": "ResiDual: two residual streams, so that deep layers neither die nor collapse",
    "t5": "T5: a position is a number for each range of distance",
    "rope": "RoFormer: queries and keys turn, and their angle is the distance",
    "alibi": "ALiBi: train short, test long",
    "katharopoulos2020": "Transformers are RNNs: linear attention, and what a step of generation costs",
    "performer2020": "Performers: random features, orthogonal and positive",
    "schlag2021": "Linear Transformers are fast weight programmers: capacity, and the delta rule",
    "gpt-scaling": "Where the parameters are, GPT-3's table, and what Llama 2 70B cost",
}
"""Name → title, in the order of the story."""
