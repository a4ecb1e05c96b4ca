"""`regard lint` and `regard fill`: what they print, as text and as JSON, and one sentence for what is wrong."""

import io
import json
import sys

import pytest

from regard.cli import main
from regard.model import ModelConfig, Transformer
from regard.store import save_model
from regard.text import Tokenizer


@pytest.fixture
def run(capsys, monkeypatch):
    def call(*tokens, piped=None):
        stdin = io.TextIOWrapper(io.BytesIO((piped or "").encode()), encoding="utf-8")
        stdin.isatty = lambda: piped is None
        monkeypatch.setattr(sys, "stdin", stdin)
        code = main([str(token) for token in tokens])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tokenizer = Tokenizer.train(["the cat sat on the mat"] * 9, "wordpiece", 60, special={
        "pad": "[PAD]", "unknown": "[UNK]", "class": "[CLS]", "separator": "[SEP]", "mask": "[MASK]",
    })  # fmt: skip
    sizes = {"d_model": 16, "n_heads": 2, "context_length": 32, "encoder": {"n_layers": 1}, "decoder": None}
    config = ModelConfig.from_dict({"vocab_size": tokenizer.vocab_size, **sizes})
    place = tmp_path_factory.mktemp("models") / "hidden"
    save_model(place, Transformer(config), tokenizer)
    return place


def test_lint_reads_labels_and_says_what_contradicts(run, tmp_path):
    (tmp_path / "a.tsv").write_text("text\tlabel\nfine\tgood\nfine\tbad\nso so\tgood\n")
    code, out, _ = run("lint", tmp_path / "a.tsv", "--task", "classify")
    assert code == 0
    assert "! contradictions" in out
    assert "fine: good" in out
    records = [
        json.loads(line) for line in run("lint", tmp_path / "a.tsv", "--task", "classify", "--json")[1].splitlines()
    ]
    assert {"texts", "labels", "contradictions"} <= {record["what"] for record in records}


def test_lint_counts_the_tokens_of_a_run(run, folder, tmp_path):
    (tmp_path / "a.txt").write_text("the cat\n" + "the mat " * 40 + "\n")
    out = run("lint", tmp_path / "a.txt", "--model", folder)[1]
    assert "50.0% of texts are longer than the 32 tokens" in out
    assert run("lint", tmp_path / "absent.txt")[0] == 2
    code, _, err = run("lint", tmp_path / "a.txt", "--model", tmp_path / "absent")
    assert (code, err.count("\n")) == (2, 1)


def test_fill_names_the_likeliest_words(run, folder):
    code, out, _ = run("fill", folder, "the [MASK] sat", "--top", "2")
    assert code == 0
    first, second = out.splitlines()
    assert "[MASK]" not in first
    assert second.count("%") == 2
    record = json.loads(run("fill", folder, "the [MASK] sat", "--json")[1])
    assert record["filled"] == first
    [blank] = record["blanks"]
    assert record["text"][blank["start"] : blank["end"]] == "[MASK]"
    assert len(blank["candidates"]) == 5
    shares = [one["probability"] for one in blank["candidates"]]
    assert shares == sorted(shares, reverse=True)


def test_fill_takes_lines_and_refuses_what_hides_nothing(run, folder):
    assert len(run("fill", folder, "--json", piped="a [MASK]\nthe [MASK] mat\n")[1].splitlines()) == 2
    code, _, err = run("fill", folder, "nothing hidden")
    assert code == 2
    assert "[MASK]" in err
