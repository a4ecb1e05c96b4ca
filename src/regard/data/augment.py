"""SpecAugment: features with parts hidden at random, so that a model leans on none of them. For training.

    time warp    the frame a moves to a + w, and the others evenly with it        w from −W to W
    mel masks    m_F times: mels f₀ … f₀ + f hidden                                f from 0 to F
    time masks   m_T times: frames t₀ … t₀ + t hidden                              t from 0 to min(T, p s)

Source   Park et al. 2019, arXiv:1904.08779, §2 and table 1.
Cost     a copy of the features.
Differs  The warp is piecewise linear. What is hidden takes the row's mean, which is the paper's 0 where features are
         normalised. A row's draws depend on the seed, the step and its number alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from regard.seeds import derive_seed
from regard.settings import Settings


class SpecAugment(Settings):
    """How much is hidden. The defaults are the paper's for LibriSpeech, "double", but for the warp."""

    mel_masks: int = Field(2, ge=0, le=100)
    mel_width: int = Field(27, ge=0)
    """F: mels that a mask hides at most."""
    time_masks: int = Field(2, ge=0, le=100)
    time_width: int = Field(100, ge=0)
    """T: frames that a mask hides at most."""
    time_share: float = Field(1.0, ge=0, le=1)
    """p: the share of a row's frames that a mask hides at most."""
    warp: int = Field(0, ge=0)
    """W: how far a frame near the middle may be moved in time, and all others with it; 0: none is. The paper has 80."""

    def __call__(
        self, frames: Float[Tensor, "b s f"], lengths: Int[Tensor, "b"], seed: int, step: int, rows: Sequence[int]
    ) -> Float[Tensor, "b s f"]:
        """The same for the same seed, step and number of the row; `rows` are the numbers of those given."""
        frames = frames.clone()
        for place, (row, length) in enumerate(zip(rows, lengths.tolist(), strict=True)):
            random = np.random.default_rng(derive_seed(seed, "augment", step, row))
            frames[place, :length] = self._one(frames[place, :length], random)
        return frames

    def _one(self, x: Float[Tensor, "s f"], random: np.random.Generator) -> Float[Tensor, "s f"]:
        length, mels = x.shape
        reach = min(self.warp, (length - 1) // 2)
        if reach:
            anchor = int(random.integers(reach, length - reach))
            x = warped(x, anchor, anchor + int(random.integers(-reach, reach, endpoint=True)))
        mean = x.mean()
        widest = min(self.time_width, int(self.time_share * length))
        for axis, count, most in ((1, self.mel_masks, min(self.mel_width, mels)), (0, self.time_masks, widest)):
            for _ in range(count):
                width = int(random.integers(0, most, endpoint=True))
                start = int(random.integers(0, x.shape[axis] - width, endpoint=True))
                x.narrow(axis, start, width).fill_(mean)
        return x


def warped(x: Float[Tensor, "s f"], before: int, after: int) -> Float[Tensor, "s f"]:
    """Frame `before` at the place `after`, the ends where they are, and the others evenly between."""
    last = len(x) - 1
    after = min(max(after, 0), last)
    places = np.interp(np.arange(last + 1), *_distinct([0, after, last], [0, before, last]))
    low = torch.from_numpy(places.astype(np.int64)).clamp(max=max(0, last - 1))
    share = torch.from_numpy(places).to(x.dtype)[:, None] - low[:, None]
    return torch.lerp(x[low], x[(low + 1).clamp(max=last)], share)


def _distinct(at: list[int], values: list[int]) -> tuple[list[int], list[int]]:
    """Without corners that stand where another one does."""
    kept = dict(zip(at, values, strict=True))
    kept[at[0]], kept[at[-1]] = values[0], values[-1]
    return list(kept), list(kept.values())
