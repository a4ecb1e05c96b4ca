"""`train`: from a text to a folder, and all that a user can do to it in between."""

import errno
import json
import os
from pathlib import Path

import pytest

import regard as rg
from regard.settings import RegardError, SettingsError, override
from regard.store import load_model, load_tokenizer
from regard.text import Tokenizer
from regard.training import RECIPES, RunConfig, TrainingConfig, recipe, train
from regard.training.config import differences
from regard.training.metrics import read
from regard.training.recipes import SIZES
from regard.training.schedules import Schedule

LINES = "".join(f"{n} and {n} make {2 * n}.\n" for n in range(300))
SMALL = (
    "model.d_model=16",
    "model.n_heads=2",
    "model.decoder.n_layers=1",
    "model.context_length=16",
    "training.batch_size=4",
    "training.evaluate_windows=20",
    "training.sample_tokens=5",
    "training.device=cpu",
)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(LINES)
    return path


def small(text: Path | None, out: Path, steps: int | None = 12, *more: str, **kwargs: object):
    return train("gpt-char", text, out, steps=steps, overrides=(*SMALL, *more), quiet=True, **kwargs)  # type: ignore[arg-type]


def test_text_to_a_model_that_can_be_loaded(text: Path, tmp_path: Path) -> None:
    run = small(text, tmp_path / "run")
    assert (run.step, run.ended) == (12, "finished")
    assert run.before is not None
    assert run.after is not None
    assert run.after.loss < run.before.loss
    assert run.after.bits_per_byte == pytest.approx(run.after.loss / 0.6931, rel=0.02)  # a character is a byte here
    model, tokenizer = load_model(run.folder), load_tokenizer(run.folder)
    assert model.config.vocab_size == tokenizer.vocab_size
    assert tokenizer.decode(tokenizer.encode("2 and 2")) == "2 and 2"
    samples = [line for line in read(run.folder / "metrics.jsonl") if "sample" in line]
    assert len(samples) == 12
    stored = RunConfig.from_toml((run.folder / "run.toml").read_text())
    assert stored.model == model.config
    assert stored.data.source == (str(text),)


def test_the_same_command_goes_on_and_so_does_one_with_only_the_folder(text: Path, tmp_path: Path) -> None:
    small(text, tmp_path / "run", 6)
    run = small(text, tmp_path / "run", 9)
    assert run.step == 9
    run = train(out=tmp_path / "run", steps=11, quiet=True)
    assert run.step == 11
    assert run.tokens == 11 * 4 * 16


def test_weights_are_a_function_of_the_seed(text: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        small(text, tmp_path / name, 4, seed=seed)
    weights = {name: (tmp_path / name / "model.safetensors").read_bytes() for name in "abc"}
    assert weights["a"] == weights["b"] != weights["c"]
    assert (tmp_path / "a" / "metrics.jsonl").read_bytes() == (tmp_path / "b" / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("training.batch_size=8", r"training.batch_size = 4, and now it is 8.*another folder"),
        ("model.decoder.n_layers=2", "model.decoder.n_layers = 1"),
        ("training.optimiser.kind=sgd", r"training.optimiser.kind = 'muon', and now it is 'sgd'"),
        ("tokenizer.kind=bytes", r"tokenizer.kind = 'characters', and now it is 'bytes'"),
    ],
)
def test_a_changed_setting_is_refused(text: Path, tmp_path: Path, change: str, said: str) -> None:
    small(text, tmp_path / "run", 3)
    with pytest.raises(SettingsError, match=said) as caught:
        small(text, tmp_path / "run", 6, change)
    assert "\n" not in str(caught.value)
    assert small(text, tmp_path / "run", 6, change, resume=False).step == 6


def test_another_vocabulary_is_refused(text: Path, tmp_path: Path) -> None:
    small(text, tmp_path / "run", 3)
    other = Tokenizer.train([LINES + "äöü"], kind="characters")
    with pytest.raises(RegardError, match=r"begun with another tokenizer .*another folder"):
        small(None, tmp_path / "run", 6, tokenizer=other)
    assert small(None, tmp_path / "run", 6).step == 6


def test_another_tokenizer_put_into_the_folder_is_refused(text: Path, tmp_path: Path) -> None:
    """Whatever the size of its vocabulary; and once it is put back, the run goes on."""
    small(text, tmp_path / "run", 3)
    place = tmp_path / "run" / "tokenizer.json"
    right = place.read_bytes()
    Tokenizer.train([LINES + "äöü"], kind="characters").save(place)
    with pytest.raises(RegardError, match="begun with another tokenizer"):
        small(None, tmp_path / "run", 6)
    place.write_bytes(right)
    assert small(None, tmp_path / "run", 6).step == 6


