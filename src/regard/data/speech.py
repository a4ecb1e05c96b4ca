"""Recordings → batches for an encoder–decoder: features in, text out.

    source    frames [b s f], of sounds brought to one rate
    inputs    begin y1 … yn
    targets   y1 … yn end

With `join`, recordings of single words become sentences: so many of one speaker, drawn at random, with silences between
them and a light noise over all. There is no end of them, and number n is a pure function of (seed, n).

Source   joined digits as a sequence task: TIDIGITS, Leonard 1984, doi:10.1109/ICASSP.1984.1172716, has them as spoken;
         other speeds: Ko et al. 2015, "Audio augmentation for speech recognition", §3 (0.9 to 1.1).
Cost     sounds lie in memory; their features are computed as a batch is made, in less time than its step takes.
Differs  A speed is drawn from a range, for each recording, and changed by linear interpolation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from pydantic import Field, model_validator

from regard.data.augment import SpecAugment
from regard.data.base import Data
from regard.data.batches import IGNORE, Batch, rows_of
from regard.data.pair_batches import padded
from regard.data.recordings import PARTS, Recording, read_recordings
from regard.features import LogMel
from regard.seeds import derive_seed
from regard.settings import RegardError, SettingsError, nearest
from regard.text import Tokenizer


class SpeechData(Data, kind="speech"):
    """Where recordings come from, and what is made of them. What a frame is, the model's input says.

    source, validation: folders, archives or lists (see `regard.data.recordings`).
    """

    join: tuple[int, int] | None = None
    """Join so many recordings of one speaker, from the one number to the other; none: each by itself."""
    silence_ms: tuple[float, float] = (20.0, 200.0)
    """Between joined recordings, before them and behind."""
    noise_db: tuple[float, float] = (-60.0, -30.0)
    """White noise over joined recordings, beside their own level."""
    speed: tuple[float, float] = (1.0, 1.0)
    """In training, how much faster a recording is played."""
    augment: SpecAugment | None = None
    """In training."""
    leave_out: str = ""
    """A speaker of whom nothing is learnt: all of theirs is the test."""
    evaluated: int = Field(300, ge=1)
    """Joined sentences in the validation part, and in the test."""
    longest: float = Field(60.0, gt=0, le=3600)
    """Seconds of a recording, at most."""

    @model_validator(mode="after")
    def _check(self) -> Any:
        for name in ("join", "silence_ms", "noise_db", "speed"):
            pair = getattr(self, name)
            if pair is not None and pair[0] > pair[1]:
                raise SettingsError(
                    f"{name} goes from the smaller to the larger number, not from {pair[0]} to {pair[1]}"
                )
        if self.join is not None and not 1 <= self.join[0] <= self.join[1] <= 1000:
            raise SettingsError(f"between 1 and 1000 recordings can be joined, not {self.join[0]} to {self.join[1]}")
        if not 0.5 <= self.speed[0] <= self.speed[1] <= 2 or not 0 <= self.silence_ms[0] <= self.silence_ms[1] <= 1e4:
            raise SettingsError("speed lies between 0.5 and 2, and silence_ms between 0 and 10,000")
        return self

    def read(self, rate: int) -> dict[str, list[Recording]]:
        """The recordings of each part. Raises `RegardError`."""
        if not self.source:
            raise RegardError("there are no recordings to read: name a folder, an archive or a list with --data.")
        every = [recording for source in self.source for recording in read_recordings(source, rate, self.longest)]
        if self.validation:
            apart = [one for source in self.validation for one in read_recordings(source, rate, self.longest)]
            every = [one._replace(part="train") if one.part == "validation" else one for one in every]
            every += [recording._replace(part="validation") for recording in apart]
        if self.leave_out:
            speakers = {recording.speaker for recording in every}
            if self.leave_out not in speakers:
                raise RegardError(f"no speaker is called {self.leave_out!r}{nearest(self.leave_out, speakers)}")
            mine = [recording for recording in every if recording.speaker == self.leave_out]
            every = [r for r in every if r.speaker != self.leave_out and r.part != "test"]
            every += [recording._replace(part="test") for recording in mine]
        return {part: [recording for recording in every if recording.part == part] for part in PARTS}

    def utterances(self, parts: dict[str, list[Recording]], part: str, rate: int) -> list[Utterance]:
        """What is evaluated of the validation or the test part: always the same."""
        if self.join is None or not parts[part]:
            return [Utterance(recording.samples, recording.text) for recording in parts[part]]
        joined = Joined(tuple(parts[part]), self.replace(speed=(1.0, 1.0)), rate, derive_seed(0, part))
        return [joined(number) for number in range(self.evaluated)]


class Utterance(NamedTuple):
    samples: np.ndarray
    """[n] float32."""
    text: str


class Utterances(Protocol):
    """What is learnt from: so many sounds, or no end of them, each by its number."""

    def of_step(self, step: int, count: int) -> list[int]:
        """The numbers of the `count` sounds of a step."""
        ...

    def __call__(self, number: int) -> Utterance: ...


@dataclass(frozen=True)
class Joined:
    """Recordings joined to sentences, without end. `group`: so many in a row have as many words, which makes batches
    that are hardly padded."""

    recordings: tuple[Recording, ...]
    data: SpeechData
    rate: int
    seed: int
    group: int = 1

    @cached_property
    def _by_speaker(self) -> list[list[list[Recording]]]:
        """Speakers → words → recordings, each in the order of their names."""
        found: dict[str, dict[str, list[Recording]]] = {}
        for recording in sorted(self.recordings, key=lambda recording: recording.name):
            found.setdefault(recording.speaker, {}).setdefault(recording.text, []).append(recording)
        return [[found[speaker][text] for text in sorted(found[speaker])] for speaker in sorted(found)]

    def of_step(self, step: int, count: int) -> list[int]:
        return list(range(step * count, (step + 1) * count))

    def __call__(self, number: int) -> Utterance:
        least, most = self.data.join or (1, 1)
        length = np.random.default_rng(derive_seed(self.seed, "words", number // self.group))
        random = np.random.default_rng(derive_seed(self.seed, "joined", number))
        words = self._by_speaker[random.integers(len(self._by_speaker))]
        pieces, texts = [self._silence(random)], []
        for _ in range(int(length.integers(least, most, endpoint=True))):
            recordings = words[random.integers(len(words))]
            recording = recordings[random.integers(len(recordings))]
            pieces += [played(recording.samples, random.uniform(*self.data.speed)), self._silence(random)]
            texts.append(recording.text)
        samples = np.concatenate(pieces)
        level = np.sqrt(np.mean(np.square(samples))) * 10 ** (random.uniform(*self.data.noise_db) / 20)
        samples = samples + random.standard_normal(len(samples), dtype=np.float32) * np.float32(level)
        return Utterance(samples, " ".join(texts))

    def _silence(self, random: np.random.Generator) -> np.ndarray:
        return np.zeros(int(random.uniform(*self.data.silence_ms) * self.rate / 1000), dtype=np.float32)


@dataclass(frozen=True)
class Separate:
    """Recordings by themselves: each once an epoch, in batches of about equal length."""

    recordings: tuple[Recording, ...]
    data: SpeechData
    seed: int

    POOL = 16
    """Batches that are drawn together, and sorted by length."""

    def of_step(self, step: int, count: int) -> list[int]:
        count = min(count, len(self.recordings))
        epoch, at = divmod(step, len(self.recordings) // count)
        order = np.random.default_rng(derive_seed(self.seed, "epoch", epoch)).permutation(len(self.recordings))
        pool, place = divmod(at, self.POOL)
        drawn = order[pool * self.POOL * count :][: self.POOL * count]
        drawn = drawn[: len(drawn) // count * count]
        by_length = sorted(drawn.tolist(), key=lambda number: len(self.recordings[number].samples))
        turn = np.random.default_rng(derive_seed(self.seed, "pool", epoch, pool)).permutation(len(drawn) // count)
        return by_length[turn[place] * count :][:count]

    def __call__(self, number: int) -> Utterance:
        return Utterance(self.recordings[number].samples, self.recordings[number].text)


def played(samples: np.ndarray, speed: float) -> np.ndarray:
    """The sound so much faster, and higher."""
    if speed == 1.0:
        return samples
    places = np.arange(0, len(samples) - 1, speed) if len(samples) > 1 else np.zeros(1)
    return np.interp(places, np.arange(len(samples)), samples).astype(np.float32)


def speech_batch(utterances: Sequence[Utterance], features: LogMel, tokenizer: Tokenizer) -> Batch:
    """The batch of these sounds. Raises `RegardError` where the tokenizer cannot end a text."""
    begin, end = tokenizer.opening, tokenizer.end
    if begin is None or end is None:
        raise RegardError("the tokenizer has no end token, so nothing would ever end: give it one.")
    frames, counts = features([utterance.samples for utterance in utterances])
    targets = [np.array(tokenizer.encode(utterance.text), dtype=np.int64) for utterance in utterances]
    lengths = torch.tensor([len(target) + 1 for target in targets])
    return Batch(
        padded([np.concatenate([[begin], target]) for target in targets], 0),
        padded([np.concatenate([target, [end]]) for target in targets], IGNORE),
        int(lengths.sum()),
        lengths=lengths,
        source=frames,
        source_lengths=counts,
    )


@dataclass(frozen=True)
class SpeechBatches:
    """Endless training batches; each is a pure function of (seed, step)."""

    utterances: Utterances
    features: LogMel
    tokenizer: Tokenizer
    batch_size: int
    augment: SpecAugment | None = None
    seed: int = 0
    accumulate: int = 1

    def at(self, step: int, micro: int = 0, rank: int = 0, world: int = 1) -> Batch:
        """The rows of micro-batch `micro` and of one of `world` ranks; together they are the step's batch."""
        numbers = self.utterances.of_step(step, self.batch_size)
        rows = rows_of(len(numbers), self.accumulate, micro, rank, world)
        batch = speech_batch([self.utterances(numbers[row]) for row in rows], self.features, self.tokenizer)
        if self.augment is None:
            return batch
        assert batch.source is not None
        assert batch.source_lengths is not None
        return replace(batch, source=self.augment(batch.source, batch.source_lengths, self.seed, step, rows))


@dataclass(frozen=True)
class EvaluationSpeech:
    """Sounds, each once, sorted by length so that little is padded."""

    utterances: Sequence[Utterance]
    features: LogMel
    tokenizer: Tokenizer
    batch_size: int = 32

    @cached_property
    def order(self) -> list[int]:
        """The numbers of the sounds, as batches have them."""
        return sorted(range(len(self.utterances)), key=lambda number: len(self.utterances[number].samples))

    def __len__(self) -> int:
        """Batches in all."""
        return -(-len(self.utterances) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return (self.at(index) for index in range(len(self)))

    def at(self, index: int) -> Batch:
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return speech_batch([self.utterances[row] for row in rows], self.features, self.tokenizer)
