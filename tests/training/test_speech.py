"""From recordings to a folder that transcribes: words that are tones, which a tiny model learns at once."""

import json

import numpy as np
import pytest
import torch

from regard.bundle import load
from regard.data.speech import SpeechData
from regard.evaluation.speech import evaluate_speech
from regard.features import LogMel
from regard.generation.transcribing import Transcriber, transcribe
from regard.inputs import Audio
from regard.model import CTC, ModelConfig, StackConfig, Transformer
from regard.settings import RegardError, SettingsError
from regard.text import TokenizerConfig
from regard.training.config import RunConfig, TrainingConfig
from regard.training.run import train

soundfile = pytest.importorskip("soundfile")

RATE = 2000
WORDS = {"1": 200, "2": 400, "3": 800}
FEATURES = LogMel(rate=RATE, n_mels=8, window_ms=40, hop_ms=20, normalise="utterance")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    for word, frequency in WORDS.items():
        for number in range(12):
            time = np.arange(int(RATE * (0.15 + 0.02 * (number % 5)))) / RATE
            soundfile.write(folder / f"{word}_ann_{number}.wav", 0.3 * np.sin(2 * np.pi * frequency * time), RATE)
    return folder


def config(recordings, steps, save=2, **data):
    stack = StackConfig(n_layers=1, residual="pre")
    sizes = {"vocab_size": 1, "d_model": 32, "n_heads": 2, "context_length": 200}
    return RunConfig(
        tokenizer=TokenizerConfig(kind="characters", special=("begin", "end")),
        data=SpeechData(source=str(recordings), **{"join": (1, 3), "evaluated": 20, "silence_ms": (80, 160), **data}),
        model=ModelConfig(
            **sizes, source=Audio(features=FEATURES, strides=(1, 2)), encoder=stack, decoder=stack, ctc=CTC(weight=0.5)
        ),
        training=TrainingConfig(
            steps=steps, batch_size=8, evaluate_every=steps, checkpoint_every=save, log_every=10, sample_tokens=10,
            optimiser="muon", schedule={"kind": "cosine", "learning_rate": 0.02, "warmup": 10}, compile="off",
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(recordings, tmp_path_factory):
    torch.manual_seed(0)
    return train(config(recordings, 130, save=130), out=tmp_path_factory.mktemp("run"), quiet=True)


def test_it_learns_to_write_what_it_hears(run, recordings):
    assert run.after.loss < 0.1 < run.before.loss
    model = load(run.folder)
    ear = Transcriber(model.transformer, model.tokenizer)
    data = config(recordings, 1).data
    unseen = data.utterances(data.read(RATE), "test", RATE)
    heard = ear.transcribe([one.samples for one in unseen])
    right = np.mean([one.text == said.text for one, said in zip(heard, unseen, strict=True)])
    assert right > 0.9
    scores = evaluate_speech(ear, data)
    assert (scores.recordings, scores.exact) == (20, right)
    spelt = ear.spelt([one.samples for one in unseen])
    assert np.mean([one == said.text for one, said in zip(spelt, unseen, strict=True)]) > 0.9
    alone = ear.transcribe([unseen[3].samples])[0]
    assert alone.text == heard[3].text
    assert alone.log_probability == pytest.approx(heard[3].log_probability, abs=1e-4)


def test_a_file_at_another_rate(run, recordings, tmp_path):
    model = load(run.folder)
    ear = Transcriber(model.transformer, model.tokenizer)
    parts = [np.zeros(1600)]
    for word in "132":
        parts += [0.3 * np.sin(2 * np.pi * WORDS[word] * np.arange(2880) / 16000), np.zeros(1600)]
    soundfile.write(tmp_path / "said.flac", np.concatenate(parts), 16000)
    heard = transcribe(model.transformer, model.tokenizer, tmp_path / "said.flac", listening=True)
    sound = ear.read(tmp_path / "said.flac")
    assert heard.text == "1 3 2"
    assert heard.seconds == pytest.approx(0.94, abs=0.01)
    listening = heard.listening
    assert json.loads(json.dumps(heard.to_dict()))["text"] == str(heard) == "1 3 2"
    assert "<svg" in listening.svg("said")
    assert str(listening).splitlines()[-2].lstrip().startswith("end")
    assert listening.tokens == ("1", " ", "3", " ", "2", "end")
    assert listening.weights.shape == (6, -(-(len(sound) // FEATURES.hop) // 2))
    assert torch.allclose(listening.weights.sum(1), torch.ones(6), atol=1e-5)
    assert listening.seconds_per_vector == pytest.approx(0.04, abs=0.003)
    assert all(0 <= start < stop <= heard.seconds + 0.1 for start, stop in listening.times)


def test_stopped_and_gone_on_with_is_the_same(recordings, tmp_path):
    whole = train(config(recordings, 6, speed=(0.9, 1.1)), out=tmp_path / "a", quiet=True)
    train(config(recordings, 6, speed=(0.9, 1.1)), out=tmp_path / "b", steps=4, quiet=True)
    later = train(None, out=tmp_path / "b", steps=6, quiet=True)
    ours, theirs = (load(each.folder).transformer.state_dict() for each in (whole, later))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_what_is_refused(recordings, tmp_path):
    deaf = config(recordings, 2).replace(model=config(recordings, 2).model.replace(source=None))
    with pytest.raises(SettingsError, match="take the recipe speech"):
        train(deaf, out=tmp_path / "a", quiet=True)
    with pytest.raises(RegardError, match="no recordings to read"):
        train(config(recordings, 2).replace(data=SpeechData()), out=tmp_path / "b", quiet=True)
    model = ModelConfig(vocab_size=9, d_model=8, n_heads=2, decoder=StackConfig(n_layers=1))
    with pytest.raises(RegardError, match="reads text, not sound"):
        Transcriber(Transformer(model), None)
