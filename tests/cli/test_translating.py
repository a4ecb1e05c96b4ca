"""A translator on the command line: lines by pipe, n-best, JSON, alignments, scores; what is wrong is one sentence."""

import io
import json
import sys

import pytest

from regard.bundle import load
from regard.cli import main
from regard.generation import Beam, Refinement, Sampling
from regard.heads.length import Length
from regard.model import ModelConfig, Normal, PreNorm, StackConfig, Transformer
from regard.positions import Learned, Rotary
from regard.store import save_model
from tests.generation.models import byte_tokenizer, decoder

TOKENIZER = byte_tokenizer(("begin", "end", "mask"))


def model(position=None, **changes):
    stack = StackConfig(n_layers=1, position=position or Rotary(), residual=PreNorm())
    sizes = {"d_model": 16, "n_heads": 2, "context_length": 24, "initialisation": Normal(std=0.4)}
    config = ModelConfig(vocab_size=TOKENIZER.vocab_size, encoder=stack, decoder=stack, **sizes, **changes)
    return Transformer(config, 3).eval()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def folder(place):
    save_model(place / "mt", model(), TOKENIZER)
    return str(place / "mt")


@pytest.fixture(scope="module")
def parallel(place):
    """A model that writes all words at once."""
    save_model(place / "at-once", model(Learned(), length=Length()), TOKENIZER)
    return str(place / "at-once")


@pytest.fixture(scope="module")
def language_model(place):
    save_model(place / "lm", decoder(vocab_size=257).float(), byte_tokenizer())
    return str(place / "lm")


