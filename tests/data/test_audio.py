"""Sound: tones keep their pitch and size, what a lower rate cannot hold goes, and pieces make the whole."""

import io
import struct
import wave

import numpy as np
import pytest

from regard.data.audio import Resampler, read_sound, resample
from regard.settings import RegardError
from tests.shared import shared

soundfile = pytest.importorskip("soundfile")

RATES = [(8000, 16000), (16000, 8000), (44100, 16000), (48000, 16000), (22050, 16000), (11025, 8000), (16000, 44100)]


def tone(frequency, rate, seconds=0.5, phase=0.3):
    return np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate + phase)


def level(samples):
    """Decibels of the root mean square beside that of a tone of size 1."""
    return 20 * np.log10(np.sqrt(np.mean(np.square(samples, dtype=np.float64)) * 2) + 1e-12)


@pytest.mark.parametrize(("before", "after"), RATES)
def test_a_tone_keeps_frequency_phase_and_size(before, after):
    for part in (0.01, 0.3, 0.9):
        frequency = part * min(before, after) / 2
        got, expected = resample(tone(frequency, before), before, after), tone(frequency, after)
        assert abs(len(got) - len(expected)) <= 1
        inside = slice(after // 20, -after // 20)  # the ends meet silence
        count = min(len(got), len(expected))
        assert np.abs(got[:count] - expected[:count])[inside].max() < 2e-4


@pytest.mark.parametrize(("before", "after"), [pair for pair in RATES if pair[0] > pair[1]])
def test_what_a_lower_rate_cannot_hold_is_damped(before, after):
    for frequency in (after / 2 + 10, 0.75 * after, 0.49 * before):
        if after / 2 < frequency < before / 2:
            got = resample(tone(frequency, before), before, after)
            assert level(got[after // 20 : -after // 20]) < -75


@pytest.mark.parametrize(("before", "after"), [pair for pair in RATES if pair[0] < pair[1]])
def test_a_higher_rate_adds_no_mirror_images(before, after):
    got = resample(tone(0.8 * before / 2, before), before, after).astype(np.float64)
    spectrum = np.abs(np.fft.rfft(got * np.blackman(len(got))))
    frequencies = np.fft.rfftfreq(len(got), 1 / after)
    assert spectrum[frequencies > 1.05 * before / 2].max() < 1e-4 * spectrum.max()


@pytest.mark.parametrize(("before", "after"), [*RATES, (16000, 16000)])
def test_pieces_make_the_very_samples_of_the_whole(before, after):
    random = np.random.default_rng(0)
    sound = random.standard_normal(5000).astype(np.float32)
    whole = resample(sound, before, after)
    assert len(whole) == -(-5000 * after // before)
    for cuts in ([1, 2, 3], [100, 4999], sorted(random.integers(0, 5000, 40)), range(0, 5000, 7)):
        assert np.array_equal(Resampler(before, after).all(np.split(sound, cuts)), whole)


def test_a_constant_stays_and_nothing_gives_nothing():
    flat = resample(np.full(4000, 0.25), 48000, 16000)
    assert flat[200:-200] == pytest.approx(0.25, abs=1e-7)
    assert len(resample(np.zeros(0), 48000, 16000)) == 0


def test_memory_of_a_stream_is_bounded():
    resampler = Resampler(44100, 16000)
    for _ in range(50):
        resampler.feed(np.zeros(10_000))
        assert len(resampler.waiting) < 10_000


def wav(samples, rate=8000, width=2, channels=1):
    """As Python's own library writes it."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples)
    return buffer.getvalue()


def test_numbers_of_a_wav_by_hand():
    samples, rate = read_sound(wav(struct.pack("<4h", 0, 16384, -32768, 1)))
    assert rate == 8000
    assert samples.dtype == np.float32
    assert samples.tolist() == [0.0, 0.5, -1.0, 2**-15]
    both = read_sound(wav(struct.pack("<4h", 16384, 0, -16384, -16384), channels=2))
    assert both.samples.tolist() == [0.25, -0.5]


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG"])
def test_formats_and_rates(format, tmp_path):
    path = tmp_path / f"tone.{format.lower()}"
    soundfile.write(path, 0.5 * tone(440, 44100), 44100, format=format)
    sound = read_sound(path, 16000)
    assert sound.rate == 16000
    assert sound.seconds == pytest.approx(0.5, abs=1e-4)
    inside = slice(800, -800)
    assert np.abs(sound.samples - 0.5 * tone(440, 16000))[inside].max() < (0.02 if format == "OGG" else 1e-4)
    assert np.array_equal(read_sound(path.read_bytes(), 16000).samples, sound.samples)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "damaged or no sound"),
        (b"These are words and no sound.", "damaged or no sound"),
        (wav(b""), "is empty"),
        (wav(bytes(8000))[:4000], "damaged"),
        (wav(bytes(20), rate=10), "channels of 10 samples"),
        (wav(bytes(16000 * 2)), "at most 1 are read"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(data, says, tmp_path):
    (tmp_path / "a.wav").write_bytes(data)
    for source in (data, tmp_path / "a.wav"):
        with pytest.raises(RegardError, match=says) as caught:
            read_sound(source, longest=1)
        assert "\n" not in str(caught.value)


def test_what_is_no_number_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0.0, np.nan, 0.1]), 8000, subtype="FLOAT")
    with pytest.raises(RegardError, match="no numbers"):
        read_sound(tmp_path / "a.wav")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RegardError, match="there is no file"):
        read_sound(tmp_path / "none.wav")


def test_a_published_recording():
    sound = read_sound(shared("data/whisper-test/jfk.flac"), 16000)
    assert sound.seconds == pytest.approx(11.0, abs=0.01)
    assert 0.2 < np.abs(sound.samples).max() <= 1
