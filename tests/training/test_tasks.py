"""Each task on examples is learnt, from a file to a model, and what can be wrong is said in one sentence."""

import json
import random
from pathlib import Path

import pytest

from regard.cli import main
from regard.settings import RegardError, SettingsError
from regard.store import load_model
from regard.training import RunConfig, train
from regard.training.metrics import read
from tests.training import tasks_small as small


def learnt(name: str, data: Path, out: Path, *more: str, steps: int | None = 150):
    overrides = (*small.SMALL, "training.evaluate_every=75", *more)
    return train(name, data, out, steps=steps, overrides=overrides, quiet=True)


def test_classes(tmp_path: Path) -> None:
    run = learnt("classify", small.table(tmp_path / "t.tsv", small.rows()), tmp_path / "run")
    assert run.measures["accuracy"] > 0.95
    assert next(iter(run.measures)) == "accuracy"
    config = RunConfig.from_toml((tmp_path / "run" / "run.toml").read_text())
    assert config.model.head.to_dict()["labels"] == ["x", "y"]
    assert load_model(tmp_path / "run").config == config.model
    lines = read(tmp_path / "run" / "metrics.jsonl")
    assert [line["accuracy"] for line in lines if "accuracy" in line][-1] == run.measures["accuracy"]
    assert any("→ x" in line.get("sample", "") or "→ y" in line.get("sample", "") for line in lines)


def test_labels_that_are_numbers_stand_in_their_order(tmp_path: Path) -> None:
    draw = random.Random(0)
    data = small.table(tmp_path / "t.tsv", [(small.letters(draw), str(draw.choice([1, 2, 10]))) for _ in range(60)])
    learnt("classify", data, tmp_path / "run", steps=1)
    assert load_model(tmp_path / "run").config.head.to_dict()["labels"] == ["1", "2", "10"]


def test_pairs_of_texts(tmp_path: Path) -> None:
    draw = random.Random(0)
    made = [(small.letters(draw, draw.randint(1, 6)) + "xy", draw.choice("xy"), "") for _ in range(300)]
    made = [(first, small.letters(draw, 3) + second, second) for first, second, _ in made]
    data = small.table(tmp_path / "t.tsv", made, ("sentence1", "sentence2", "label"))
    run = learnt("pair", data, tmp_path / "run", steps=200)
    assert run.measures["accuracy"] > 0.9


def test_pair_needs_two_texts(tmp_path: Path) -> None:
    with pytest.raises(RegardError, match="line 2, has one text, and the recipe pair learns from two"):
        learnt("pair", small.table(tmp_path / "t.tsv", small.rows(20)), tmp_path / "run")


def test_several_labels(tmp_path: Path) -> None:
    made = [(text, "|".join(sorted({c for c in text if c in "abc"})) or "none") for text, _ in small.rows(400)]
    data = small.table(tmp_path / "t.tsv", made, ("text", "labels"))
    run = learnt("multilabel", data, tmp_path / "run", "data.separator=|", steps=200)
    assert run.measures["micro_f1"] > 0.9


def test_numbers(tmp_path: Path) -> None:
    made = [(text, str(1000 + 3 * len(text))) for text, _ in small.rows(300)]
    run = learnt("regress", small.table(tmp_path / "t.tsv", made, ("text", "score")), tmp_path / "run", steps=200)
    assert run.measures["pearson"] > 0.9
    head = load_model(tmp_path / "run").config.head.to_dict()
    assert 1005 < head["mean"] < 1040
    assert 3 < head["spread"] < 20


def test_tags(tmp_path: Path) -> None:
    run = learnt("tag", small.conll(tmp_path / "t.conll"), tmp_path / "run")
    assert run.measures["f1"] > 0.9


def test_answers(tmp_path: Path) -> None:
    run = learnt("answer", small.questions(tmp_path / "q.jsonl"), tmp_path / "run")
    assert run.measures["f1"] > 0.8
    assert load_model(tmp_path / "run").config.head.to_dict()["no_answer"]


def test_vectors(tmp_path: Path) -> None:
    run = learnt("embed", small.pairs(tmp_path / "p.tsv"), tmp_path / "run", "data.validation_fraction=0.1", steps=100)
    assert run.measures["accuracy@1"] > 0.6


def test_epochs_set_the_steps_and_giving_steps_overrides_them(tmp_path: Path) -> None:
    data = small.table(tmp_path / "t.tsv", small.rows(160))
    run = learnt("classify", data, tmp_path / "run", "training.epochs=2", "data.validation_fraction=0", steps=None)
    assert run.step == 20
    assert learnt("classify", data, tmp_path / "run", "data.validation_fraction=0", steps=23).step == 23


def test_a_rare_class_counts_for_more(tmp_path: Path) -> None:
    made = [("abc" + text, label) for text, label in small.rows(100) if label == "x" or text[0] == "a"]
    data = small.table(tmp_path / "t.tsv", made)
    learnt("classify", data, tmp_path / "run", "training.class_weights=balanced", "data.validation_fraction=0", steps=1)
    head = load_model(tmp_path / "run").config.head.to_dict()
    counts = [sum(label == name for _, label in made) for name in "xy"]
    assert head["weights"] == pytest.approx([len(made) / (2 * count) for count in counts])


