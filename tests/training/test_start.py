"""A run that begins with another model: what is taken, what is new, what learns at which rate."""

from pathlib import Path

import pytest
import torch

import regard as rg
from regard.model import Transformer
from regard.settings import RegardError, SettingsError
from regard.store import load_model, tensors_of
from regard.training import AdamW, RunConfig, train
from regard.training.learner import freeze
from regard.training.optimisers import below_head
from regard.training.start import Start
from tests.training import tasks_small as small


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    data = small.table(folder / "t.tsv", small.rows(200))
    overrides = (*small.SMALL, "model.encoder.n_layers=2", "model.dropout=0.1")
    train("classify", data, folder / "run", steps=5, overrides=overrides, quiet=True)
    return folder / "run"


def begun(base: Path, out: Path, *more: str, recipe: str = "regress", steps: int = 0):
    data = small.table(out.parent / "n.tsv", [(text, str(len(text))) for text, _ in small.rows(60)], ("text", "score"))
    overrides = ("training.device=cpu", "training.compile=off", *more)
    return train(recipe, data, out, start=base, steps=steps, overrides=overrides, quiet=True)


def test_the_hidden_states_are_those_of_the_start(base: Path, tmp_path: Path) -> None:
    begun(base, tmp_path / "run")
    old, new = load_model(base), load_model(tmp_path / "run")
    ids = torch.randint(0, old.config.vocab_size, (2, 9))
    assert torch.equal(old.hidden(ids), new.hidden(ids))
    assert new.config.head.kind == "regress"
    assert new.config.dropout == 0.1
    assert rg.load(base).tokenizer.fingerprint == rg.load(tmp_path / "run").tokenizer.fingerprint


def test_it_is_said_what_was_taken(base: Path, tmp_path: Path) -> None:
    config = RunConfig.from_toml((base / "run.toml").read_text())
    start = Start(str(base))
    same = Transformer(start.settings(config.model), seed=7)
    assert "nothing is new" in start.give(same)
    old = tensors_of(load_model(base))
    assert all(torch.equal(tensor, old[name]) for name, tensor in tensors_of(same).items())
    other = config.model.replace(head=config.model.head.replace(labels=("a", "b", "c")))
    assert "new is head.output" in start.give(Transformer(other))


def test_a_run_goes_on_without_its_start(base: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.symlink_to(base)
    begun(moved, tmp_path / "run", steps=2)
    moved.unlink()
    assert begun(moved, tmp_path / "run", steps=4).step == 4
    assert train(out=tmp_path / "run", steps=5, quiet=True).step == 5


def test_a_start_can_be_a_setting(base: Path, tmp_path: Path) -> None:
    data = small.table(tmp_path / "t.tsv", small.rows(60))
    train("classify", data, tmp_path / "run", steps=1, overrides=(f"start={base}", "model.dropout=0.3"), quiet=True)
    model = load_model(tmp_path / "run").config
    assert (model.d_model, model.dropout) == (32, 0.3)


def test_another_family_or_a_second_tokenizer_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is of the family encoder, and this recipe trains one of the family dec"):
        train("gpt", out=tmp_path / "run", start=base, quiet=True)
    with pytest.raises(SettingsError, match="brings its own tokenizer"):
        train("classify", out=tmp_path / "run", start=base, tokenizer=base / "tokenizer.json", quiet=True)
    with pytest.raises(RegardError, match="nowhere"):
        train("classify", out=tmp_path / "run", start="nowhere", quiet=True)


@pytest.mark.parametrize("frozen", ["1", "encoder"])
def test_what_is_frozen_does_not_move(base: Path, tmp_path: Path, frozen: str) -> None:
    begun(base, tmp_path / "run", f"training.frozen={frozen}", "training.schedule.learning_rate=0.01", steps=3)
    old, new = tensors_of(load_model(base)), tensors_of(load_model(tmp_path / "run"))
    moved = {name for name in new if name not in old or not torch.equal(old[name], new[name])}
    assert any(name.startswith("head.") for name in moved)
    above = {name for name in moved if not name.startswith("head.")}
    assert not above if frozen == "encoder" else above
    assert not any(name.startswith(("encoder.input", "encoder.layers.0.")) for name in moved)


def test_more_layers_than_there_are_cannot_be_frozen(base: Path) -> None:
    with pytest.raises(SettingsError, match=r"training\.frozen is 9, and the model has 2 layers"):
        freeze(load_model(base), 9)


def test_lower_layers_learn_more_slowly(base: Path) -> None:
    model = load_model(base)
    optimisers = AdamW(layer_decay=0.5).build(model)
    scale = {p: g["scale"] for part in optimisers.parts for g in part.param_groups for p in g["params"]}
    assert len(scale) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        expected = {"head": 1.0, "encoder.layers.1": 0.5, "encoder.layers.0": 0.25, "encoder.input": 0.125}
        [rate] = [rate for start, rate in expected.items() if name.startswith(start)] or [None]
        if rate is not None:
            assert scale[parameter] == rate, name
    assert below_head(model, "encoder.end.weight") == 0


def test_a_plain_optimiser_has_as_few_groups_as_before(base: Path) -> None:
    [adam] = AdamW().build(load_model(base)).parts
    assert len(adam.param_groups) <= 4


def test_a_decoder_goes_on_with_other_text(tmp_path: Path) -> None:
    text, more = tmp_path / "a.txt", tmp_path / "b.txt"
    text.write_text("".join(f"{n} and {n} make {2 * n}.\n" for n in range(300)))
    more.write_text("".join(f"{n} make {n} and 0.\n" for n in range(300)))
    sizes = ("model.d_model=16", "model.n_heads=2", "model.decoder.n_layers=1", "model.context_length=16")
    common = ("training.batch_size=4", "training.device=cpu", "training.sample_tokens=0", "training.compile=off")
    train("gpt-char", text, tmp_path / "a", steps=3, overrides=(*sizes, *common), quiet=True)
    run = train("gpt-char", more, tmp_path / "b", start=tmp_path / "a", steps=0, overrides=common, quiet=True)
    old, new = tensors_of(load_model(tmp_path / "a")), tensors_of(load_model(run.folder))
    assert all(torch.equal(old[name], new[name]) for name in new)


def test_a_fresh_start_begins_with_the_same_model_again(base: Path, tmp_path: Path) -> None:
    begun(base, tmp_path / "run", steps=2)
    train(out=tmp_path / "run", steps=0, resume=False, quiet=True)
    ids = torch.arange(9)[None]
    assert torch.equal(load_model(base).hidden(ids), load_model(tmp_path / "run").hidden(ids))
