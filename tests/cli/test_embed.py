"""`regard embed`: vectors as JSONL and .npy, and the nearest texts of a file."""

import json

import numpy as np
import pytest

from regard.bundle import load
from tests.cli.test_predict import folder, place, run  # noqa: F401 — fixtures


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("a cat\n\nthe dog\na cat sat\n", encoding="utf-8")
    return path


def test_vectors_belong_to_their_lines(run, folder, texts, tmp_path):  # noqa: F811
    code, out, _ = run("embed", folder("embed"), texts)
    assert code == 0
    records = list(map(json.loads, out.splitlines()))
    expected = load(folder("embed")).embed(["a cat", "", "the dog", "a cat sat"])
    assert [record["text"] for record in records] == ["a cat", "", "the dog", "a cat sat"]
    np.testing.assert_array_equal(np.float32([record["vector"] for record in records]), expected)
    code, out, err = run("embed", folder("embed"), texts, "--out", tmp_path / "v.npy")
    assert (code, out) == (0, "")
    assert err == f"regard: 4 vectors of 24 are in {tmp_path / 'v.npy'}.\n"
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), expected)
    one = json.loads(run("embed", folder("embed"), "--text", "a cat")[1])
    np.testing.assert_allclose(one["vector"], expected[0], atol=1e-5)


def test_many_parts_make_one_file(run, folder, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("regard.prediction.embed.CHUNK", 3)
    lines = [f"text number {n}" for n in range(11)]
    code, *_ = run("embed", folder("embed"), "-", "--out", tmp_path / "v.npy", piped="\n".join(lines))
    assert code == 0
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), load(folder("embed")).embed(lines), atol=1e-5)


def test_the_nearest_are_found(run, folder, texts):  # noqa: F811
    code, out, _ = run("embed", folder("embed"), texts, "--search", "a cat", "--top", "2")
    assert code == 0
    assert out.splitlines()[0] == " 1.000  a cat"
    records = list(map(json.loads, run("embed", folder("embed"), texts, "--search", "a cat", "--json")[1].splitlines()))
    found = load(folder("embed")).search("a cat", ["a cat", "", "the dog", "a cat sat"])
    assert [record["number"] for record in records] == [hit.number + 1 for hit in found]
    assert len(records) == 3


@pytest.mark.parametrize(
    ("kind", "tokens", "message"),
    [
        ("classify", ["--text", "a"], "classify gives the class of a text: use predict, not embed."),
        ("embed", ["--text", ""], "the text is empty: give --text a few words."),
        ("embed", ["--text", "a", "--out", "v.txt"], "'v.txt' does not end so."),
        ("embed", ["x", "--search", "a", "--out", "v.npy"], "give one of them."),
        ("embed", ["--text", "a", "--search", " "], "the query is empty: give a few words to search for."),
        ("embed", ["--text", "a", "--search", "b", "--top", "0"], "the number of texts to find is 1 or more, got 0."),
        ("embed", ["no-such-file"], "no-such-file"),
    ],
)
def test_what_is_wrong_is_one_sentence(run, folder, kind, tokens, message):  # noqa: F811
    code, out, err = run("embed", folder(kind), *tokens)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err
