"""Recordings from every kind of place, and the batches that are made of them."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch

from regard.data import recordings
from regard.data.augment import SpecAugment
from regard.data.base import Data
from regard.data.batches import IGNORE
from regard.data.recordings import Recording, read_recordings
from regard.data.speech import EvaluationSpeech, Joined, Separate, SpeechBatches, SpeechData, Utterance, played
from regard.features import LogMel
from regard.settings import RegardError, SettingsError
from regard.text import Tokenizer
from tests.shared import shared

soundfile = pytest.importorskip("soundfile")

RATE = 8000
FEATURES = LogMel(rate=RATE, n_mels=20, normalise="utterance")


def tone(frequency, seconds=0.1):
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(int(RATE * seconds)) / RATE)).astype(np.float32)


def wav(samples):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def pitch(samples):
    return np.abs(np.fft.rfft(samples, RATE)).argmax()


LIST = "path\ttext\tspeaker\tpart\nsub/a.wav\tone two\tann\ttrain\nb.flac\tthree\tbob\ttest\n"


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "set"
    (place / "sub").mkdir(parents=True)
    (place / "sub" / "a.wav").write_bytes(wav(tone(440)))
    soundfile.write(place / "b.flac", tone(880), RATE)
    (place / "list.tsv").write_text(LIST, encoding="utf-8")
    return place


def archive(path, files):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return str(path)


def same(found):
    assert [(r.text, r.speaker, r.part) for r in found] == [("three", "bob", "test"), ("one two", "ann", "train")]
    assert [pitch(r.samples) for r in found] == [880, 440]


def test_a_folder_a_list_and_an_archive_hold_the_same(folder, tmp_path):
    same(read_recordings(str(folder), RATE))
    same(read_recordings(str(folder / "list.tsv"), RATE))
    files = {f"set/{name}": (folder / name).read_bytes() for name in ("b.flac", "sub/a.wav", "list.tsv")}
    same(read_recordings(archive(tmp_path / "a.tar.gz", files), RATE))
    rows = [
        {"audio_filepath": "sub/a.wav", "text": "one two", "speaker": "ann", "part": "train"},
        {"audio_filepath": "b.flac", "text": "three", "speaker": "bob", "part": "test"},
    ]
    (folder / "list.tsv").unlink()
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    same(read_recordings(str(folder), RATE))


def test_digits_have_the_published_parts(tmp_path):
    files = {f"x/recordings/7_ann_{n}.wav": wav(tone(100 * (n + 1))) for n in range(9)}
    found = read_recordings(archive(tmp_path / "d.tar.gz", files), RATE)
    assert [r.part for r in found] == ["test"] * 5 + ["validation"] * 2 + ["train"] * 2
    assert {(r.text, r.speaker) for r in found} == {("7", "ann")}
    assert [pitch(r.samples) for r in found] == [100 * (n + 1) for n in range(9)]


def test_an_archive_writes_nothing_and_follows_nothing(tmp_path, monkeypatch):
    path = tmp_path / "bad.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name in ("../1_ann_7.wav", "/etc/2_ann_7.wav", "3_ann_7.wav"):
            member = tarfile.TarInfo(name)
            member.size = len(wav(tone(300)))
            tar.addfile(member, io.BytesIO(wav(tone(300))))
        link = tarfile.TarInfo("4_ann_7.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    before = sorted(tmp_path.parent.rglob("*"))
    assert sorted(r.text for r in read_recordings(str(path), RATE)) == ["1", "2", "3"]
    assert sorted(tmp_path.parent.rglob("*")) == before
    monkeypatch.setattr(recordings, "MOST_BYTES", 100)
    with pytest.raises(RegardError, match="more than the 100 that are read"):
        read_recordings(str(path), RATE)
    monkeypatch.undo()
    monkeypatch.setattr(recordings, "MOST_SECONDS", 0.25)
    with pytest.raises(RegardError, match="hours of sound"):
        read_recordings(str(path), RATE)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a.txt": b"words"}, "holds no recordings"),
        ({"speech.wav": None}, "does not say what is spoken in speech.wav"),
        ({"speech.wav": None, "list.tsv": b"path\ttext\nother.wav\thello\n"}, "lists 'other.wav'"),
        ({"speech.wav": None, "list.tsv": b"file\tlength\nspeech.wav\t3\n"}, "needs a `path` and a `text`"),
        ({"speech.wav": None, "list.tsv": b"path\ttext\tpart\nspeech.wav\ta\tdev\n"}, "not 'dev'"),
        ({"speech.wav": None, "list.tsv": b"path\ttext\nspeech.wav\t\xff\n"}, "not UTF-8"),
        ({"speech.wav": None, "rows.jsonl": b'["a"]\n'}, "is no JSON object"),
        ({"speech.wav": b"no sound"}, "speech.wav is damaged"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(files, says, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_bytes(wav(tone(300)) if content is None else content)
    with pytest.raises(RegardError, match=says) as caught:
        read_recordings(str(tmp_path), RATE)
    assert "\n" not in str(caught.value)


def test_damaged_archives_and_missing_files(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"no archive at all")
    with pytest.raises(RegardError, match="no archive"):
        read_recordings(str(tmp_path / "a.tar.gz"), RATE)
    whole = archive(tmp_path / "b.tar.gz", {f"1_ann_{n}.wav": wav(np.random.rand(4000) - 0.5) for n in range(9)})
    (tmp_path / "c.tar.gz").write_bytes((tmp_path / "b.tar.gz").read_bytes()[:-2000])
    assert len(read_recordings(whole, RATE)) == 9
    with pytest.raises(RegardError, match="damaged"):
        read_recordings(str(tmp_path / "c.tar.gz"), RATE)
    (tmp_path / "list.tsv").write_text("path\ttext\nnone.wav\thello\n")
    with pytest.raises(RegardError, match=r"names 'none.wav'"):
        read_recordings(str(tmp_path / "list.tsv"), RATE)
    with pytest.raises(RegardError, match="there is no file or folder"):
        read_recordings(str(tmp_path / "none"), RATE)


# — joined —

WORDS = {"1": 400, "2": 900, "3": 1700}


def spoken():
    """Two speakers, three words, four recordings of each: ann's are 5 Hz higher for each, bob's 5 Hz lower."""
    return tuple(
        Recording(f"{word}_{speaker}_{n}", tone(frequency + sign * 5 * n), word, speaker)
        for word, frequency in WORDS.items()
        for speaker, sign in (("ann", 1), ("bob", -1))
        for n in range(4)
    )


JOIN = SpeechData(join=(3, 8), silence_ms=(30, 50), noise_db=(-60, -50))


def heard(samples):
    """The words of a sound, by the pitch of each stretch between silences, and how far off the pitch is."""
    loud = np.convolve(np.abs(samples), np.ones(80) / 80, "same") > 0.1
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(int), [0]])))
    found, off = [], []
    for start, stop in edges.reshape(-1, 2):
        frequency = pitch(samples[start:stop])
        word = min(WORDS, key=lambda word: abs(WORDS[word] - frequency))
        found.append(word)
        off.append(frequency - WORDS[word])
    return found, off


def test_a_sentence_is_what_its_sound_says_and_has_one_speaker():
    joined, lengths = Joined(spoken(), JOIN, RATE, 0), set()
    for number in range(40):
        samples, text = joined(number)
        words, off = heard(samples)
        assert words == text.split(" ")
        assert min(off) >= -1 or max(off) <= 1
        lengths.add(len(words))
        assert samples.dtype == np.float32
    assert lengths == {3, 4, 5, 6, 7, 8}


def test_a_sentence_is_a_function_of_seed_and_number():
    joined, again = Joined(spoken(), JOIN, RATE, 4), Joined(spoken()[::-1], JOIN, RATE, 4)
    for number in (7, 3):
        assert np.array_equal(joined(number).samples, again(number).samples)
    others = [joined(8), Joined(spoken(), JOIN, RATE, 5)(7)]
    assert all(not np.array_equal(joined(7).samples[:500], other.samples[:500]) for other in others)
    grouped = Joined(spoken(), JOIN, RATE, 4, group=6)
    counts = [len(grouped(number).text.split()) for number in range(60)]
    assert all(len(set(counts[start : start + 6])) == 1 for start in range(0, 60, 6))
    assert len(set(counts)) > 3


def test_a_speed_moves_pitch_and_length():
    sound = tone(500, seconds=0.5)
    for speed in (0.9, 1.1):
        other = played(sound, speed)
        assert len(other) == pytest.approx(len(sound) / speed, abs=2)
        assert pitch(other) == pytest.approx(500 * speed, abs=1)
    assert played(sound, 1.0) is sound
    assert len(played(sound[:1], 1.1)) == 1


TOKENIZER = Tokenizer.train(["1 2 3"], kind="characters", special=("begin", "end"))


def batches(**changes):
    joined = Joined(spoken(), JOIN, RATE, 0, group=4)
    return SpeechBatches(joined, FEATURES, TOKENIZER, **{"batch_size": 4, **changes})


def equal(one, other):
    for name in ("inputs", "targets", "lengths", "source", "source_lengths"):
        assert torch.equal(getattr(one, name), getattr(other, name))


def test_a_batch_holds_what_is_said():
    batch = batches().at(5)
    assert batch.target_count == int((batch.targets != IGNORE).sum())
    for row in range(4):
        samples, text = batches().utterances(20 + row)
        length = batch.lengths[row]
        assert TOKENIZER.decode(batch.targets[row, : length - 1].tolist()) == text
        assert batch.targets[row, length - 1] == TOKENIZER.end
        assert (batch.targets[row, length:] == IGNORE).all()
        assert batch.inputs[row, 0] == TOKENIZER.begin
        assert torch.equal(batch.inputs[row, 1:length], batch.targets[row, : length - 1])
        alone = FEATURES([samples]).frames[0]
        assert torch.equal(batch.source[row, : batch.source_lengths[row]], alone)


def test_a_batch_is_a_function_of_seed_and_step_and_parts_make_the_whole():
    augment = SpecAugment(mel_width=5, time_width=10)
    source = batches(augment=augment)
    whole = source.at(3)
    source.at(9)
    equal(source.at(3), whole)
    assert not torch.equal(whole.source, batches().at(3).source)
    assert not torch.equal(whole.source, batches(augment=augment, seed=1).at(3).source)
    for accumulate, world in ((2, 1), (1, 2), (2, 2)):
        parts = batches(augment=augment, accumulate=accumulate)
        pieces = [parts.at(3, micro, rank, world) for micro in range(accumulate) for rank in range(world)]
        assert sum(piece.target_count for piece in pieces) == whole.target_count
        for name in ("targets", "source"):
            rows = [row for piece in pieces for row in getattr(piece, name)]
            for row, expected in zip(rows, getattr(whole, name), strict=True):
                assert torch.equal(row, expected[: len(row)])
    with pytest.raises(RegardError, match="does not divide evenly"):
        batches(accumulate=3).at(0)


def test_separate_recordings_come_once_an_epoch_in_batches_of_a_length():
    random = np.random.default_rng(0)
    every = tuple(Recording(str(n), np.zeros(k, np.float32), "1") for n, k in enumerate(random.integers(9, 9999, 200)))
    separate = Separate(every, JOIN, 0)
    epoch = [separate.of_step(step, 8) for step in range(25)]
    assert sorted(number for rows in epoch for number in rows) == list(range(200))
    spread = [np.ptp([len(every[number].samples) for number in rows]) for rows in epoch]
    assert np.mean(spread) < 1500
    assert [separate.of_step(step, 8) for step in range(25, 50)] != epoch
    assert separate.of_step(3, 8) == epoch[3]
    assert sorted(Separate(every[:5], JOIN, 0).of_step(7, 32)) == [0, 1, 2, 3, 4]
    middle = [separate.of_step(step, 7) for step in range(28)]  # batches that do not fill the last pool
    assert all(len(rows) == 7 for rows in middle)
    assert len({number for rows in middle for number in rows}) == 196


def test_evaluation_has_each_sound_once_sorted():
    sounds = [Utterance(tone(300, 0.1 + 0.05 * (n * 7 % 10)), "1 2"[: 1 + 2 * (n % 2)]) for n in range(10)]
    evaluation = EvaluationSpeech(sounds, FEATURES, TOKENIZER, 4)
    assert len(evaluation) == 3
    lengths = [length for batch in evaluation for length in batch.source_lengths.tolist()]
    assert lengths == sorted(len(sound.samples) // FEATURES.hop for sound in sounds)
    texts = [TOKENIZER.decode(row[row != IGNORE].tolist()) for batch in evaluation for row in batch.targets]
    assert texts == [sounds[number].text for number in evaluation.order]


def test_a_tokenizer_that_ends_nothing_is_refused():
    open_ = Tokenizer.train(["1 2 3"], kind="characters", special=())
    with pytest.raises(RegardError, match="no end token"):
        SpeechBatches(Joined(spoken(), JOIN, RATE, 0), FEATURES, open_, 2).at(0)


# — settings —


def test_settings_round_trip_as_data():
    made = SpeechData(source="digits.tar.gz", join=(3, 8), augment=SpecAugment(warp=5))
    assert made.source == ("digits.tar.gz",)
    assert Data.resolve(made.to_dict()) == made
    assert made.to_dict()["kind"] == "speech"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"join": (8, 3)}, "from the smaller to the larger"),
        ({"join": (0, 3)}, "between 1 and 1000"),
        ({"speed": (0.1, 1.0)}, "between 0.5 and 2"),
    ],
)
def test_settings_that_are_refused(changes, says):
    with pytest.raises(SettingsError, match=says):
        SpeechData(**changes)


def test_a_speaker_who_is_left_out_is_all_of_the_test(tmp_path):
    files = {f"{d}_{s}_{n}.wav": wav(tone(300)) for d in "12" for s in ("ann", "bob") for n in range(8)}
    source = archive(tmp_path / "d.tar.gz", files)
    parts = SpeechData(source=source, leave_out="bob", join=(2, 4), evaluated=5).read(RATE)
    assert {part: {r.speaker for r in every} for part, every in parts.items()} == {
        "train": {"ann"}, "validation": {"ann"}, "test": {"bob"},
    }  # fmt: skip
    assert [len(parts[part]) for part in ("train", "validation", "test")] == [2, 4, 16]
    with pytest.raises(RegardError, match="no speaker is called 'bobb'; did you mean 'bob'"):
        SpeechData(source=source, leave_out="bobb").read(RATE)
    with pytest.raises(RegardError, match="no recordings to read"):
        SpeechData().read(RATE)


def test_recordings_for_validation_may_lie_elsewhere(tmp_path):
    sources = [archive(tmp_path / f"{s}.tar", {f"1_{s}_{n}.wav": wav(tone(300)) for n in range(8)}) for s in ("a", "b")]
    parts = SpeechData(source=sources[0], validation=sources[1]).read(RATE)
    assert [[r.name[:3] for r in parts[part]] for part in ("train", "validation", "test")] == [
        ["1_a"] * 3, ["1_b"] * 8, ["1_a"] * 5,
    ]  # fmt: skip


def test_spoken_digits():
    data = SpeechData(source=str(shared("data/fsdd/fsdd.tar.gz")), join=(3, 8), evaluated=20)
    parts = data.read(RATE)
    assert {part: len(every) for part, every in parts.items()} == {"train": 2580, "validation": 120, "test": 300}
    assert sum(len(r.samples) for every in parts.values() for r in every) / RATE / 60 == pytest.approx(21.9, abs=0.1)
    sentences = data.utterances(parts, "test", RATE)
    assert len(sentences) == 20
    assert {len(sentence.text.split()) for sentence in sentences} <= set(range(3, 9))
    assert np.array_equal(data.utterances(parts, "test", RATE)[7].samples, sentences[7].samples)
