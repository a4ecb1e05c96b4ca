"""`regard evaluate` of an encoder with a task's head: scores, pictures, JSON; what is wrong is one sentence."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from regard import heads
from regard.cli import main
from regard.store import save_model
from tests.prediction.models import byte_tokenizer, encoder

TOKENIZER = byte_tokenizer()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("encoders")
    for name, head in {"classes": heads.Classify(labels=("bad", "good")), "numbers": heads.Regress()}.items():
        save_model(place / name, encoder(head, TOKENIZER.vocab_size).float(), TOKENIZER)
    (place / "dev.tsv").write_text("text\tlabel\nhello\tgood\nno\tbad\nzz\tbad\nwonderful\tgood\n")
    (place / "scores.tsv").write_text("text\tscore\nhello\t1\nno\t-2\nzz\t0.5\n")
    return place


@pytest.fixture
def run(capsys):
    def run(*tokens):
        code = main(["evaluate", *map(str, tokens)])
        return code, *capsys.readouterr()

    return run


def test_scores_are_printed_with_their_conventions(run, place):
    code, out, err = run(place / "classes", "--data", place / "dev.tsv", "--worst", "2")
    assert code == 0
    for part in (
        "accuracy",
        "0/0 = 0",
        "calibration error",
        "true ↓ predicted →",
        "the 2 worst, by loss",
        "1,000 draws",
    ):
        assert part in out, part
    assert "data.label=…" in err  # which columns were chosen


def test_json_and_pictures(run, place):
    pictures = place / "confusion.svg", place / "sure.svg"
    options = ("--picture", pictures[0], "--reliability", pictures[1], "--json")
    code, out, err = run(place / "classes", "--data", place / "dev.tsv", "data.text=text", "data.label=2", *options)
    assert code == 0
    found = json.loads(out)
    assert found["examples"] == 4
    assert 0 <= found["measures"]["accuracy"]["low"] <= found["measures"]["accuracy"]["value"] <= 1
    assert found["labels"] == ["bad", "good"]
    assert len(found["worst"]) == 4
    for picture in pictures:
        assert ElementTree.parse(picture).getroot().tag.endswith("svg")
        assert str(picture) in err


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (("classes",), "holds no examples of its own"),
        (("classes", "data.label=2"), "would change nothing without it"),
        (("classes", "--data", "dev.tsv", "--beams", "4"), "--beams would change nothing"),
        (("classes", "--data", "dev.tsv", "--stride", "4"), "--stride would change nothing"),
        (("classes", "--data", "dev.tsv", "--language", "de"), "--language would change nothing"),
        (("classes", "--data", "dev.tsv", "--worst", "-1"), "--worst is 0 or more"),
        (("classes", "--data", "dev.tsv", "--picture", "c.png"), "does not end in .svg"),
        (("classes", "--data", "scores.tsv", "data.label=score"), "has the label '1', and the model knows bad, good"),
        (("classes", "--data", "absent.tsv"), "absent.tsv"),
        (("numbers", "--data", "scores.tsv", "--picture", "c.svg"), "--picture is drawn of classify, tag"),
    ],
)
def test_what_is_wrong_is_one_sentence(run, place, monkeypatch, tokens, said):
    monkeypatch.chdir(place)
    code, out, err = run(*tokens)
    assert code == 2
    last = err.strip().split("\n")[-1]
    assert last.startswith("regard: ")
    assert said in last
    assert out == ""
    assert "Traceback" not in err


def test_other_models_have_no_use_for_options_of_tasks(run, place):
    from tests.generation.models import byte_tokenizer as plain
    from tests.generation.models import decoder

    save_model(place / "lm", decoder(vocab_size=257).float(), plain())
    code, _, err = run(place / "lm", "--worst", "3", "--picture", "c.svg")
    assert code == 2
    assert "--picture and --worst would change nothing" in err
