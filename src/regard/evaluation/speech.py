"""How well a model hears: what it writes for the recordings of a part, against what is said in them."""

from __future__ import annotations

import tomllib
from pathlib import Path

from regard.bundle import Model
from regard.data.kinds import Data
from regard.data.speech import SpeechData
from regard.evaluation.transcription import TranscriptionScores, transcription_scores
from regard.generation.beam import Beam
from regard.generation.transcribing import Transcriber
from regard.settings import RegardError


def evaluate_speech(
    ear: Transcriber,
    data: SpeechData,
    part: str = "test",
    beam: Beam | None = None,
    limit: int = 256,
    joint: float | None = None,
) -> TranscriptionScores:
    """Word and character error rates on a part of the data: `test`, `validation`, or `all` of them.

    Raises `RegardError` where the part is empty.
    """
    rate = ear.features.rate
    parts = data.read(rate)
    said = data.utterances({**parts, "all": [one for each in parts.values() for one in each]}, part, rate)
    if not said:
        raise RegardError(f"there are no recordings in the part {part!r}: name others with data.source.")
    heard = ear.transcribe([one.samples for one in said], beam, limit, joint)
    return transcription_scores([one.text for one in heard], [one.text for one in said])


def recordings_of(model: Model, source: tuple[str, ...] | None = None) -> SpeechData:
    """The recordings that a run was made of, or others, heard in the same way. Raises `RegardError`."""
    settings = (model.folder or Path()) / "run.toml"
    kept = SpeechData()
    if model.folder is not None and settings.is_file():
        found = Data.resolve(tomllib.loads(settings.read_text(encoding="utf-8")).get("data", {}))
        kept = found if isinstance(found, SpeechData) else kept
    data = kept if source is None else kept.replace(source=source)
    if not data.source:
        raise RegardError(f"{model.name} holds no recordings of its own: name some to evaluate on.")
    return data
