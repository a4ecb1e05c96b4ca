"""Every recipe that writes one text for another: it trains, it writes, and a stopped run ends in the same bits."""

import io
import json
import shutil
import sys

import pytest
import torch

import regard as rg
from regard.data.pair_batches import PairBatches
from regard.data.pair_store import PairStore
from regard.generation.translating import Translator
from regard.settings import RegardError, SettingsError
from regard.store import load_model
from regard.training import train
from regard.training.recipes import RECIPES, recipe

LAYERS = ("model.encoder.n_layers=1", "model.decoder.n_layers=1")
SMALL = (
    "model.d_model=16",
    "training.device=cpu",
    "training.compile=off",
    "training.sample_tokens=4",
    "training.evaluate_windows=20",
)
PAIRS = ("model.n_heads=2", "model.context_length=32", "training.batch_tokens=200")
LETTERS = ("tokenizer.kind=characters", 'tokenizer.special=["begin", "end", "mask", "unknown"]')
OWN = {
    "translate": (*PAIRS, *LAYERS, *LETTERS),
    "seq2seq-rnn": (*PAIRS, *LAYERS, *LETTERS),
    "mask-predict": (*PAIRS, *LAYERS, *LETTERS),
    "dates": (*PAIRS, *LAYERS),
    "span-corruption": ("model.n_heads=2", "model.context_length=32", *LAYERS, "tokenizer.vocab_size=300"),
}
"""The recipes that learn from texts, in a tiny size."""


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A number and its double, in words of letters; and a text."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "pairs.tsv").write_text("".join(f"{n} times two\tis {2 * n}!\n" for n in range(200)))
    (folder / "text.txt").write_text("".join(f"{n} times two is {2 * n}! " for n in range(500)))
    return folder


def small(name, texts, out, *more, steps=4, **options):
    data = texts / ("text.txt" if name == "span-corruption" else "pairs.tsv")
    options = {"data": data, **options}
    return train(name, out=out, steps=steps, overrides=(*SMALL, *OWN[name], *more), quiet=True, **options)


def weights(run):
    """Those of the last step."""
    return load_model(run.folder / "checkpoints" / f"step-{run.step:09d}").state_dict()


def test_none_is_forgotten():
    writing = {name for name in RECIPES if recipe(name).model.family == "encoder-decoder"}
    assert writing - {name for name in writing if recipe(name).data.kind == "speech"} == set(OWN)


@pytest.mark.parametrize("name", OWN)
def test_a_recipe_trains_and_writes(name, texts, tmp_path):
    run = small(name, texts, tmp_path / "run", steps=6)
    assert run.ended == "finished"
    assert run.after.loss < run.before.loss
    model = rg.load(run.folder)
    if name == "span-corruption":
        translator = Translator(model.transformer, model.tokenizer)
        last = model.config.vocab_size - 1
        assert translator._text([last, *model.tokenizer.encode("is"), last - 1]) == "⟨1⟩is⟨2⟩"
        assert isinstance(model.generate("7 times", 4), str)
        return
    assert model.generate(["7 times two", ""], 6)[1] == ""
    assert model.generate("7 times two", 6) == model.generate(["9 times two", "7 times two"], 6)[1]


RESUMED = {
    "mask-predict": ("mask-predict", ()),
    "span-corruption": ("span-corruption", ("training.batch_size=4",)),
    "sampled, two passes": ("dates", ("training.sampled.kind=linear", "training.sampled.c=0.1")),
    "sampled, word by word": ("seq2seq-rnn", ("training.sampled.kind=linear", "training.sampled.c=0.1")),
}


@pytest.mark.parametrize("which", RESUMED)
def test_a_stopped_run_ends_in_the_same_bits(which, texts, tmp_path):
    name, more = RESUMED[which]
    more = (*more, "model.dropout=0.1", "training.checkpoint_every=3")
    whole = small(name, texts, tmp_path / "whole", *more, steps=7)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "step-000000007")  # as if it had been killed after step 6
    again = small(name, texts, tmp_path / "cut", *more, steps=7)
    assert again.step == 7
    one, other = weights(whole), weights(again)
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", ["mask-predict", "seq2seq-rnn"])
def test_micro_batches_are_the_same_step(name, texts, tmp_path):
    exact = ("model.dropout=0", "training.optimiser.kind=adamw")
    whole, cut = (small(name, texts, tmp_path / str(n), *exact, f"training.accumulate={n}", steps=3) for n in (1, 2))
    one, other = weights(whole), weights(cut)
    assert all(torch.allclose(one[key], other[key], atol=1e-4) for key in one)


def test_a_part_without_a_pair_teaches_no_length(texts, tmp_path):
    """Batches of one pair each, cut in two."""
    more = ("training.batch_tokens=16", "model.dropout=0", "training.optimiser.kind=adamw")
    whole, cut = (
        small("mask-predict", texts, tmp_path / str(n), *more, f"training.accumulate={n}", steps=2) for n in (1, 2)
    )
    norms = []
    for run in (whole, cut):
        rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
        norms += [row["gradient_norm"] for row in rows if "gradient_norm" in row]
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)
    part = PairStore.open(whole.folder / "data").train
    assert PairBatches(part, 0, 1, batch_tokens=16, accumulate=2).at(0, micro=1).target_count == 0


