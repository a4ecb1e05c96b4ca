"""Linear attention: without the softmax, what all tokens said can be summed up once and read by each.

    y_t = φ(q_t)ᵀ S_t / φ(q_t)ᵀ z_t        S_t = Σ_{s ≤ t} φ(k_s) v_sᵀ        z_t = Σ_{s ≤ t} φ(k_s)

    φ(x) = elu(x) + 1

so that the weight of token s is φ(q_t) · φ(k_s), divided by the sum of all. An encoder sums over all s.

Source   Katharopoulos et al. 2020, arXiv:2006.16236, §3.2–3.4, eq. 4–12.
Cost     4 d² parameters with h = g and h e = d; 2 e² multiply-adds a token and head, and c · 2 e in a decoder's chunks
         of c tokens; a state of e (e + 1) numbers a head instead of a cache that grows.
Differs  No small number is added to the sum of weights: a token that may see nothing gets zeros. Positions may turn
         q and k before φ: all weights stay positive, but are no function of t − s alone. No dropout.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from regard.attention.recurrent import Summed, SummedModule
from regard.layers import Sizes


class LinearAttention(Summed, kind="linear"):
    def build(self, sizes: Sizes) -> LinearModule:
        return LinearModule(self, sizes)


class LinearModule(SummedModule):
    normalised = True

    def features(self, x: Float[Tensor, "b g s e"]) -> Float[Tensor, "b g s e"]:
        return elu1(x)


def elu1(x: Float[Tensor, "*b e"]) -> Float[Tensor, "*b e"]:
    """elu(x) + 1 > 0."""
    return F.elu(x).add_(1.0)
