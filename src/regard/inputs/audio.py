"""Audio input: convolutions over frames of sound, which also shorten their row, make the vectors that an encoder reads.

    x⁰     = frames [s f]
    x^i_t  = GELU(W^i [x^{i−1}_{t·r−p} … x^{i−1}_{t·r+k−1−p}] + b^i)        k frames, every r-th;  p = (k − 1) // 2
    s'     = ⌈s / (r₁ r₂ …)⌉                                               vectors of s frames

Frames past a row's end count as zeros before each convolution, so padding changes nothing. With `strides = ()` a frame
is mapped by one matrix and keeps its place: what a recurrent stack reads.

Source   Radford et al. 2022, arXiv:2212.04356, §2.2: two convolutions of width 3, the second with stride 2, and GELU
         (the defaults). Dong, Xu & Xu 2018, doi:10.1109/ICASSP.2018.8462506, §3: convolutions with stride 2 in front
         of a speech Transformer, four frames to a vector (`strides = (2, 2)`).
Cost     k f d + (n − 1) k d² parameters for n convolutions; the first costs 2 k f d operations for each of its vectors.
Differs  A convolution is a linear map of k neighbouring frames, written as one. The speech Transformer's convolutions
         run over time and frequency, 3 × 3; these run over time, with all frequencies as channels.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from regard.features import LogMel
from regard.inputs.base import Input
from regard.layers import Linear, Sizes, Table, tap
from regard.settings import SettingsError


class Audio(Input, kind="audio"):
    reads: ClassVar = "features"

    features: LogMel = LogMel()
    """What a frame is, and how sound becomes frames."""
    strides: tuple[int, ...] = (1, 2)
    """Of each convolution."""
    kernel: int = Field(3, ge=1, le=2**10)
    """Frames that a convolution sees at once."""

    @model_validator(mode="after")
    def _check(self) -> Any:
        if self.segments:
            raise SettingsError("sound has no segments: leave them out of an audio input")
        if len(self.strides) > 16 or not all(1 <= stride <= self.kernel for stride in self.strides):
            raise SettingsError(
                f"strides {self.strides} would leave frames out: give at most 16, each from 1 to the kernel's "
                f"{self.kernel}"
            )
        return self

    def table(self, vocab_size: int, sizes: Sizes) -> Table:
        return Heard()

    def front(self, sizes: Sizes) -> Convolutions:
        return Convolutions(self, sizes)


class Heard(Table):
    """Sound has no words and so no table: what the convolutions made are the vectors."""

    def forward(self, ids: Float[Tensor, "b s d"]) -> Float[Tensor, "b s d"]:
        return ids


class Convolutions(nn.Module):
    def __init__(self, settings: Audio, sizes: Sizes) -> None:
        super().__init__()
        self.strides, self.kernel, self.place = settings.strides, settings.kernel, sizes.place
        widths = [settings.features.n_mels] + [sizes.d_model] * len(settings.strides)
        self.layers = nn.ModuleList(Linear(settings.kernel * width, sizes.d_model) for width in widths[:-1])
        self.plain = None if settings.strides else Linear(settings.features.n_mels, sizes.d_model)

    def forward(
        self, frames: Float[Tensor, "b s f"], lengths: Int[Tensor, "b"] | None
    ) -> tuple[Float[Tensor, "b t d"], Int[Tensor, "b"] | None]:
        """The vectors of each row, and how many are real."""
        if self.plain is not None:
            return self.plain(frames.to(self.plain.matrix().dtype)), lengths
        x = frames
        for number, (layer, stride) in enumerate(zip(self.layers, self.strides, strict=True)):
            assert isinstance(layer, Linear)
            x = x.to(layer.matrix().dtype)
            if lengths is not None:
                real = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
                x = x.masked_fill(~real[..., None], 0.0)
                lengths = shortened(lengths, stride)
            x = tap(self.place, f"front.{number}", F.gelu(layer(neighbours(x, self.kernel, stride))))
        return x, lengths


def neighbours(x: Float[Tensor, "b s f"], kernel: int, stride: int) -> Float[Tensor, "b t k"]:
    """Every `stride`-th frame with those around it, side by side; zeros stand around the row."""
    count = shortened(x.shape[1], stride)
    before = (kernel - 1) // 2
    after = max(0, (count - 1) * stride + kernel - before - x.shape[1])
    x = F.pad(x, (0, 0, before, after))
    return torch.cat([x[:, i : i + (count - 1) * stride + 1 : stride] for i in range(kernel)], dim=-1)


def shortened(length: Any, stride: int) -> Any:
    """How many vectors a convolution makes of so many frames."""
    return (length + stride - 1) // stride