class TestSizes:
    def test_one_pair(self, tmp_path):
        (tmp_path / "pairs.tsv").write_text("a b\tc d\n")
        run = small("dates", tmp_path, tmp_path / "run", steps=3)
        assert (run.step, run.after) == (3, None)

    def test_pairs_longer_than_a_batch(self, texts, tmp_path):
        run = small("dates", texts, tmp_path / "run", "training.batch_tokens=3", steps=3)
        assert run.step == 3

    def test_pairs_beyond_the_positions_are_left_out(self, texts, tmp_path):
        long = "x" * 40
        lines = (texts / "pairs.tsv").read_text() + f"{long}\ty\nx\t{long}\n{'x' * 32}\ty\n{'x' * 31}\t{'y' * 31}\n"
        (tmp_path / "pairs.tsv").write_text(lines)
        learned = [f"model.{side}.position.kind=learned" for side in ("encoder", "decoder")]
        options = (*learned, "data.validation_fraction=0", "training.batch_tokens=none", "training.batch_size=101")
        small("dates", tmp_path, tmp_path / "run", *options, steps=3)
        store = PairStore.open(tmp_path / "run" / "data")
        assert len(store.train) == 201
        assert store.notes[-1] == "Left out 3 pair(s): 3 longer than 31 tokens."

    def test_micro_batches_of_tokens_need_not_divide_rows(self, texts, tmp_path):
        assert small("dates", texts, tmp_path / "run", "training.accumulate=3", steps=1).step == 1
        with pytest.raises(SettingsError, match="3 equal micro-batches"):
            small("dates", texts, tmp_path / "b", "training.accumulate=3", "training.batch_tokens=none")


class TestAgain:
    def test_from_standard_input(self, texts, tmp_path, monkeypatch):
        piped = (texts / "pairs.tsv").read_bytes()

        def run(content, steps):
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
            return small("dates", texts, tmp_path / "run", "data.format=tsv", steps=steps, data="-")

        with pytest.raises(RegardError, match="nothing came in"):
            run(b"", 2)
        assert run(piped, 2).step == 2
        assert run(piped, 3).step == 3
        assert run(b"", 4).step == 4
        with pytest.raises(RegardError, match="begun with another text on standard input"):
            run(piped + b"a\tb\n", 5)
        assert small("dates", texts, tmp_path / "run", data=None).step == 4

    @pytest.fixture
    def teacher(self, texts, tmp_path, monkeypatch):
        """Of which each translation is the source from behind."""
        calls = []

        def distil(_, sources):
            for source in sources:
                calls.append(source)
                yield source, source[::-1]

        monkeypatch.setattr("regard.training.tasks.translation.distil", distil)
        small("dates", texts, tmp_path / "teacher", steps=1)
        return calls

    def test_distillation(self, texts, tmp_path, teacher):
        more = (f"distil={tmp_path / 'teacher'}", "data.max_length=12", "data.swap=true")
        assert small("dates", texts, tmp_path / "run", *more, steps=2).step == 2
        rows = [json.loads(line) for line in (tmp_path / "run" / "distilled" / "train.jsonl").read_text().splitlines()]
        assert {"source": "is 14!", "target": "!41 si"} in rows
        once = len(teacher)
        assert len(rows) == once
        assert small("dates", texts, tmp_path / "run", *more, steps=3).step == 3
        assert train(out=tmp_path / "run", steps=4, quiet=True).step == 4
        assert len(teacher) == once
        with pytest.raises(SettingsError, match="distil"):
            small("dates", texts, tmp_path / "run", "distil=other", *more[1:], steps=5)

    def test_distillation_keeps_the_filters(self, texts, tmp_path, teacher):
        more = (f"distil={tmp_path / 'teacher'}", "data.max_length=11")
        small("dates", texts, tmp_path / "run", *more, steps=1)
        assert "longer than 11 tokens" in PairStore.open(tmp_path / "run" / "data").notes[-1]

    def test_half_a_distillation_is_not_used(self, texts, tmp_path, teacher, monkeypatch):
        def killed(_, sources):
            yield sources[0], "half"
            raise KeyboardInterrupt

        more = (f"distil={tmp_path / 'teacher'}",)
        with monkeypatch.context() as patch:
            patch.setattr("regard.training.tasks.translation.distil", killed)
            with pytest.raises(KeyboardInterrupt):
                small("dates", texts, tmp_path / "run", *more)
        assert not (tmp_path / "run" / "distilled" / "train.jsonl").exists()
        assert small("dates", texts, tmp_path / "run", *more).step == 4
        assert "half" not in (tmp_path / "run" / "distilled" / "train.jsonl").read_text()


def test_white_space_around_a_side_is_not_learnt(texts, tmp_path):
    """A translator leaves it out of what it reads, too."""
    (tmp_path / "pairs.tsv").write_text("  7 times two\t is 14! \n")
    run = small("dates", tmp_path, tmp_path / "run", "data.validation_fraction=0", steps=1)
    model, part = rg.load(run.folder), PairStore.open(run.folder / "data").train
    assert model.tokenizer.decode(part.target.row(0)) == "is 14!"
    assert list(part.source.row(0)) == Translator(model.transformer, model.tokenizer)._ids("7 times two")
