"""Samples → features: how loud each pitch is, every hundredth of a second, on scales that follow the ear.

    power[t, k] = |FFT(window · x[t·hop …])_k|²        the sound reflected at both ends; frame t is centred at t · hop
    mel[t, i]   = Σ_k filter[i, k] power[t, k]          triangles of equal area, on Slaney's mel scale
    whisper     = (max(log₁₀ mel, max − 8) + 4) / 4
    utterance   = (ln mel − mean) / deviation           of each mel over the frames of the row

Source   Slaney 1998, "Auditory Toolbox", Interval technical report 1998-010 (the scale: 200/3 Hz a mel up to 1000 Hz,
         then a factor of 6.4 in 27 mels); Radford et al. 2022, arXiv:2212.04356, §2.2 and its code (the window, the
         floor of 10⁻¹⁰, `whisper`).
Cost     an FFT of one window for each frame: 100 s of sound take a fraction of a second.
Differs  Each row is computed by itself, so a batch gives what rows give alone; Whisper pads to 30 seconds first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from regard.settings import RegardError, Settings, SettingsError

FLOOR = 1e-10
"""The least power of a mel; silence has it."""

BLOCK = 4096
"""Frames that are transformed at once."""


class Features(NamedTuple):
    """Rows of frames, padded with zeros."""

    frames: Float[Tensor, "b s f"]
    lengths: Int[Tensor, "b"]
    """Real frames of each row."""


class LogMel(Settings):
    """How sound becomes features. The defaults are Whisper's."""

    rate: int = Field(16_000, ge=1000, le=384_000)
    """Samples a second; recordings are brought to it."""
    n_mels: int = Field(80, ge=1, le=512)
    window_ms: float = Field(25.0, gt=0, le=1000)
    hop_ms: float = Field(10.0, gt=0, le=1000)
    normalise: Literal["whisper", "utterance", "none"] = "whisper"
    """none: ln mel."""

    @property
    def window(self) -> int:
        """Samples of a window."""
        return round(self.rate * self.window_ms / 1000)

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return round(self.rate * self.hop_ms / 1000)

    @property
    def frames_per_second(self) -> float:
        return self.rate / self.hop

    @model_validator(mode="after")
    def _check(self) -> Any:
        if not 1 <= self.hop <= self.window:
            raise SettingsError(
                f"a hop of {self.hop_ms:g} ms and a window of {self.window_ms:g} ms would leave sound out: let the "
                "hop be no longer than the window, and at least a sample"
            )
        if not mel_filters(self.rate, self.window, self.n_mels).any(axis=1).all():
            raise SettingsError(
                f"{self.n_mels} mels are more than windows of {self.window_ms:g} ms can tell apart at {self.rate:,} "
                "samples a second: take fewer mels or longer windows"
            )
        return self

    def __call__(self, sounds: Sequence[np.ndarray]) -> Features:
        """Features of sounds, each [n] float32 at `rate`: n // hop frames each, and one at least.

        Raises `RegardError` for a sound without samples.
        """
        if not sounds or not all(len(sound) for sound in sounds):
            raise RegardError("a sound without samples has no features.")
        counts = [max(1, len(sound) // self.hop) for sound in sounds]
        frames = torch.zeros(len(sounds), max(counts), self.n_mels)
        for row, (sound, count) in enumerate(zip(sounds, counts, strict=True)):
            frames[row, :count] = self._normalised(self._mel(sound, count))
        return Features(frames, torch.tensor(counts))

    def _mel(self, sound: np.ndarray, count: int) -> Float[Tensor, "s f"]:
        """The power of each mel, of `count` frames."""
        half = self.window // 2
        x = torch.from_numpy(np.pad(np.asarray(sound, dtype=np.float32), half, mode="reflect"))
        x = torch.cat([x, x.new_zeros(max(0, (count - 1) * self.hop + self.window - len(x)))])
        windows = x.unfold(0, self.window, self.hop)[:count]
        shape, filters = torch.hann_window(self.window), _filters(self.rate, self.window, self.n_mels)
        spectra = (torch.view_as_real(torch.fft.rfft(part * shape)) for part in windows.split(BLOCK))
        return torch.cat([part.square().sum(-1) @ filters.T for part in spectra]).clamp_min(FLOOR)

    def _normalised(self, mel: Float[Tensor, "s f"]) -> Float[Tensor, "s f"]:
        if self.normalise == "whisper":
            x = mel.log10()
            return (torch.maximum(x, x.max() - 8) + 4) / 4
        x = mel.log()
        if self.normalise == "utterance":
            x = (x - x.mean(0)) / x.std(0, correction=0).clamp_min(1e-5)
        return x


@lru_cache(maxsize=16)
def mel_filters(rate: int, window: int, n_mels: int) -> np.ndarray:
    """[n_mels, window // 2 + 1] float64: triangles whose corners stand evenly on Slaney's scale, each of area 1."""
    corners = _hertz(np.linspace(0.0, _mel(rate / 2), n_mels + 2))
    bins = np.arange(window // 2 + 1) * rate / window
    low, middle, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return np.maximum(0.0, np.minimum(rising, falling)) * 2 / (high - low)


@lru_cache(maxsize=16)
def _filters(rate: int, window: int, n_mels: int) -> Tensor:
    return torch.from_numpy(mel_filters(rate, window, n_mels)).float()


STEP = math.log(6.4) / 27
"""ln of the factor from one mel to the next, above 1000 Hz."""


def _mel(hertz: float) -> float:
    return 3 * hertz / 200 if hertz < 1000 else 15 + math.log(hertz / 1000) / STEP


def _hertz(mels: np.ndarray) -> np.ndarray:
    return np.where(mels < 15, mels * 200 / 3, 1000 * np.exp(STEP * (mels - 15)))
