"""Recordings → the words in them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from regard.data.recordings import Recording
from regard.data.speech import EvaluationSpeech, Joined, Separate, SpeechBatches, SpeechData, Utterances
from regard.features import LogMel
from regard.generation.transcribing import Transcriber
from regard.inputs import Audio
from regard.model import Transformer
from regard.settings import RegardError, SettingsError
from regard.store import TOKENIZER
from regard.text import Tokenizer
from regard.training.config import RunConfig
from regard.training.tasks.base import Given, Ready, Say, tokenizer_of, write_down


class SpeechTask:
    def prepare(self, config: RunConfig, folder: Path, given: Given, going_on: bool, say: Say) -> RunConfig:
        data, features = config.data, features_of(config)
        assert isinstance(data, SpeechData)
        parts = data.read(features.rate)
        if not parts["train"]:
            raise RegardError(f"{', '.join(data.source)} has no recordings to train on.")
        words = [recording.text for recording in parts["train"]]
        if data.join is not None:
            words.append(" ".join(words[:2]))  # the space between them
        tokenizer = tokenizer_of(
            config.tokenizer, given, folder / TOKENIZER, going_on, lambda: words, say, ", ".join(data.source)
        )
        config = config.replace(model=config.model.replace(vocab_size=tokenizer.vocab_size))
        write_down(config, folder, tokenizer)
        seconds = sum(len(recording.samples) for recording in parts["train"]) / features.rate
        say(
            f"{len(parts['train']):,} recordings to train on ({seconds / 60:.1f} minutes), "
            f"{len(parts['validation']):,} to validate, {len(parts['test']):,} to test; {tokenizer.vocab_size:,} in "
            "the vocabulary."
        )
        return config

    def open(self, config: RunConfig, folder: Path) -> Ready:
        training, data, features = config.training, config.data, features_of(config)
        assert isinstance(data, SpeechData)
        tokenizer, parts = Tokenizer.load(folder / TOKENIZER), data.read(features.rate)
        recordings, seed, size = tuple(parts["train"]), training.seed, training.batch_size
        utterances: Utterances = Separate(recordings, data, seed)
        described = f"{training.steps * size / len(recordings):.1f} times the recordings"
        if data.join is not None:
            utterances = Joined(recordings, data, features.rate, seed, group=size)
            described = f"each of {data.join[0]} to {data.join[1]} words"
        batches = SpeechBatches(utterances, features, tokenizer, size, data.augment, seed, training.accumulate)
        sounds = data.utterances(parts, "validation", features.rate)[: training.evaluate_windows]
        validation = EvaluationSpeech(sounds, features, tokenizer, size) if sounds else None

        def sample(model: Transformer, step: int) -> str:
            one = sounds[(step // max(1, training.evaluate_every)) % len(sounds)] if sounds else utterances(step)
            was = model.training
            [heard] = Transcriber(model, tokenizer).transcribe([one.samples], limit=training.sample_tokens or 1)
            model.train(was)
            return f"{heard.text}   ({one.text})"

        return Ready(
            tokenizer,
            batches,
            validation,
            f"{training.steps:,} steps of {size} sounds, {described}",
            sample,
            {"tokenizer": tokenizer.fingerprint, "recordings": fingerprint(parts["train"])},
        )


def features_of(config: RunConfig) -> LogMel:
    """How the model's encoder hears. Raises `SettingsError` where it does not."""
    source = config.model.source
    if not isinstance(source, Audio):
        raise SettingsError(
            "recordings are learnt by an encoder with an audio input and a decoder: take the recipe speech, or set "
            "model.source.kind=audio."
        )
    return source.features


def fingerprint(recordings: list[Recording]) -> str:
    """Of the recordings themselves."""
    digest = hashlib.sha256()
    for recording in recordings:
        digest.update(f"{recording.name}\0{recording.text}\0{recording.speaker}\0".encode())
        digest.update(recording.samples[:: max(1, len(recording.samples) // 64)].tobytes())
    return digest.hexdigest()[:32]
