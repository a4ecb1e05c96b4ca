"""Dropout: in training a part p of all numbers is set to 0, and the others are multiplied by 1 / (1 − p).

Source   Srivastava et al. 2014, jmlr.org/papers/v15/srivastava14a.html, §4 and §10 (scaled in training).
Cost     torch's own draws one number after the other, 6 ns each on a CPU: an eighth of a small model's step. Here four
         draws of 16 bits come from one of 64, which takes a third of the time; compiled code and other devices have
         fast draws of their own.
Differs  p is rounded to a multiple of 2⁻¹⁶, and the factor is that of the p which is used.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def dropout(x: Float[Tensor, "*b"], p: float, training: bool) -> Float[Tensor, "*b"]:
    """x, in training with a part p of it set to 0."""
    if not training or p == 0.0:
        return x
    if torch.compiler.is_compiling() or x.device.type != "cpu":
        return F.dropout(x, p)
    return x * kept(x, p)


def kept(x: Float[Tensor, "*b"], p: float) -> Float[Tensor, "*b"]:
    """For each number of x: 0 with probability p, else 1 / (1 − p)."""
    least = min(round(p * 2**16), 2**16 - 1)
    bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    some = bits[: x.numel()].view(x.shape).float().ge_(least - 2**15)
    return some.mul_(2**16 / (2**16 - least)).to(x.dtype)
