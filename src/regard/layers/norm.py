"""Norms: bring the features of each token to a common size, so that depth does not blow them up.

    LayerNorm   y = (x − mean(x)) / √(var(x) + ε) · w + b         over the d features of one token
    RMSNorm     y = x / √(mean(x²) + ε) · w
    ScaleNorm   y = g · x / ‖x‖                                   one g for all features, √d at first
    DyT         y = tanh(α x) · w + b                             one α for all features; no statistics

Source   Ba, Kiros & Hinton 2016, arXiv:1607.06450, eq. 3–4; Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4;
         Nguyen & Salazar 2019, arXiv:1910.05895, §2.2; Zhu et al. 2025, arXiv:2503.10622, §4.
Cost     2d parameters (LayerNorm with bias), d (RMSNorm), 1 (ScaleNorm), 2d + 1 (DyT); O(d) per token.
Differs  RMSNorm(unit_offset=True) multiplies by 1 + w (Gemma) and starts at w = 0. Statistics are in float32.
         ScaleNorm takes ε for ‖x‖ where that is smaller. DyT(alpha=…) is the first α: 0.5 is the paper's for all but
         large language models, where it tunes α by width (its §7) and scales what is embedded by √d: a small stream
         stays small, so begin with `input.scale = "sqrt_d_model"`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from regard.settings import Part


class Norm(Part, family="regard.layers.norm"):
    """Which norm a layer uses."""

    def build(self, d: int) -> nn.Module:
        raise NotImplementedError


class LayerNorm(Norm, kind="layer"):
    eps: float = 1e-5
    bias: bool = True

    def build(self, d: int) -> LayerNormModule:
        return LayerNormModule(d, self.eps, self.bias)


class RMSNorm(Norm, kind="rms"):
    eps: float = 1e-5
    unit_offset: bool = False

    def build(self, d: int) -> RMSNormModule:
        return RMSNormModule(d, self.eps, self.unit_offset)


class ScaleNorm(Norm, kind="scale"):
    eps: float = 1e-5

    def build(self, d: int) -> ScaleNormModule:
        return ScaleNormModule(d, self.eps)


class DyT(Norm, kind="dyt"):
    alpha: float = Field(0.5, gt=0)

    def build(self, d: int) -> DyTModule:
        return DyTModule(d, self.alpha)


class LayerNormModule(nn.Module):
    def __init__(self, d: int, eps: float, bias: bool) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(d))
        self.bias = nn.Parameter(torch.empty(d)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)


class RMSNormModule(nn.Module):
    def __init__(self, d: int, eps: float, unit_offset: bool) -> None:
        super().__init__()
        self.eps = eps
        self.unit_offset = unit_offset
        self.weight = nn.Parameter(torch.empty(d))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight) if self.unit_offset else nn.init.ones_(self.weight)

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        weight = 1 + self.weight if self.unit_offset else self.weight
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        return F.rms_norm(wide, x.shape[-1:], weight.to(wide.dtype), self.eps).to(x.dtype)


class ScaleNormModule(nn.Module):
    def __init__(self, d: int, eps: float) -> None:
        super().__init__()
        self.d, self.eps = d, eps
        self.scale = nn.Parameter(torch.empty(1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.scale, self.d**0.5)

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        half = x.dtype in (torch.bfloat16, torch.float16)
        unit = F.normalize(x.float() if half else x, dim=-1, eps=self.eps)
        return (unit * self.scale).to(x.dtype)


class DyTModule(nn.Module):
    def __init__(self, d: int, alpha: float) -> None:
        super().__init__()
        self.start = alpha
        self.alpha = nn.Parameter(torch.empty(1))
        self.weight = nn.Parameter(torch.empty(d))
        self.bias = nn.Parameter(torch.empty(d))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.alpha, self.start)
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        return torch.tanh(self.alpha * x) * self.weight + self.bias
