"""Features against Whisper's own filters and extractor, and SpecAugment against its paper's rules."""

import numpy as np
import pytest
import torch

from regard.data.audio import read_sound
from regard.data.features import Features, LogMel, SpecAugment, mel_filters, warped
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


# — SpecAugment —


def ones(*lengths, mels=30):
    """Rows that have no two equal numbers, so that what is hidden shows."""
    frames = torch.zeros(len(lengths), max(lengths), mels)
    for row, length in enumerate(lengths):
        frames[row, :length] = torch.randn(length, mels)
    return Features(frames, torch.tensor(lengths))


def test_a_row_depends_on_seed_step_and_number_alone():
    augment, rows = SpecAugment(time_width=20, mel_width=8, warp=10), ones(80, 60, 70)
    together = augment(rows, 3, 5, [0, 1, 2]).frames
    alone = augment(Features(rows.frames[1:2, :60], rows.lengths[1:2]), 3, 5, [1]).frames
    assert torch.equal(together[1, :60], alone[0])
    same = Features(rows.frames[:1].expand(4, -1, -1), torch.tensor([80] * 4))
    drawn = [augment(same, 3, 5, [0, 1, 2, 3]).frames, augment(same, 3, 6, [0, 1, 2, 3]).frames]
    drawn.append(augment(same, 4, 5, [0, 1, 2, 3]).frames)
    every = torch.cat(drawn)
    assert len({tuple(one.flatten().tolist()) for one in every}) == 12
    assert torch.equal(rows.frames[0], same.frames[0])  # what was given stays


def test_masks_keep_to_the_papers_bounds():
    """Hidden are whole columns, at most m_F · F of them, and whole rows, each mask at most min(T, p τ)."""
    augment = SpecAugment(mel_masks=2, mel_width=5, time_masks=3, time_width=40, time_share=0.1)
    seen_mels, seen_times = set(), set()
    for step in range(60):
        before = ones(100, 50)
        after = augment(before, 0, step, [0, 1])
        for row, length in enumerate((100, 50)):
            changed = (after.frames[row] != before.frames[row])[:length]
            times, mels = changed.all(1).sum().item(), changed.all(0).sum().item()
            assert changed.sum() == length * 30 - (length - times) * (30 - mels)
            assert times <= 3 * 0.1 * length
            assert mels <= 2 * 5
            seen_times.add(times)
            seen_mels.add(mels)
            assert not after.frames[row, length:].any()
            hidden = after.frames[row][:length][changed]
            assert torch.allclose(hidden, before.frames[row, :length].mean().expand_as(hidden), atol=1e-6)
    assert max(seen_mels) >= 8
    assert max(seen_times) >= 20
    assert 0 in seen_mels


def test_nothing_is_hidden_where_nothing_is_asked():
    rows = ones(9, 1)
    plain = SpecAugment(mel_masks=0, time_masks=0)
    assert torch.equal(plain(rows, 0, 0, [0, 1]).frames, rows.frames)
    strong = SpecAugment(warp=80)(ones(1, 2, 3), 0, 0, [0, 1, 2])  # rows far shorter than what may be hidden
    assert torch.isfinite(strong.frames).all()


def test_a_warp_by_hand():
    x = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0]])
    assert warped(x, 2, 2).flatten().tolist() == [0, 1, 2, 3, 4]
    assert warped(x, 1, 2).flatten().tolist() == [0, 0.5, 1, 2.5, 4]
    assert warped(x, 3, 2).flatten().tolist() == [0, 1.5, 3, 3.5, 4]
    assert warped(x, 1, 0)[[0, -1]].flatten().tolist() == [0, 4]
    assert warped(x[:1], 0, 0).flatten().tolist() == [0]
