"""Features against Whisper's own filters and extractor."""

import numpy as np
import pytest
import torch

from regard.data.audio import read_sound
from regard.features import LogMel, mel_filters
from regard.settings import RegardError, SettingsError
from tests.shared import shared

DIGITS = LogMel(rate=8000, n_mels=40, normalise="utterance")


def tone(frequency, rate=16000, seconds=1.0):
    return np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate).astype(np.float32)


def test_filters_are_the_published_ones():
    published = np.load(shared("data/whisper-test/mel_filters.npz"))
    for n_mels in (80, 128):
        assert np.abs(mel_filters(16000, 400, n_mels) - published[f"mel_{n_mels}"]).max() < 1e-6


def test_corners_of_the_scale_by_hand():
    """Slaney's: 1000 Hz is 15 mels and 6400 Hz is 42, so 41 filters up to 6400 Hz have their peaks at whole mels."""
    filters = mel_filters(12800, 12800, 41)  # a bin a hertz
    assert filters.shape == (41, 6401)
    peaks = filters.argmax(axis=1)
    assert peaks[14] == 1000
    assert peaks[:14].tolist() == [round(200 / 3 * mel) for mel in range(1, 15)]
    assert peaks[40] == round(6400 / 6.4 ** (1 / 27))
    assert filters.sum(axis=1) == pytest.approx(1.0, abs=2e-3)  # the area of each


@pytest.fixture(scope="module")
def theirs():
    transformers = pytest.importorskip("transformers")
    extractor = transformers.WhisperFeatureExtractor()
    return lambda sound: extractor(sound, sampling_rate=16000, return_tensors="pt").input_features[0].T


def whisper(sound):
    """Thirty seconds, as Whisper hears everything."""
    return LogMel()([np.pad(sound, (0, 480_000 - len(sound)))]).frames[0]


@pytest.mark.parametrize("frequency", [100, 440, 3000, 7900])
def test_tones_as_whisper_hears_them(theirs, frequency):
    sound = tone(frequency) * 0.3 + np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 0.01
    assert (whisper(sound) - theirs(sound)).abs().max() < 2e-4


def test_speech_as_whisper_hears_it(theirs):
    sound = read_sound(shared("data/whisper-test/jfk.flac"), 16000).samples
    assert (whisper(sound) - theirs(sound)).abs().max() < 2e-4


@pytest.mark.parametrize("normalise", ["whisper", "utterance", "none"])
def test_a_batch_gives_what_its_rows_give_alone(normalise):
    settings, random = DIGITS.replace(normalise=normalise), np.random.default_rng(0)
    sounds = [random.standard_normal(n).astype(np.float32) for n in (4000, 1, 79, 81, 2399, 700)]
    frames, lengths = settings(sounds)
    assert lengths.tolist() == [50, 1, 1, 1, 29, 8]
    assert frames.shape == (6, 50, 40)
    assert torch.isfinite(frames).all()
    for row, sound in enumerate(sounds):
        alone = settings([sound]).frames[0]
        assert torch.equal(frames[row, : lengths[row]], alone)
        assert not frames[row, lengths[row] :].any()


def test_a_row_is_normalised_by_itself():
    random = np.random.default_rng(0)
    frames = DIGITS([random.standard_normal(8000).astype(np.float32) * 0.01]).frames[0]
    assert frames.mean(0).abs().max() < 1e-4
    assert frames.std(0, correction=0) == pytest.approx(torch.ones(40), abs=1e-3)
    loud = DIGITS([random.standard_normal(8000).astype(np.float32)]).frames[0]
    assert loud.abs().max() < 12
    assert not DIGITS([np.zeros(800, np.float32)]).frames.any()  # silence has no deviation


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_a_tone_is_loudest_in_its_mel_and_a_click_in_its_frame(rate):
    settings = LogMel(rate=rate, n_mels=40, normalise="none")
    frames = settings([tone(1000, rate)]).frames[0]
    filters = mel_filters(rate, settings.window, 40)
    bins = np.arange(filters.shape[1]) * rate / settings.window
    loudest = bins[filters[frames[50].argmax()].argmax()]
    assert abs(loudest - 1000) < 100
    assert len(frames) == 100
    click = np.zeros(rate, np.float32)
    click[rate // 2] = 1
    assert settings([click]).frames[0].sum(1).argmax() == 50


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rate": 8000, "n_mels": 128}, "take fewer mels"),
        ({"hop_ms": 30.0}, "would leave sound out"),
        ({"hop_ms": 0.01}, "at least a sample"),
    ],
)
def test_settings_that_are_refused(changes, says):
    with pytest.raises(SettingsError, match=says):
        LogMel(**changes)


def test_no_sound_has_no_features():
    for sounds in ([], [np.zeros(5, np.float32), np.zeros(0, np.float32)]):
        with pytest.raises(RegardError, match="without samples"):
            DIGITS(sounds)
