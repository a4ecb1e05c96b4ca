"""The Transformer's sizes, its cost and the two formulas it trains by follow from a handful of numbers.

    table 3    N = V d + 6 (12 d² + …)                          one vocabulary of V pieces for source, target and head
    cost       FLOPs = seconds × GPUs × sustained FLOP/s         table 2
    scores     Var(q · k) = d_k for q, k of variance 1           §3.2.1, footnote 4
    rate       d^(−1/2) · min(n^(−1/2), n · 4000^(−3/2))         eq. 3

Source   Vaswani et al. 2017, arXiv:1706.03762, tables 2 and 3, §3.2.1, §5.3.
Printed  65 M parameters (base), 213 M (big); 3.3e18 and 2.3e19 FLOPs.
Here     soon.
Proxy    soon.
"""

from __future__ import annotations

from regard.papers.base import Reproduction


def reproduce(seed: int = 0) -> Reproduction:
    raise NotImplementedError
