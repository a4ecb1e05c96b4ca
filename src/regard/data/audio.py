"""Files of sound → samples: read by libsndfile, mixed to one channel, and brought to one rate.

    y[m] = Σ_n x[n] h(m·a/b − n)        h(τ) = c · sinc(c τ) · kaiser(τ / half)        c below 1 and b/a

A change of rate by b/a evaluates the sound between its samples: a sinc that passes nothing from half the lower rate on,
under a Kaiser window. `b` filters, one for each place that an output can have between two inputs, are all there are.

Source   Crochiere & Rabiner 1981, doi:10.1109/PROC.1981.11969 (several rates, polyphase filters); Kaiser 1974,
         "Nonrecursive digital filter design using the I0-sinh window function" (the window, and its width for a given
         damping).
Cost     128 products for each sample of the lower rate; memory for one block.
Differs  Sums are taken in float64 and in one order, so a sound in pieces gives the very samples of the whole.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from regard.data.formats import extra
from regard.settings import RegardError

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".au", ".opus")
"""Files that are taken for sound."""

LONGEST = 4 * 3600.0
"""Seconds that one file may last: a recording is held in memory as a whole (4 hours at 16 kHz are 0.9 GB)."""

RATES = range(1000, 384_001)
"""Samples a second that a file may have."""

BLOCK = 1 << 20
"""Frames that are read at once."""


class Sound(NamedTuple):
    """One channel of sound."""

    samples: np.ndarray
    """[n] float32, between −1 and 1."""
    rate: int
    """Samples a second."""

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


def read_sound(
    source: str | Path | bytes, rate: int | None = None, *, name: str | None = None, longest: float = LONGEST
) -> Sound:
    """A file of sound, or its bytes, as one channel (the mean of all), at `rate` where one is given.

    name: what messages call it. longest: seconds. Raises `RegardError` in one sentence for a file that is damaged,
    empty, longer than that, or holds what is no number.
    """
    name = name or (str(source) if not isinstance(source, bytes) else "this sound")
    soundfile = extra("soundfile", f"reading {name}", "speech")
    if isinstance(source, bytes):
        opened: io.BytesIO | str = io.BytesIO(source)
        _check_whole(source[:8], len(source), name)
    else:
        opened, path = str(source), Path(source)
        if not path.is_file():
            raise RegardError(f"there is no file {name}.")
        with open(path, "rb") as begin:
            _check_whole(begin.read(8), path.stat().st_size, name)
    try:
        with soundfile.SoundFile(opened) as file:
            own = file.samplerate
            if own not in RATES or file.channels > 64:
                raise RegardError(
                    f"{name} has {file.channels} channels of {own:,} samples a second: convert it to one of 16,000."
                )
            if file.frames > longest * own:
                raise RegardError(
                    f"{name} lasts {file.frames / own:,.0f} seconds, and at most {longest:,.0f} are read: cut it up."
                )
            resampler = Resampler(own, rate or own)
            parts, count = [], 0
            while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
                count += len(block)
                if count > longest * own:  # a header may say less
                    raise RegardError(f"{name} lasts more than {longest:,.0f} seconds: cut it up.")
                parts.append(resampler.feed(block[:, 0] if file.channels == 1 else block.mean(axis=1)))
            parts.append(resampler.flush())
            if count < file.frames:
                raise RegardError(f"{name} is damaged: it ends after {count:,} of {file.frames:,} samples.")
    except soundfile.LibsndfileError as error:
        raise RegardError(f"{name} is damaged or no sound: {error.error_string.rstrip('.')}.") from None
    samples = np.concatenate(parts)
    if not len(samples):
        raise RegardError(f"{name} is empty: it holds no samples.")
    if not np.isfinite(samples).all():
        raise RegardError(f"{name} is damaged: it holds samples that are no numbers.")
    return Sound(samples, rate or own)


def _check_whole(begin: bytes, size: int, name: str) -> None:
    """A wav says how long it is, which libsndfile passes by. (0 and 2³² − 1 say that its writer did not know.)"""
    told = int.from_bytes(begin[4:8], "little")
    if begin[:4] == b"RIFF" and 0 < told < 2**32 - 1 and told + 7 > size:  # a last byte of padding may be missing
        raise RegardError(f"{name} is damaged: it ends after {size:,} of {told + 8:,} bytes.")


def resample(samples: np.ndarray, before: int, after: int) -> np.ndarray:
    """[n] samples at the rate `before` → [⌈n · after / before⌉] at the rate `after`, float32."""
    return Resampler(before, after).all([samples])


class Resampler:
    """Changes the rate of a sound that comes in pieces: `feed` each, then `flush`.

    It passes what is below 0.91 of half the lower rate, and damps by 90 dB what the lower rate cannot hold.
    """

    HALF = 64
    """Zeros of the sinc on each side, at the lower rate."""
    DAMPING = 90.0
    """Decibels."""

    def __init__(self, before: int, after: int) -> None:
        if before < 1 or after < 1:
            raise RegardError(f"a rate is at least 1 sample a second, and {min(before, after)} was given.")
        common = math.gcd(before, after)
        self.up, self.down = after // common, before // common
        if self.up > 8000:
            raise RegardError(f"{before:,} samples a second cannot be made {after:,}: take rates with a common factor.")
        self.half = math.ceil(self.HALF * max(1.0, self.down / self.up))  # inputs that an output sees on each side
        self.filters = self._filters() if self.up != self.down else None
        self.waiting = np.zeros(self.half - 1)
        """Inputs that outputs to come still need; zeros stand before the first."""
        self.first = 1 - self.half
        """The number of the first of them."""
        self.made = 0
        self.taken = 0

    def _filters(self) -> np.ndarray:
        """[up, 2 · half] the weights of the inputs around an output, for each of its places between two inputs."""
        edge = (self.DAMPING - 8) / (2.285 * 2 * math.pi * 2 * self.HALF)  # half of what lies between pass and stop
        cutoff = min(1.0, self.up / self.down) * (1 - edge)
        beta = 0.1102 * (self.DAMPING - 8.7)
        place = np.arange(self.up)[:, None] / self.up
        distance = place - np.arange(1 - self.half, self.half + 1)
        window = np.i0(beta * np.sqrt(np.maximum(0.0, 1 - (distance / self.half) ** 2))) / np.i0(beta)
        filters = cutoff * np.sinc(cutoff * distance) * window
        return filters / filters.sum(axis=1, keepdims=True)  # a constant stays what it is

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """The samples [m] that can be told by now, float32."""
        self.taken += len(samples)
        if self.filters is None:
            return np.asarray(samples, dtype=np.float32)
        self.waiting = np.concatenate([self.waiting, samples])
        seen = self.first + len(self.waiting) - self.half  # outputs before this input have all they need
        return self._make((seen * self.up + self.down - 1) // self.down)

    def flush(self) -> np.ndarray:
        """The last samples, with silence behind the sound."""
        if self.filters is None:
            return np.zeros(0, dtype=np.float32)
        self.waiting = np.concatenate([self.waiting, np.zeros(self.half + 1)])
        return self._make((self.taken * self.up + self.down - 1) // self.down)

    def all(self, pieces: Iterable[np.ndarray]) -> np.ndarray:
        """Everything at once."""
        return np.concatenate([*map(self.feed, pieces), self.flush()])

    def _make(self, end: int) -> np.ndarray:
        """The outputs up to number `end`."""
        assert self.filters is not None
        parts = [np.zeros(0, dtype=np.float32)]
        if self.made < end:
            windows = np.lib.stride_tricks.sliding_window_view(self.waiting, 2 * self.half)
        while self.made < end:
            numbers = np.arange(self.made, min(end, self.made + (1 << 12)))
            whole, phase = numbers * self.down // self.up, numbers * self.down % self.up
            seen = windows[whole - self.half + 1 - self.first] * self.filters[phase]
            parts.append(seen.sum(axis=1).astype(np.float32))  # each row in the same order, be the pieces as they may
            self.made += len(numbers)
        needed = self.made * self.down // self.up - self.half + 1
        if needed > self.first:
            self.waiting = self.waiting[needed - self.first :]
            self.first = needed
        return np.concatenate(parts)
