"""`regard transcribe`, and `regard evaluate` for a model that hears: lines, times, pictures, one sentence if wrong."""

import io
import json
import sys

import numpy as np
import pytest

from regard.cli import main
from regard.features import LogMel
from regard.inputs import Audio
from regard.model import CTC, ModelConfig, StackConfig, Transformer
from regard.store import save_model
from tests.generation.models import byte_tokenizer

soundfile = pytest.importorskip("soundfile")

RATE = 2000


@pytest.fixture(scope="module")
def ear(tmp_path_factory):
    stack = StackConfig(n_layers=1, residual="pre")
    config = ModelConfig(
        vocab_size=258,
        d_model=16,
        n_heads=2,
        context_length=300,
        source=Audio(features=LogMel(rate=RATE, n_mels=8, window_ms=40, hop_ms=20), strides=(1, 2)),
        encoder=stack,
        decoder=stack,
        ctc=CTC(),
    )
    place = tmp_path_factory.mktemp("runs") / "ear"
    save_model(place, Transformer(config, 1), byte_tokenizer(("begin", "end")))
    return str(place)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    for n in range(3):
        time = np.arange(RATE) / RATE
        soundfile.write(folder / f"{n}_ann_{n}.wav", 0.3 * np.sin(2 * np.pi * 200 * (n + 1) * time), RATE)
    return folder


@pytest.fixture
def run(capsys, monkeypatch):
    def run(*tokens, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main([str(token) for token in tokens])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_a_line_a_recording_in_their_order(run, ear, sounds):
    files = [sounds / "1_ann_1.wav", sounds / "0_ann_0.wav"]
    code, out, _ = run("transcribe", ear, *files, "--tokens", 5, "--json")
    assert code == 0
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["file"] for record in records] == [str(file) for file in files]
    assert all(record["seconds"] == pytest.approx(1.0) and record["log_probability"] < 0 for record in records)
    code, out, _ = run("transcribe", ear, *files, "--tokens", 5)
    assert code == 0
    assert out.splitlines()[0] == records[0]["text"].replace("\n", " ")


def test_a_recording_by_pipe(run, ear, sounds):
    file = sounds / "0_ann_0.wav"
    by_name = run("transcribe", ear, file, "--tokens", 5)[1]
    assert run("transcribe", ear, "--tokens", 5, stdin=file.read_bytes())[1] == by_name
    assert run("transcribe", ear, "-", "--tokens", 5, stdin=file.read_bytes())[1] == by_name


def test_times_and_a_picture(run, ear, sounds, tmp_path):
    picture = tmp_path / "a.svg"
    code, out, _ = run("transcribe", ear, sounds / "0_ann_0.wav", "--tokens", 4, "--times", "--align", picture)
    assert code == 0
    assert picture.read_text(encoding="utf-8").startswith("<svg")
    assert out.count(" s  ") >= 1
    record = json.loads(run("transcribe", ear, sounds / "0_ann_0.wav", "--tokens", 4, "--times", "--json")[1])
    assert all(0 <= token["from"] < token["to"] <= 1.1 for token in record["tokens"])


@pytest.mark.parametrize(
    ("tokens", "says"),
    [
        (["missing.wav"], "missing.wav"),
        (["{folder}"], "{folder}"),
        ([], "there is no recording"),
        (["{sound}", "{sound}", "--align", "a.svg"], "one alignment is drawn at a time"),
        (["{sound}", "--align", "a.png"], "does not end in .svg"),
        (["{sound}", "--beams", "0"], "size"),
    ],
)
def test_what_is_wrong_is_one_sentence(run, ear, sounds, tokens, says):
    places = {"folder": sounds, "sound": sounds / "0_ann_0.wav"}
    code, _, err = run("transcribe", ear, *(token.format(**places) for token in tokens))
    assert code == 2
    assert says.format(**places) in err
    assert len(err.strip().splitlines()) == 1


def test_a_file_that_is_no_sound(run, ear, tmp_path):
    (tmp_path / "a.wav").write_text("this is text")
    code, _, err = run("transcribe", ear, tmp_path / "a.wav")
    assert code == 2
    assert "a.wav" in err


def test_generate_sends_sound_to_its_own_verb(run, ear):
    code, _, err = run("generate", ear, "hello")
    assert code == 2
    assert "regard transcribe" in err


def test_evaluate_counts_the_errors_of_all_recordings(run, ear, sounds):
    code, out, _ = run("evaluate", ear, "--data", sounds, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["recordings"] == 3
    assert "WER" in run("evaluate", ear, "--data", sounds)[1]
    code, _, err = run("evaluate", ear)
    assert code == 2
    assert "name some to evaluate on" in err
