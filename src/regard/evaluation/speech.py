"""How well a model hears: what it writes for the recordings of a part, against what is said in them."""

from __future__ import annotations

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
    """Word and character error rates on a part of the data: `test`, or `validation`.

    Raises `RegardError` where the part is empty.
    """
    rate = ear.features.rate
    said = data.utterances(data.read(rate), part, rate)
    if not said:
        raise RegardError(f"there are no recordings in the part {part!r}: name others with data.source.")
    heard = ear.transcribe([one.samples for one in said], beam, limit, joint)
    return transcription_scores([one.text for one in heard], [one.text for one in said])