@pytest.fixture(scope="module")
def pairs(place):
    path = place / "pairs.tsv"
    path.write_text("a dog\tein Hund\ncat\tKatze\n\tnichts\ntwo men run far\tzwei\n", encoding="utf-8")
    return path


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs a command line with bytes on standard input; gives exit code, standard output and standard error."""

    def run(*tokens, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        code = main([str(token) for token in tokens])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def refused(run):
    """Runs a command line that is wrong; gives the one sentence."""

    def refused(*tokens, stdin=b""):
        code, _, err = run(*tokens, stdin=stdin)
        assert code == 2
        assert err.startswith("regard: ")
        assert err.count("\n") == 1
        assert "Traceback" not in err
        return err

    return refused


TEXTS = ["a dog runs", "", "cat", "   ", "two men", "天"]


def written(folder, texts, how=None, **options):
    """What Python gives for lines, each on one."""
    best = load(folder).translate(texts, how, tokens=8, **options)
    return [" ".join(one[0].text.replace("\r", "\n").split("\n")) for one in best]


class TestLines:
    def test_order_stays_and_empty_lines_stay_empty(self, run, folder):
        expected = written(folder, TEXTS)
        assert expected[1] == expected[3] == ""
        assert len(set(expected)) > 3
        for line in ([folder], [folder, "-"]):
            code, out, err = run("generate", *line, "--tokens", 8, stdin="\n".join(TEXTS).encode() + b"\n")
            assert (code, err) == (0, "")
            assert out.split("\n") == [*expected, ""]

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_any_line_end_will_do_and_the_last_line_may_lack_it(self, run, folder, end):
        expected = "".join(f"{line}\n" for line in written(folder, ["a dog", "", "cat"]))
        for text in (f"a dog{end}{end}cat{end}", f"a dog{end}{end}cat", f"\ufeffa dog{end}{end}cat"):
            assert run("generate", folder, "--tokens", 8, stdin=text.encode())[1] == expected

    def test_a_return_inside_a_line_ends_none(self, run, folder):
        out = run("generate", folder, "--tokens", 8, stdin=b"a\rb\ncat\n")[1]
        assert out.split("\n") == [*written(folder, ["a\rb", "cat"]), ""]

    def test_more_lines_than_are_read_at_once(self, run, folder, monkeypatch):
        monkeypatch.setattr("regard.cli.lines.CHUNK", 2)
        out = run("generate", folder, "--tokens", 8, stdin="\n".join(TEXTS).encode())[1]
        assert out.split("\n") == [*written(folder, TEXTS), ""]

    def test_a_text_on_the_command_line(self, run, folder):
        assert run("generate", folder, "cat", "--tokens", 8)[1] == f"{written(folder, ['cat'])[0]}\n"

    def test_what_is_no_text_is_told_by_its_line(self, refused, folder):
        assert "line 2 of standard input is not UTF-8" in refused("generate", folder, stdin=b"cat\n\xff\xfe\ndog\n")

    def test_nothing_at_all(self, refused, folder):
        assert "nothing to write for" in refused("generate", folder)

    def test_overlong_lines(self, run, refused, folder):
        long = "One dog runs. Two cats sit. " * 3
        lines = f"cat\n{long}\ndog\n".encode()
        assert "text 2 is 84 tokens long, and the model reads 24" in refused("generate", folder, stdin=lines)
        code, out, _ = run("generate", folder, "--tokens", 8, "--overlong", "split", stdin=lines)
        assert code == 0
        assert out.split("\n") == [*written(folder, ["cat", long, "dog"], overlong="split"), ""]
        assert "n_best=1" in refused("generate", folder, "--overlong", "split", "--n-best", 2, stdin=lines)


class TestSearch:
    def test_each_way(self, run, folder):
        def out(*options):
            code, out, err = run("generate", folder, "a dog", "--tokens", 8, *options)
            assert code == 0, err
            return out.removesuffix("\n")

        assert out("--decode", "greedy") == written(folder, ["a dog"], Beam(size=1))[0]
        assert out("--decode", "beam", "--beams", 3) == written(folder, ["a dog"], Beam(size=3))[0]
        assert out("--beams", 3, "--length-penalty", 2) == written(folder, ["a dog"], Beam(size=3, length_penalty=2))[0]
        drawn = written(folder, ["a dog"], Sampling(seed=4, top_k=50))[0]
        assert out("--decode", "sample", "--seed", 4, "--top-k", 50) == out("--seed", 4, "--top-k", 50) == drawn
        assert drawn != out()
        assert out("--prefix", "Der ").startswith("Der ")

    def test_mask_predict(self, run, refused, folder, parallel):
        expected = "".join(f"{line}\n" for line in written(parallel, TEXTS, Refinement(iterations=3)))
        for options in (["--iterations", 3], ["--decode", "mask-predict", "--iterations", 3]):
            assert run("generate", parallel, "--tokens", 8, *options, stdin="\n".join(TEXTS).encode())[1] == expected
        assert "word by word" in refused("generate", folder, "cat", "--decode", "mask-predict")
        assert "all words at once" in refused("generate", parallel, "cat", "--decode", "beam")
        assert "leave the prefix out" in refused("generate", parallel, "cat", "--prefix", "Der")

    def test_n_best_in_columns(self, run, folder):
        best = load(folder).translate(["a dog"], Beam(size=3), n_best=3, tokens=8)[0]
        rows = run("generate", folder, "a dog", "--tokens", 8, "--beams", 3, "--n-best", 3)[1].splitlines()
        assert [row.split("\t")[:2] for row in rows] == [[f"{n}", f"{one.score:.4f}"] for n, one in enumerate(best, 1)]

    def test_n_best_as_json(self, run, folder):
        options = ["--tokens", 8, "--beams", 3, "--n-best", 3, "--json"]
        records = [json.loads(row) for row in run("generate", folder, *options, stdin=b"a dog\n\n")[1].splitlines()]
        best = load(folder).translate(["a dog"], Beam(size=3), n_best=3, tokens=8)[0]
        keys = ["text", "score", "log_probability", "tokens", "finished"]
        assert records[0]["source"] == "a dog"
        assert all(list(one) == keys for one in records[0]["translations"])
        assert [one["text"] for one in records[0]["translations"]] == [one.text for one in best]
        assert [one["tokens"] for one in records[0]["translations"]] == [len(one.ids) for one in best]
        assert records[1]["source"] == ""
        assert [one["finished"] for one in records[1]["translations"]] == ["blank"]

    def test_samples_are_so_many_texts(self, run, folder):
        rows = run("generate", folder, "a dog", "--tokens", 8, "--samples", 3, "--seed", 1)[1].split("\n")
        drawn = load(folder).translate(["a dog"], Sampling(seed=1), n_best=3, tokens=8)[0]
        assert [row.split("\t")[:2] for row in rows[:-1]] == [
            [f"{n}", f"{one.score:.4f}"] for n, one in enumerate(drawn, 1)
        ]

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (["--beams", 0], "size"),
            (["--n-best", 0], "1 or more"),
            (["--n-best", 9, "--beams", 2], "9"),
            (["--samples", 0], "1 or more"),
            (["--iterations", 0], "iterations"),
            (["--tokens", -1], "a limit of at least 1"),
            (["--temperature", -1], "temperature"),
            (["--length-penalty", "nan"], "length_penalty"),
            (["--decode", "greedy", "--beams", 4], "--beams is for --decode beam, and not for greedy"),
            (["--decode", "beam", "--top-p", 0.5], "--top-p is for --decode sample"),
            (["--iterations", 3, "--beams", 3], "--iterations is for --decode mask-predict"),
            (["--show-probabilities"], "--show-probabilities would change nothing"),
            (["--stop", "x"], "--stop"),
        ],
    )
    def test_wrong_options(self, refused, folder, options, says):
        assert says in refused("generate", folder, "cat", *options)

    @pytest.mark.parametrize(
        "options",
        [
            ["--decode", "beam"],
            ["--beams", 0],
            ["--n-best", 2],
            ["--align", "a.svg"],
            ["--prefix", "x"],
            ["--iterations", 2],
        ],
    )
    def test_what_a_language_model_has_no_use_for(self, refused, language_model, options):
        said = refused("generate", language_model, "cat", *options)
        assert "lm continues a text" in said
        assert options[0] in said


class TestAlignment:
    def test_is_drawn(self, run, folder, tmp_path):
        place = tmp_path / "a.svg"
        code, out, _ = run("generate", folder, "a dog", "--tokens", 4, "--align", place, "--json", "--prefix", "D")
        assert code == 0
        assert place.read_text(encoding="utf-8").startswith("<svg")
        record = json.loads(out)
        alignment, best = record["alignment"], record["translations"][0]
        assert alignment["source"] == [*"a dog", "end"]
        assert len(alignment["target"]) == len(alignment["weights"]) == 1 + best["tokens"] + 1
        assert all(sum(row) == pytest.approx(1, abs=0.01) for row in alignment["weights"])

    def test_bad_places_are_told_before_any_work(self, refused, run, folder, tmp_path, monkeypatch):
        (tmp_path / "folder.svg").mkdir()
        places = ["a.png", tmp_path / "absent" / "a.svg", tmp_path / "folder.svg", ""]
        for place in places:
            with monkeypatch.context() as patch:
                patch.setattr("regard.bundle.Model.translate", lambda *_, **__: pytest.fail("work was done"))
                assert "SVG" in (said := refused("generate", folder, "cat", "--align", place)) or "written" in said
        assert "one alignment" in refused("generate", folder, "--align", tmp_path / "a.svg", stdin=b"cat\ndog\n")


class TestEvaluate:
    def test_prints_scores_with_their_conventions(self, run, folder, pairs):
        code, out, _ = run("evaluate", folder, "--data", pairs, "--language", "de", "--by-length")
        assert code == 0
        assert all(name in out for name in ("BLEU", "chrF", "nats a token", "Beam(size=4"))

    def test_json(self, run, folder, pairs):
        values = json.loads(run("evaluate", folder, "--data", pairs, "--json", "--beams", 2)[1])
        assert values["how"]["size"] == 2
        assert values["tokens"] == sum(len(text) + 1 for text in ("ein Hund", "Katze", "nichts", "zwei"))

    def test_two_files_are_as_two_columns(self, run, folder, pairs, tmp_path):
        sides = [tmp_path / "a.en", tmp_path / "a.de"]
        for side, path in enumerate(sides):
            lines = (line.split("\t")[side] for line in pairs.read_text(encoding="utf-8").splitlines())
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        columns = json.loads(run("evaluate", folder, "--data", pairs, "--json")[1])
        files = json.loads(run("evaluate", folder, "--data", sides[0], "--target", sides[1], "--json")[1])
        assert files["loss"] == columns["loss"]

    def test_writes_what_was_written(self, run, refused, folder, pairs, tmp_path):
        place = tmp_path / "out.txt"
        assert run("evaluate", folder, "--data", pairs, "--write", place)[0] == 0
        lines = place.read_text(encoding="utf-8").split("\n")
        assert len(lines) == 5
        assert lines[2] == ""
        for bad in (tmp_path, tmp_path / "absent" / "out.txt"):
            assert "cannot be written" in refused("evaluate", folder, "--data", pairs, "--write", bad)

    def test_options_of_the_other_kind_of_model(self, refused, folder, language_model, pairs):
        said = refused("evaluate", folder, "--data", pairs, "--stride", 3)
        assert "mt translates, and --stride would change nothing" in said
        said = refused("evaluate", language_model, "--data", pairs, "--target", pairs, "--by-length")
        assert "lm translates nothing, and --target and --by-length would change nothing" in said

    def test_wrong(self, refused, folder, tmp_path):
        assert "holds no pairs of its own" in refused("evaluate", folder)
        assert "no file or folder" in refused("evaluate", folder, "--data", tmp_path / "absent.tsv")
        (tmp_path / "one.txt").write_text("one column\n")
        assert "one column" in refused("evaluate", folder, "--data", tmp_path / "one.txt")
        (tmp_path / "pairs.tsv").write_text("a\tb\n")
        assert "word by word" in refused(
            "evaluate", folder, "--data", tmp_path / "pairs.tsv", "--decode", "mask-predict"
        )


class TestTrain:
    @pytest.mark.parametrize(
        ("name", "content", "options", "says"),
        [
            ("p.tsv", b"", [], "holds no pairs"),
            ("p.tsv", b"one\ntwo\n", [], "has one column"),
            ("p.tsv", b"a\tb\nc\n", [], "line 2, has 1 column"),
            ("p.tsv", b"a\tb\nc\t\xff\n", [], "not UTF-8"),
            ("p.tsv", b"a\t\n \tb\n", [], "2 with a blank side"),
            ("p.csv", b'source,target\n"a,' + b"b" * 1000, [], "line 2, is not CSV"),
            ("p.jsonl", b'{"source": "a", "target": "b"\n', [], "is not JSON"),
            ("p.jsonl", b'{"source": "a", "target": 3}\n', [], "text was expected"),
            ("p.jsonl", b'{"source": "a\\ud800", "target": "b"}\n', [], "half a surrogate pair"),
            ("p.tsv", b"a\tb\n", ["data.columns=a,c"], "no column 'c'"),
            ("p.tsv", b"a\tb\n", ["data.max_length=0"], "max_length"),
            ("p.tsv", b"a\tb\n", ['tokenizer.special=["unknown"]'], "no end token"),
            ("p.tsv", b"a\tb\n", ["distil=absent"], "no folder 'absent'"),
            ("p.tsv", b"a\tb\n", ["data.on_invaild=replace"], "did you mean 'on_invalid'"),
        ],
    )
    def test_bad_pairs(self, refused, tmp_path, monkeypatch, name, content, options, says):
        monkeypatch.setattr("regard.data.formats.LONGEST_ROW", 500)
        (tmp_path / name).write_bytes(content)
        line = ["train", "dates", "--data", tmp_path / name, "--out", tmp_path / "run", "--quiet", "--steps", 1]
        assert says in refused(*line, *options)

    def test_bad_targets(self, refused, tmp_path):
        (tmp_path / "a.en").write_text("a\nb\n")
        (tmp_path / "a.de").write_text("a\n")
        line = ["train", "translate", "--data", tmp_path / "a.en", "--out", tmp_path / "run", "--quiet", "--target"]
        assert "has 1 lines" in refused(*line, tmp_path / "a.de")
        assert "no file or folder" in refused(*line, tmp_path / "a.fr")
        assert "cannot be read" in refused(*line, tmp_path)
        assert "no setting 'target'" in refused(*line[:1], "gpt", *line[2:], tmp_path / "a.de")

    def test_nothing_can_be_written(self, refused, tmp_path):
        (tmp_path / "file").write_text("")
        (tmp_path / "p.tsv").write_text("a\tb\n")
        said = refused("train", "dates", "--data", tmp_path / "p.tsv", "--out", tmp_path / "file" / "run", "--quiet")
        assert "nothing can be written" in said
