"""A run on pairs: from two columns to a folder that translates, resumed to the bit, with one vocabulary or two."""

import itertools
import json
import shutil

import pytest
import torch

import regard as rg
from regard.data.pairs import builtin_pairs
from regard.evaluation.pairs import evaluate_pairs, pair_loss
from regard.settings import RegardError, SettingsError
from regard.store import load_model
from regard.training import RunConfig, devices, learner, train
from regard.training.tasks import TASKS

SMALL = (
    "model.d_model=16",
    "model.n_heads=2",
    "model.encoder.n_layers=1",
    "model.decoder.n_layers=1",
    "model.context_length=32",
    "training.batch_tokens=256",
    "training.sample_tokens=8",
    "training.device=cpu",
)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A number and its double, in words of letters."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.tsv"
    path.write_text("".join(f"{n} times two\tis {2 * n}!\n" for n in range(400)))
    return path


def small(pairs, out, steps=12, *more, **kwargs):
    return train("dates", pairs, out, steps=steps, overrides=(*SMALL, *more), quiet=True, **kwargs)


@pytest.fixture(scope="module")
def run(pairs, tmp_path_factory):
    return small(pairs, tmp_path_factory.mktemp("runs") / "doubles", 30)


def test_pairs_to_a_model_that_translates(run, pairs):
    assert run.after.loss < run.before.loss
    assert run.after.bits_per_byte is None
    model = rg.load(run.folder)
    assert model.family == "encoder-decoder"
    assert model.config.target_vocab_size is None
    assert model.generate(["7 times two", "", "9 times two"])[1] == ""
    assert model.generate("7 times two") == model.generate(["9 times two", "7 times two"])[1]
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert any("times two →" in line["sample"] for line in lines if "sample" in line)
    assert RunConfig.from_toml((run.folder / "run.toml").read_text()).data.source == (str(pairs),)


def test_a_stopped_run_goes_on_to_the_same_bits(pairs, tmp_path):
    whole = small(pairs, tmp_path / "whole", 20, "model.dropout=0.1", "training.checkpoint_every=8")
    small(pairs, tmp_path / "cut", 20, "model.dropout=0.1", "training.checkpoint_every=8")
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "step-000000020")  # as if it had been killed after step 16
    again = small(pairs, tmp_path / "cut", 20, "model.dropout=0.1", "training.checkpoint_every=8")
    assert again.step == 20
    one, other = load_model(whole.folder).state_dict(), load_model(again.folder).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    metrics = [(folder / "metrics.jsonl").read_text() for folder in (whole.folder, again.folder)]
    assert metrics[0] == metrics[1]


def test_micro_batches_are_the_same_step(pairs, tmp_path):
    whole = small(pairs, tmp_path / "whole", 4)
    cut = small(pairs, tmp_path / "cut", 4, "training.accumulate=2")
    assert cut.after.loss == pytest.approx(whole.after.loss, rel=1e-4)


def test_two_vocabularies(pairs, tmp_path):
    own = ("target_tokenizer.kind=characters", 'target_tokenizer.special=["end"]')
    run = small(pairs, tmp_path / "run", 4, *own)
    model = rg.load(run.folder)
    assert model.target_tokenizer.vocab_size < model.tokenizer.vocab_size
    assert model.config.output_vocab_size == model.target_tokenizer.vocab_size
    assert model.target_tokenizer.decode(model.target_tokenizer.encode("is 14!")) == "is 14!"
    assert isinstance(model.generate("7 times two"), str)
    for checkpoint in (tmp_path / "run" / "checkpoints").iterdir():
        if checkpoint.is_dir():
            assert rg.load(checkpoint).generate("7 times two", beams=2) == model.generate("7 times two", beams=2)


def test_what_does_not_go_together(pairs, tmp_path):
    with pytest.raises(SettingsError, match="pairs are learnt by an encoder with a decoder"):
        train("gpt-char", None, tmp_path / "a", overrides=["data.kind=pairs"], quiet=True)
    with pytest.raises(RegardError, match="no end token"):
        small(pairs, tmp_path / "b", 2, 'tokenizer.special=["unknown"]')
    with pytest.raises(RegardError, match="no setting 'target'"):
        train("gpt-char", str(pairs), tmp_path / "c", target="x", quiet=True)


class TestEvaluation:
    def test_scores_of_the_runs_own_pairs(self, run):
        found = evaluate_pairs(run.folder)
        assert found.scores.sentences == len(found.written) > 5
        assert 0 <= found.scores.exact <= 1
        assert found.evaluation.loss == pytest.approx(run.after.loss, rel=1e-4)
        assert json.dumps(found.to_dict())

    def test_references_are_as_they_were_written_though_the_vocabulary_lacks_a_letter(self, tmp_path):
        rows = [f"{n} times two\tis {2 * n}!\n" for n in range(40)]
        (tmp_path / "train.tsv").write_text("".join(rows))
        (tmp_path / "val.tsv").write_text("3 times two\tis Ж six!\n")
        held_out = f'data.validation=["{tmp_path / "val.tsv"}"]'
        found = evaluate_pairs(small(tmp_path / "train.tsv", tmp_path / "run", 2, held_out).folder)
        assert found.references == ("is Ж six!",)

    def test_the_loss_is_that_of_each_pair_alone(self, run, pairs):
        model = rg.load(run.folder)
        some = [("7 times two", "is 14!"), ("123 times two", "is 246!"), ("0 times two", "is 0!")]
        alone = [pair_loss(model, [pair]) for pair in some]
        together = pair_loss(model, some)
        assert together.tokens == sum(one.tokens for one in alone)
        total = sum(one.loss * one.tokens for one in alone)
        assert together.loss * together.tokens == pytest.approx(total, rel=1e-5)

    def test_of_a_built_in_set_what_was_not_trained_on(self, run):
        found = evaluate_pairs(run.folder, "builtin:reverse", limit=20, tokens=2)
        assert list(zip(found.sources, found.references, strict=True)) == list(
            itertools.islice(builtin_pairs("reverse", "validation"), 20)
        )

    def test_blank_pairs_are_counted(self, run, tmp_path):
        (tmp_path / "a.tsv").write_text("7 times two\tis 14!\n\tx\n")
        found = evaluate_pairs(run.folder, tmp_path / "a.tsv")
        assert found.scores.sentences == 2
        assert found.written[1] == ""


def test_batches_of_uneven_rows_are_not_compiled_of_themselves(run, monkeypatch):
    """Each new shape would be compiled anew, at the price of many steps."""
    monkeypatch.setattr(learner, "worth_compiling", lambda *_: True)
    config = RunConfig.from_toml((run.folder / "run.toml").read_text())
    ready = TASKS["pairs"].open(config, run.folder)
    place = devices.resolve("cpu", "float32", "auto", {}, lambda line: None)
    made = learner.Learner(load_model(run.folder), ready.batches, config.training, place)
    assert not made.compile(None, steps=100_000)
