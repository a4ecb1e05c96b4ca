"""Performer (FAVOR+): softmax attention, estimated by random features and summed in linear time.

    exp(q · k / √e) ≈ φ(q) · φ(k)        with x ← x / e^¼, and ω_1 … ω_m drawn from N(0, 1) in e dimensions
    positive         φ(x) = exp(−|x|²/2) / √m · [exp(ω_i · x)]
    trigonometric    φ(x) = exp(+|x|²/2) / √m · [cos(ω_i · x), sin(ω_i · x)]

and then as in linear attention, y = φ(q)ᵀ Σ φ(k) vᵀ / φ(q)ᵀ Σ φ(k). Positive features err least where weights are
small, which is nearly everywhere. Orthogonal ω, e at a time, each as long as an independent one, err less than those.

Source   Choromanski et al. 2021, arXiv:2009.14794, §2.3, Lemma 1 (positive), eq. 5; §2.4 (orthogonal).
Cost     4 d² parameters with h = g and h e = d; 2 m e multiply-adds a token and head, as many for φ, and c (m + e) in a
         decoder's chunks of c tokens; a state of m (e + 1) numbers a head (2m for trigonometric).
Differs  Queries are scaled so that their largest feature is 1, which cancels; keys are not, for their largest would be
         looked up in the future. No small number is added to features. All heads share ω. `redraw` draws it anew every
         `redraw_every` steps of training (0: never), from the seed, the place and the number of the draw alone.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from regard.attention.recurrent import Summed, SummedModule
from regard.layers import Sizes
from regard.seeds import derive_seed

Draw = Literal["orthogonal", "independent"]


class Performer(Summed, kind="performer"):
    features: int = Field(256, ge=1)
    kernel: Literal["positive", "trigonometric"] = "positive"
    draw: Draw = "orthogonal"
    redraw_every: int = Field(1000, ge=0)

    def width(self, sizes: Sizes) -> int:
        return self.features * (2 if self.kernel == "trigonometric" else 1)

    def flops(self, sizes: Sizes, t: int, s: int) -> int:
        """The sums, and the features of queries and keys."""
        return super().flops(sizes, t, s) + 4 * t * sizes.n_heads * self.features * sizes.head_dim

    def build(self, sizes: Sizes) -> PerformerModule:
        return PerformerModule(self, sizes)


class PerformerModule(SummedModule):
    normalised = True
    omega: Float[Tensor, "m e"]

    def __init__(self, settings: Performer, sizes: Sizes) -> None:
        super().__init__(settings, sizes)
        self.kernel, self.draw, self.redraw_every = settings.kernel, settings.draw, settings.redraw_every
        self.register_buffer("omega", torch.empty(settings.features, sizes.head_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self._draw(0, 0)

    def redraw(self, seed: int, step: int) -> None:
        """New features where the step of training is one that asks for them."""
        if self.redraw_every and step % self.redraw_every == 0:
            self._draw(seed, step // self.redraw_every)

    def _draw(self, seed: int, number: int) -> None:
        m, e = self.omega.shape
        random = torch.Generator().manual_seed(derive_seed(seed, "features", self.place, number))
        self.omega.copy_(directions(m, e, self.draw, random))

    def features(self, x: Float[Tensor, "b g s e"]) -> Float[Tensor, "b g s m"]:
        x, along, half = self._seen(x)
        if self.kernel == "positive":
            return (along - half).exp() * self.omega.shape[0] ** -0.5
        return torch.cat([along.cos(), along.sin()], dim=-1) * half.exp() * self.omega.shape[0] ** -0.5

    def query_features(self, q: Float[Tensor, "b h t e"]) -> Float[Tensor, "b h t m"]:
        _, along, _ = self._seen(q)
        if self.kernel == "positive":
            return (along - along.amax(-1, keepdim=True)).exp()
        return torch.cat([along.cos(), along.sin()], dim=-1)

    def _seen(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x / e^¼, its products with all ω, and half its square."""
        x = x * x.shape[-1] ** -0.25
        return x, x @ self.omega.to(x.dtype).mT, x.square().sum(-1, keepdim=True) / 2


def directions(m: int, e: int, draw: Draw, random: torch.Generator) -> Float[Tensor, "m e"]:
    """m vectors of e numbers from N(0, 1); orthogonal: those of each block of e stand at right angles."""
    vectors = torch.randn(m, e, generator=random, dtype=torch.float64, device="cpu")
    if draw == "independent":
        return vectors
    blocks = torch.randn(-(-m // e), e, e, generator=random, dtype=torch.float64, device="cpu")
    turned, upper = torch.linalg.qr(blocks)
    turned = turned * upper.diagonal(dim1=-2, dim2=-1).sign()[:, None]  # every direction as likely as any other
    return turned.mT.reshape(-1, e)[:m] * vectors.norm(dim=-1, keepdim=True)