def test_another_text_is_refused(text: Path, tmp_path: Path) -> None:
    small(text, tmp_path / "run", 3)
    text.write_text(LINES.replace("7", "8"))
    with pytest.raises(RegardError, match="begun with another text"):
        small(text, tmp_path / "run", 6)
    text.write_text(LINES)
    os.utime(text, (0, 0))  # only touched: the same ids
    assert small(text, tmp_path / "run", 6).step == 6


def test_a_tokenizer_of_ones_own(text: Path, tmp_path: Path) -> None:
    own = Tokenizer.train([LINES], kind="bytes")
    run = small(text, tmp_path / "run", 3, tokenizer=own)
    assert load_tokenizer(run.folder).fingerprint == own.fingerprint
    own.save(tmp_path / "tokenizer.json")
    run = small(text, tmp_path / "other", 3, tokenizer=tmp_path / "tokenizer.json")
    assert load_model(run.folder).config.vocab_size == own.vocab_size


def test_settings_from_a_file(text: Path, tmp_path: Path) -> None:
    small(text, tmp_path / "run", 3)
    again = tmp_path / "mine.toml"
    again.write_bytes((tmp_path / "run" / "run.toml").read_bytes())
    run = train(again, out=tmp_path / "other", quiet=True)
    assert (run.folder / "model.safetensors").read_bytes() == (tmp_path / "run" / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"what": "gtp"}, "no recipe is called 'gtp'; did you mean 'gpt'?"),
        ({"what": "gpt", "size": "smal"}, "did you mean 'small'?"),
        ({"what": "gpt", "overrides": ["training.step=3"]}, "did you mean 'steps'?"),
        ({"what": "gpt", "overrides": ["training.batch_size=7", "training.accumulate=2"]}, "cannot be cut into 2"),
        ({"what": "nowhere.toml"}, "nowhere.toml cannot be read"),
        ({"what": "gpt", "data": "nowhere.txt"}, "nowhere.txt"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, arguments: dict, said: str) -> None:
    with pytest.raises(RegardError) as caught:
        train(out=tmp_path / "run", quiet=True, **arguments)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_told_before_the_text_is_read(text: Path, tmp_path: Path) -> None:
    with pytest.raises(RegardError, match="nothing can be written to"):
        train("gpt-char", "nowhere.txt", text / "run", quiet=True)


def test_a_disk_that_is_full_before_training(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Tokenizer, "save", full)
        with pytest.raises(RegardError, match=r"the tokenizer and the settings could not .*\(No space left"):
            small(text, tmp_path / "run", 3)
    assert small(text, tmp_path / "run", 3).step == 3


def test_an_unknown_character_in_the_prompt_is_told_before_training(text: Path, tmp_path: Path) -> None:
    with pytest.raises(RegardError, match="is not among"):
        small(text, tmp_path / "run", 3, "training.sample_prompt=漢")
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert small(text, tmp_path / "run", 3, "training.batch_size=2").step == 3  # nothing was begun, so all may change


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", [*RECIPES, "gpt2"])
def test_recipes_go_through_toml(name: str, size: str) -> None:
    config = recipe(name, size)
    assert RunConfig.from_toml(config.to_toml()) == config
    assert (config.recipe, config.size) == (name, size)


def test_all_of_a_run_can_be_said_in_toml() -> None:
    config = RunConfig.from_toml(
        """
        [model]
        d_model = 32
        n_heads = 4
        [model.decoder]
        n_layers = 2
        position = "rotary"
        [data]
        source = "a.txt"
        [training]
        steps = 10
        clip = "none"
        average = {kind = "ema", decay = 0.9}
        schedule = {kind = "noam", warmup = 10}
        """
    )
    assert config.training.clip is None
    assert config.training.schedule == Schedule.kinds()["noam"](warmup=10)
    assert config.data.source == ("a.txt",)
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    longer = RunConfig.from_dict(override(config.to_dict(), ["training.steps=99", "training.device=cpu"]))
    assert differences(config, longer) == []
    other = RunConfig.from_dict(override(config.to_dict(), ["training.average.decay=0.5"]))
    assert differences(config, other) == [("training.average.decay", 0.9, 0.5)]


def test_public_names() -> None:
    assert rg.train is train
    assert rg.RunConfig is RunConfig
    assert TrainingConfig().steps > 0
