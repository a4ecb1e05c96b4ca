"""Length: how many words the output will have, said before the first of them is written.

    score(n) = a_n · m + r_{n − s} · m        m: the mean of the encoder's s vectors
    p(n)     = softmax of the scores of n = 1 … limit

Source   Ghazvininejad et al. 2019, arXiv:1904.09324, §2.3.
Cost     about 3 d parameters for each length up to the limit, and as many multiply-adds a sentence.
Differs  The paper puts a LENGTH token before the source and reads p(n) off its vector. The mean needs no token, so it
         stands on any encoder, also one that reads sound; what a mean cannot count, s, enters through r, a score for
         how much longer than the source the output is. A length counts for as much as `weight` words in training.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attention import Mask, View
from regard.heads.losses import IGNORED, Loss
from regard.layers import Linear
from regard.settings import Settings


class Length(Settings):
    """A network that says how long the output will be, as decoding in parallel asks for."""

    limit: int | None = Field(None, ge=1, le=2**16)
    """The longest output; None: as long as the decoder's context. What is longer counts as this."""
    weight: float = Field(1.0, gt=0)
    """How many words a length counts for in the objective."""


class LengthHead(nn.Module):
    def __init__(self, settings: Length, context_length: int, d_model: int) -> None:
        super().__init__()
        self.limit, self.weight = settings.limit or context_length, settings.weight
        self.itself = Linear(d_model, self.limit)
        self.beyond = Linear(d_model, 2 * self.limit + 1, bias=False)

    def forward(self, x: Float[Tensor, "b s d"], mask: Mask | None = None) -> Float[Tensor, "b n"]:
        """A score for each length of the output, 1 … limit, from an encoder's output and who of it is real."""
        slots = torch.arange(x.shape[1], device=x.device)[None]
        real = View(mask or Mask(), slots[:, :1], slots).real()
        if real is None:
            real = torch.ones_like(slots, dtype=torch.bool)
        s = real.sum(1, keepdim=True)
        mean = torch.einsum("bsd,bs->bd", x, real.to(x.dtype).expand(len(x), -1)) / s.clamp_min(1)
        n = torch.arange(1, self.limit + 1, device=x.device)
        beyond = (n - s).clamp(-self.limit, self.limit).expand(len(x), -1) + self.limit
        return self.itself(mean) + self.beyond(mean).gather(1, beyond)

    def joined(self, loss: Loss, x: Float[Tensor, "b s d"], mask: Mask, lengths: Int[Tensor, "b"] | None) -> Loss:
        """The decoder's loss with the length's in its objective.

        `lengths`: how many words the decoder's rows have; None: all are full. None at all is no length to learn.
        """
        scores = self(x, mask)
        if lengths is None:
            lengths = torch.full_like(loss.nll[:, 0], loss.nll.shape[1], dtype=torch.long)
        scores = scores if scores.dtype == torch.float64 else scores.float()
        targets = torch.where(lengths > 0, lengths.clamp_max(self.limit) - 1, IGNORED)
        nats = F.cross_entropy(scores, targets, ignore_index=IGNORED, reduction="sum")
        return loss._replace(objective=loss.objective + self.weight * nats)
