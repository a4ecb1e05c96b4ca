"""`regard predict`: line n out for line n in, as tables, JSONL, CoNLL and SQuAD; what is wrong is one sentence."""

import io
import json
import sys

import pytest

from regard import heads
from regard.bundle import load
from regard.cli import main
from regard.store import save_model
from tests.generation.models import byte_tokenizer as plain_bytes
from tests.generation.models import decoder
from tests.prediction.models import byte_tokenizer, encoder

HEADS = {
    "classify": heads.Classify(labels=("bad", "good")),
    "multilabel": heads.MultiLabel(labels=("p", "q", "r")),
    "regress": heads.Regress(),
    "tag": heads.Tag(labels=("O", "B-x", "I-x")),
    "answer": heads.Answer(no_answer=True),
    "embed": heads.Embed(),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def folder(place):
    def made(kind):
        if not (place / kind).exists():
            model = encoder(HEADS[kind], byte_tokenizer().vocab_size, context_length=64)
            save_model(place / kind, model.float(), byte_tokenizer())
        return str(place / kind)

    return made


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


def test_each_line_has_its_answer(run, folder, tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("one\n\nthree men\n", encoding="utf-8")
    code, out, err = run("predict", folder("classify"), path)
    assert (code, err) == (0, "")
    records = list(map(json.loads, out.splitlines()))
    assert [record["text"] for record in records] == ["one", "", "three men"]
    assert records[1] == {"text": "", "label": None, "probability": None, "probabilities": {}}
    model = load(folder("classify"))
    for record in (records[0], records[2]):
        found = model.predict(record["text"])
        assert record["label"] == found.label
        assert record["probabilities"] == pytest.approx(found.probabilities, abs=1e-5)
    assert run("predict", folder("classify"), "-", piped="one\n\nthree men\n")[1] == out
    assert run("predict", folder("classify"), piped="one\n\nthree men\n")[1] == out
    assert json.loads(run("predict", folder("classify"), "--text", "one", "--top", "1")[1])["probabilities"].keys() == {
        records[0]["label"]
    }


def test_a_file_in_another_encoding_is_read_as_it_is_named(run, folder, tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes("Der Hund schläft\n".encode("latin-1"))
    code, out, _ = run("predict", folder("classify"), path, "--encoding", "latin-1")
    assert (code, json.loads(out)["text"]) == (0, "Der Hund schläft")
    code, _, err = run("predict", folder("classify"), path, "--encoding", "utf-8")
    assert code == 2
    assert "--encoding" in err
    code, out, _ = run("embed", folder("embed"), path, "--encoding", "latin-1")
    assert (code, json.loads(out)["text"]) == (0, "Der Hund schläft")


def test_a_table_is_for_people(run, folder, tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text(f"one\n\n{'long ' * 11}\n", encoding="utf-8")
    lines = run("predict", folder("classify"), path, "--format", "table")[1].split("\n")
    one, label = load(folder("classify")).predict(["one"])[0], load(folder("classify")).predict("one").label
    assert lines[0] == f"{label} {one.probability:6.1%}  one"
    assert lines[1].split() == ["–"]
    assert len(lines[0].split("  one")[0]) == len(lines[1].rstrip("\n")) - 2
    both = run("predict", folder("classify"), path, "--format", "table", "--top", "2")[1]
    assert "bad" in both.split("\n")[0]
    assert "good" in both.split("\n")[0]


@pytest.mark.parametrize("kind", ["multilabel", "regress"])
def test_labels_and_numbers(run, folder, kind):
    record = json.loads(run("predict", folder(kind), "--text", "hello")[1])
    found = load(folder(kind)).predict("hello")
    if kind == "regress":
        assert record == {"text": "hello", "value": pytest.approx(found.value)}
    else:
        assert tuple(record["labels"]) == found.labels
    assert run("predict", folder(kind), "--text", "hello", "--format", "table")[1].endswith("hello\n")


def test_columns_are_found_or_named(run, folder, tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("id\tsentence1\tsentence2\tlabel\n1\tone\ttwo\tbad\n2\ta\tb\tgood\n", encoding="utf-8")
    records = list(map(json.loads, run("predict", folder("classify"), path)[1].splitlines()))
    assert [(record["text"], record["second"]) for record in records] == [("one", "two"), ("a", "b")]
    found = load(folder("classify")).predict(("one", "two"))
    assert records[0]["probabilities"] == pytest.approx(found.probabilities, abs=1e-5)
    alone = run("predict", folder("classify"), path, "--column", "sentence2", "--second-column", "none")[1]
    assert [json.loads(line)["text"] for line in alone.splitlines()] == ["two", "b"]
    pair = json.loads(run("predict", folder("classify"), "--text", "one", "--second", "two")[1])
    assert pair["probabilities"] == pytest.approx(records[0]["probabilities"], abs=1e-5)


def test_tags_go_out_as_they_came_in(run, folder, tmp_path):
    path = tmp_path / "words.conll"
    path.write_text("Ada\tB-x\nwrote\tO\n\nSo\tO\n\n", encoding="utf-8")
    code, out, _ = run("predict", folder("tag"), path, "--format", "conll")
    assert code == 0
    assert [line.split("\t")[0] for line in out.split("\n")] == ["Ada", "wrote", "", "So", "", ""]
    tags = [line.split("\t")[1] for line in out.split("\n") if line]
    found = load(folder("tag")).predict([("Ada", "wrote"), ("So",)])
    assert tags == [tag for one in found for tag in one.tags]
    record = json.loads(run("predict", folder("tag"), "--text", "Ada wrote.", "--top", "2")[1])
    assert record["words"] == ["Ada", "wrote", "."]
    assert len(record["probabilities"][0]) == 2
    assert all(record["text"][one["start"] : one["end"]] == one["text"] for one in record["entities"])
    assert run("predict", folder("tag"), "--text", "Ada wrote.", "--format", "table")[1].startswith("Ada wrote.\n  ")


def test_questions_of_a_file_and_of_the_command_line(run, folder, tmp_path):
    context = "The tower was built in 1889."
    asked = [{"id": f"q{n}", "question": question, "answers": []} for n, question in enumerate(["When?", "What?"])]
    path = tmp_path / "squad.json"
    squad = {"data": [{"title": "t", "paragraphs": [{"context": context, "qas": asked}]}]}
    path.write_text(json.dumps(squad), encoding="utf-8")
    answers = json.loads(run("predict", folder("answer"), path, "--format", "squad")[1])
    found = load(folder("answer")).answer("When?", context, 3)
    assert answers.keys() == {"q0", "q1"}
    assert answers["q0"] == found.text
    one = json.loads(run("predict", folder("answer"), "--question", "When?", "--context", context, "--top", "3")[1])
    assert one["answer"] == found.text
    assert [answer["text"] for answer in one["answers"]] == [answer.text for answer in found.answers]
    (tmp_path / "context.txt").write_text(context, encoding="utf-8")
    again = run("predict", folder("answer"), tmp_path / "context.txt", "--question", "When?", "--top", "3")[1]
    assert json.loads(again)["answers"] == one["answers"]
    assert "When?\n  " in run("predict", folder("answer"), path, "--format", "table")[1]


@pytest.mark.parametrize(
    ("kind", "tokens", "message"),
    [
        ("embed", ["--text", "a"], "embed gives a vector for a text: use embed, not predict."),
        ("classify", [], "there is nothing to read: name a file, pipe text in, or give --text."),
        ("classify", ["no-such-file"], "no-such-file"),
        ("classify", ["--text", " "], "the text is empty: give --text a few words."),
        ("classify", ["x", "--text", "a"], "give a file or --text, and not both."),
        ("classify", ["x", "--second", "a"], "--second goes with --text; in a file the second texts have a column."),
        ("classify", ["--question", "a"], "--question would change nothing."),
        ("classify", ["--text", "a", "--top", "0"], "--top is 1 or more, got 0."),
        ("classify", ["--text", "a", "--format", "conll"], "--format conll is for a model that tags words."),
        (
            "classify",
            ["--text", "a", "--format", "squad"],
            "--format squad is for a model that answers questions about a text.",
        ),
        ("tag", ["--text", "a", "--long", "begin"], "leave out long='begin'."),
        ("answer", ["--text", "a"], "--text would change nothing."),
        ("answer", ["--question", "a", "--context", " "], "the context is empty: give a few words."),
        ("answer", ["--context", "a"], "--context goes with --question: ask something."),
    ],
)
def test_what_is_wrong_is_one_sentence(run, folder, kind, tokens, message):
    code, out, err = run("predict", folder(kind), *tokens)
    assert (code, out) == (2, "")
    assert err.startswith("regard: ")
    assert err.count("\n") == 1
    assert message in err


def test_a_missing_column_is_named(run, folder, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("sentence,label\na,b\n", encoding="utf-8")
    code, _, err = run("predict", folder("classify"), path, "--column", "sentense")
    assert code == 2
    assert "sentense" in err


def test_a_decoder_generates(run, place):
    save_model(place / "lm", decoder(vocab_size=257).float(), plain_bytes())
    code, _, err = run("predict", place / "lm", "--text", "a")
    assert (code, err) == (2, "regard: lm continues a text: use generate, not predict.\n")
