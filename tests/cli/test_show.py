"""regard show, as a user calls it."""

import json

import pytest

from regard.cli import main
from regard.model import ModelConfig, StackConfig, Transformer
from regard.model.presets import PRESETS
from regard.pages import pages
from regard.store import save_model

CONFIG = ModelConfig(vocab_size=60, d_model=16, n_heads=2, context_length=32, decoder=StackConfig(n_layers=2))


def show(capsys, *tokens: str) -> str:
    assert main(["show", *tokens]) == 0
    return capsys.readouterr().out


def test_a_preset(capsys):
    text = show(capsys, "gpt2")
    for part in ("124,439,808", "50,257", "d_model         768", "1,024 tokens", "12 layers of 12 heads", "3,072 wide"):
        assert part in text
    assert "66.6% of a layer" in text
    assert "45.5%" in text


def test_a_mechanism(capsys):
    assert show(capsys, "rotary").startswith("Rotary positions: ")


def test_all_names(capsys):
    text = show(capsys)
    for name in [*PRESETS, *(kind for page in pages() for kind in page.kinds)]:
        assert name in text
    assert max(len(line) for line in text.splitlines() if line.startswith("    ")) <= 100


def test_a_family(capsys):
    text = show(capsys, "positions")
    for page in pages():
        assert any(line.split()[:1] == [page.kinds[0]] for line in text.splitlines()) == (page.family == "positions")
    assert "regard train gpt model.decoder.position.kind=" in text
    assert show(capsys, "position") == text


def test_a_model(capsys, tmp_path):
    model = Transformer(CONFIG)
    save_model(tmp_path / "mine", model)
    assert f"{sum(p.numel() for p in model.parameters()):,}" in show(capsys, str(tmp_path / "mine"))


def test_a_run(capsys, tmp_path):
    from regard.training import RunConfig, TrainingConfig

    run = RunConfig(recipe="gpt", model=CONFIG, training=TrainingConfig(steps=50, batch_size=4))
    (tmp_path / "run.toml").write_text(run.to_toml(), encoding="utf-8")
    lines = [
        {"step": 10, "loss": 3.0, "tokens": 1280},
        {"step": 20, "loss": 2.5, "tokens": 2560},
        {"step": 20, "sample": "x"},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    text = show(capsys, str(tmp_path))
    assert "4 rows of 32 = 128 tokens" in text
    assert "2,560 tokens in 20 of 50 steps" in text
    (tmp_path / "metrics.jsonl").unlink()
    assert "0 tokens in 0 of 50 steps" in show(capsys, str(tmp_path))


@pytest.mark.parametrize(("name", "near"), [("gtp2", "'gpt2'"), ("rotery", "'rotary'"), ("llama2-7B", "'llama2-7b'")])
def test_an_unknown_name_gets_its_nearest(capsys, name, near):
    assert main(["show", name]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert near in captured.err


def test_a_folder_that_is_not_there(capsys):
    assert main(["show", "runs/absent"]) == 2
    assert capsys.readouterr().err.startswith("regard: there is no folder 'runs/absent'")


def test_settings_that_are_damaged_are_named(capsys, tmp_path):
    (tmp_path / "run.toml").write_text("x = [")
    assert main(["show", str(tmp_path)]) == 2
    (tmp_path / "run.toml").write_bytes(b"\xff")
    assert main(["show", str(tmp_path)]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert f"{tmp_path / 'run.toml'}: this is not TOML" in first
    assert f"{tmp_path / 'run.toml'} cannot be read" in second


def test_a_folder_without_a_model(capsys, tmp_path):
    assert main(["show", str(tmp_path)]) == 2
    assert "is no model" in capsys.readouterr().err