def test_a_killed_run_ends_in_the_same_bits(tmp_path: Path) -> None:
    data = small.table(tmp_path / "t.tsv", small.rows(100))
    more = ("training.epochs=none", "model.dropout=0.1", "training.r_drop=1.0", "training.checkpoint_every=5")
    schedule = '{kind="constant", learning_rate=0.01}'
    for out, steps in (("whole", (19,)), ("cut", (8, 13, 19))):
        for step in steps:
            learnt("classify", data, tmp_path / out, *more, f"training.schedule={schedule}",
                   "training.evaluate_every=4", steps=step)  # fmt: skip
    whole, cut = (max((tmp_path / out / "checkpoints").iterdir()) for out in ("whole", "cut"))
    assert {file.name: file.read_bytes() for file in whole.iterdir() if file.suffix == ".safetensors"} == {
        file.name: file.read_bytes() for file in cut.iterdir() if file.suffix == ".safetensors"
    }
    kept = [
        {line["step"]: line for line in read(tmp_path / out / "metrics.jsonl") if line["step"] == 19 and "loss" in line}
        for out in ("whole", "cut")
    ]
    assert kept[0][19]["gradient_norm"] == kept[1][19]["gradient_norm"]


def test_texts_that_are_too_long_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = small.table(tmp_path / "t.tsv", [*small.rows(40), ("a" * 50_000, "x")])
    train("classify", data, tmp_path / "run", steps=1, overrides=small.SMALL)
    assert "1 of 41 examples were too long for the model and lost their ends, 49,938 tokens in all" in " ".join(
        capsys.readouterr().err.split()
    )


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ([("a", "x"), ("b", "x")], "have the label 'x': there is nothing to tell apart"),
        ([("a", "x"), ("b", "")], "has no label in the column 'label'"),
    ],
)
def test_labels_that_cannot_be_learnt(tmp_path: Path, made: list[tuple[str, str]], said: str) -> None:
    with pytest.raises(RegardError, match=said):
        learnt("classify", small.table(tmp_path / "t.tsv", made), tmp_path / "run", "data.validation_fraction=0")


def test_an_unseen_label_in_validation_is_named(tmp_path: Path) -> None:
    data, other = small.table(tmp_path / "t.tsv", small.rows(20)), small.table(tmp_path / "v.tsv", [("a", "z")])
    with pytest.raises(RegardError, match=r"v.tsv, line 2, has the label 'z', which is in no training example \(they"):
        train("classify", data, tmp_path / "run", validation=other, overrides=small.SMALL, quiet=True)


def test_what_a_head_does_not_know_is_refused(tmp_path: Path) -> None:
    data = small.conll(tmp_path / "t.conll", 20)
    with pytest.raises(SettingsError, match=r"training.r_drop is nothing to a tag head \(it is for classify\)"):
        learnt("tag", data, tmp_path / "run", "training.r_drop=1.0")


def test_a_decoder_cannot_learn_labels(tmp_path: Path) -> None:
    data = small.table(tmp_path / "t.tsv", small.rows(20))
    with pytest.raises(SettingsError, match="take the recipe classify, pair, multilabel or regress"):
        train("gpt-char", data, tmp_path / "run", overrides=("data.kind=labelled",), quiet=True)


def test_a_question_in_several_windows(tmp_path: Path) -> None:
    """Each window has the question, the answer's place is that of its text, and windows without it point at 0."""
    from regard.data.example_store import ExampleStore
    from regard.store import load_tokenizer

    context = "".join(f"word{n} " for n in range(40)) + "X777 end"
    answer = {"text": "777", "start": context.index("777")}
    path = tmp_path / "q.jsonl"
    path.write_text(
        "".join(json.dumps({"question": "X?", "context": context, "answers": [answer]}) + "\n" for _ in range(3))
    )
    learnt("answer", path, tmp_path / "run", "data.validation_fraction=0", "training.overlap=10", steps=1)
    part, tokenizer = ExampleStore.open(tmp_path / "run" / "data").train, load_tokenizer(tmp_path / "run")
    found = 0
    for number in range(int(part.starts[1])):
        row, (start, end) = part.row(number), part.target(number)
        text = tokenizer.decode(row)
        assert text.startswith("X?")
        assert len(row) <= 64
        assert (start > 0) == ("777" in text)
        if start:
            assert tokenizer.decode(row[start : end + 1]) == "777"
            found += 1
    assert found == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["classify", "data.label=mood"], "mood"),
        (["classify", "data.text=body"], "body"),
        (["classify", "--task", "tag"], "are two things to train"),
        (
            ["classify", "training.max_length=100", "model.context_length=50"],
            "training.max_length is 100, and the model",
        ),
        (["regress"], "which is no number to learn"),
        (["answer"], "has no text under 'question'"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    data = small.table(tmp_path / "t.tsv", small.rows(20))
    assert main(["train", *arguments, "--data", str(data), "--out", str(tmp_path / "run"), "--steps", "1"]) == 2
    last = " ".join(capsys.readouterr().err.split())
    assert "Traceback" not in last
    assert said in last


def test_blank_texts_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = small.table(tmp_path / "t.tsv", [*small.rows(20), ("  ", "x")])
    train("classify", data, tmp_path / "run", steps=1, overrides=small.SMALL)
    assert "1 " in capsys.readouterr().err
    config = RunConfig.from_toml((tmp_path / "run" / "run.toml").read_text())
    assert config.model.head.to_dict()["labels"] == ["x", "y"]
