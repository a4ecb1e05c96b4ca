"""The command line in this process: what it prints, and what it says when something is wrong."""

import io
import json
import sys

import numpy as np
import pytest
import torch

from regard import training
from regard.bundle import load
from regard.cli import VERBS, app, main
from regard.cli.doctor import KERNELS
from regard.evaluation import evaluate
from regard.store import save_model
from tests.generation.models import byte_tokenizer, decoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs") / "tales"
    save_model(place, decoder(vocab_size=257, seed=3).float(), byte_tokenizer())
    return str(place)


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs a command line; gives exit code, standard output and standard error."""

    def run(*tokens, stdin=None):
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin or ""))
        code = main([str(token) for token in tokens])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_alone_it_shows_its_help_with_every_verb(run):
    code, out, _ = run()
    assert code == 0
    assert out == run("--help")[1]
    assert all(verb in out and what in out for verb, what in VERBS.items())
    assert run("--version")[1].strip().count(".") == 2


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_of_its_own(run, verb):
    code, out, _ = run(verb, "--help")
    assert code == 0
    assert f"regard {verb}" in out


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "show"])
def test_a_verb_says_the_same_in_both_helps(verb):
    assert app()[verb].help.splitlines()[0] == VERBS[verb]


WRONG = {
    ("generat", "x"): "there is no command 'generat'; did you mean 'generate'?",
    ("--halp",): "there is no option '--halp'; did you mean '--help'?",
    ("generate", "x", "--token", "3"): "Unknown option: --token. Did you mean --tokens?",
    ("generate", "x", "--tokens", "many"): "unable to convert",
    ("generate",): "MODEL requires an argument",
    ("generate", "x", "y", "z"): "['z']",
    ("evaluate", "absent"): "there is no folder 'absent'",
    ("train", "gtp"): "no recipe is called 'gtp'; did you mean 'gpt'?",
    ("train", "training.stps=4"): "has no setting 'stps'; did you mean 'steps'?",
    ("reproduce", "vaswani"): "there is no paper 'vaswani'; did you mean 'vaswani2017'?",
    ("train", "--size", "huge"): "--size",
    ("train", "--data", "absent.txt"): "there is no file or folder 'absent.txt'",
}


@pytest.mark.parametrize("tokens", WRONG, ids=" ".join)
def test_what_is_wrong_is_one_line_with_the_nearest_right_one(run, tokens, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*tokens)
    assert code == 2
    assert out == ""
    assert WRONG[tokens] in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_text_in_the_place_of_the_recipe_is_told(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tales.txt").write_text("once")
    for tokens in (["tales.txt"], ["gpt", "tales.txt"]):
        code, _, err = run("train", *tokens, "--quiet")
        assert (code, err.count("\n")) == (2, 1)
        assert "give --data tales.txt" in err


@pytest.mark.parametrize("make", [torch.empty, np.empty])
def test_too_little_memory_is_one_line(run, monkeypatch, make):
    monkeypatch.setattr(training, "train", lambda *_, **__: make(2**50))
    assert run("train", "gpt")[::2] == (
        2,
        "regard: the memory is not enough for this: take a smaller batch_size, context_length or model.\n",
    )


def test_wrong_sampling_is_one_line(run, folder):
    for option, value in (
        ("--temperature", "-1"),
        ("--top-p", "2"),
        ("--samples", "0"),
        ("--tokens", "-1"),
        ("--stop", ""),
    ):
        code, _, err = run("generate", folder, "a", option, value)
        assert (code, err.count("\n")) == (2, 1), err


def test_generate_prints_the_prompt_and_what_the_model_writes(run, folder):
    expected = "ab" + load(folder).generate("ab", 12, seed=3, top_k=20)
    options = ["--tokens", 12, "--seed", 3, "--top-k", 20]
    assert run("generate", folder, "ab", *options)[1] == expected + "\n"
    for tokens in ([folder], [folder, "-"], ["-", folder][::-1]):
        assert run("generate", *tokens, *options, stdin="ab\n")[1] == expected + "\n"
    assert run("generate", folder, *options, stdin="")[1] == load(folder).generate("", 12, seed=3, top_k=20) + "\n"


def test_a_prompt_may_begin_with_a_dash(run, folder):
    code, out, _ = run("generate", folder, "--tokens", 2, "--", "--what")
    assert code == 0
    assert out.startswith("--what")


def test_samples_follow_each_other_in_order(run, folder):
    _, out, _ = run("generate", folder, "ab", "--tokens", 9, "--seed", 5, "--samples", 3)
    parts = [f"— {i + 1} of 3, seed {5 + i}\nab{load(folder).generate('ab', 9, seed=5 + i)}\n" for i in range(3)]
    assert out == "\n".join(parts)


def test_probabilities_are_those_of_the_stream(run, folder):
    _, out, _ = run("generate", folder, "ab", "--tokens", 6, "--seed", 1, "--show-probabilities")
    lines = out.splitlines()[2:]
    for line, piece in zip(lines, load(folder).stream("ab", 6, seed=1), strict=True):
        assert line.startswith(repr(piece.token))
        assert f"{piece.probability:.1%}" in line
        others = [other for other in piece.candidates if other.id != piece.id]
        assert f"{others[0].token!r} {others[0].probability:.1%}" in line
        assert line.count("%") == 4


def test_json_is_one_object_a_text(run, folder):
    options = ["--tokens", 6, "--seed", 4, "--samples", 2, "--json", "--show-probabilities"]
    _, out, _ = run("generate", folder, "天", *options)
    first, second = map(json.loads, out.splitlines())
    assert [first["text"], second["text"]] == load(folder).generate("天", 6, seed=4, samples=2)
    assert (first["prompt"], second["seed"], first["finished"], first["tokens"]) == ("天", 5, "limit", 6)
    assert sum(piece["log_probability"] for piece in first["pieces"]) == pytest.approx(first["log_probability"])
    assert len(first["pieces"][0]["candidates"]) == 4


def test_stop_strings_may_be_given_again(run, folder):
    whole = load(folder).generate("ab", 20, seed=3)
    stops = [whole[7:9], whole[4:6]]
    _, out, _ = run("generate", folder, "ab", "--tokens", 20, "--seed", 3, "--stop", stops[0], "--stop", stops[1])
    assert out == f"ab{load(folder).generate('ab', 20, seed=3, stop=stops)}\n"
    assert len(out) < len(whole)


def test_a_prompt_past_the_context_is_told_or_refused(run, folder):
    code, out, err = run("generate", folder, "a" * 40, "--tokens", 3)
    assert code == 0
    assert "40 tokens long, and the model sees its last 24" in err
    code, out, err = run("generate", folder, "a" * 40, "--tokens", 3, "--overflow", "refuse")
    assert (code, out) == (2, "")
    assert "40 tokens long, and the model sees 24" in err


def test_evaluate_prints_what_python_finds(run, folder, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("天地玄黄，宇宙洪荒。" * 5, encoding="utf-8")
    found = evaluate(load(folder), text, stride=7)
    assert run("evaluate", folder, "--data", text, "--stride", 7)[1] == f"{found}\n"
    values = json.loads(run("evaluate", folder, "--data", text, "--stride", 7, "--json")[1])
    assert {key: values[key] for key in found.to_dict()} == found.to_dict()
    code, _, err = run("evaluate", folder)
    assert code == 2
    assert "name one to evaluate on" in err


class FakeRun:
    folder, ended = "runs/fake", "finished"

    def __str__(self):
        return "the run"


def test_train_passes_on_what_it_was_told(run, monkeypatch):
    told = []
    monkeypatch.setattr(training, "train", lambda *args, **more: told.append((args, more)) or FakeRun())
    line = "train gpt-char --data a.txt --data - --out o --steps 5 --seed 2 --size small --checkpoint-every 3"
    code, out, err = run(*line.split(), "--tokenizer", "t.json", "--fresh", "training.clip=2", "model.d_model=64")
    assert (code, out) == (0, "the run\n")
    assert "regard generate runs/fake" in err
    assert told == [
        (
            ("gpt-char", ["a.txt", "-"], "o"),
            {
                "target": None,
                "validation": None,
                "start": None,
                "steps": 5,
                "size": "small",
                "seed": 2,
                "tokenizer": "t.json",
                "overrides": ["training.clip=2", "model.d_model=64", "training.checkpoint_every=3"],
                "resume": False,
                "quiet": False,
            },
        )
    ]
    run("train", "training.clip=2")
    assert told[1][0] == (None, None, None)
    assert told[1][1]["overrides"] == ["training.clip=2"]
    FakeRun.ended = "interrupted"
    assert run("train")[0] == 130


def test_interrupting_is_quiet(run, monkeypatch):
    def interrupted(*args, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", interrupted)
    code, _, err = run("train")
    assert code == 130
    assert "Traceback" not in err


def test_doctor_finds_this_machine_well(run):
    code, out, _ = run("doctor", "--quick")
    assert code == 0
    assert "All is well." in out
    assert all(f"{kernel}, cpu {dtype}" in out for kernel in KERNELS for dtype in ("float32", "bfloat16"))


def test_doctor_names_a_kernel_that_computes_something_else(run, monkeypatch):
    kernel = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional, "scaled_dot_product_attention", lambda *a, **k: kernel(*a, **k) * (1 + 1e-3)
    )
    code, out, _ = run("doctor", "--quick", "--json")
    values = json.loads(out)
    assert code == 1
    assert not values["well"]
    wrong = {finding["what"] for finding in values["findings"] if finding["verdict"] == "wrong"}
    assert "attention, cpu float32" in wrong
    assert "linear, cpu float32" not in wrong
