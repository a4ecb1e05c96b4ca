import gzip
import io
import json
import sys
import types

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data import formats
from regard.data.formats import Reading
from regard.data.sources import documents, identity, pieces, texts
from regard.settings import RegardError


def read(source, **how):
    return ["".join(document) for document in documents(source, **how)]


def zst(path, data):
    with pyarrow.output_stream(str(path), compression="zstd") as file:
        file.write(data)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(formats, "CHUNK", 7)


class TestText:
    def test_a_file_is_one_document(self, tmp_path):
        (tmp_path / "a.txt").write_text("One.\n\nTwo.\n")
        assert read(tmp_path / "a.txt") == ["One.\n\nTwo.\n"]

    def test_separators(self, tmp_path):
        (tmp_path / "a.txt").write_text("one\n\ntwo\nstill two\n\n\n\nthree\n")
        assert read(tmp_path / "a.txt", separator="line") == ["one", "two", "still two", "three"]
        assert read(tmp_path / "a.txt", separator="paragraph") == ["one", "two\nstill two", "three\n"]
        assert read(tmp_path / "a.txt", separator="still") == ["one\n\ntwo\n", " two\n\n\n\nthree\n"]

    def test_line_ends_and_byte_order_mark(self, tmp_path, small_chunks):
        (tmp_path / "a.txt").write_bytes("\ufeffone\r\ntwo\rthree\r\n".encode())
        assert read(tmp_path / "a.txt") == ["one\ntwo\nthree\n"]

    @given(st.text(alphabet="ab<>|\n é漢🙂", max_size=60), st.sampled_from(["\n", "\n\n", "<|>", "|"]))
    def test_separating_a_stream_equals_splitting_the_whole(self, text, separator):
        before, formats.CHUNK = formats.CHUNK, 7  # hypothesis forbids monkeypatch
        try:
            how = Reading(separator=separator)
            chunks = formats.decode(io.BytesIO(text.encode()), "x", how)
            found, part = [], ""
            for piece in formats.text_pieces(chunks, how):
                part += piece.text
                if piece.last:
                    found.append(part)
                    part = ""
        finally:
            formats.CHUNK = before
        assert part == ""
        # A document whose first piece went out before it was known to be blank is kept; it must be longer than one.
        expected = [part for part in text.split(separator) if part and (not part.isspace() or len(part) > 7)]
        assert [part for part in found if part in expected] == expected
        assert all(part.isspace() for part in found if part not in expected)

    def test_pieces_of_a_huge_document_are_small(self, tmp_path):
        (tmp_path / "a.txt").write_text("word " * 1_000_000)
        found = list(pieces(tmp_path / "a.txt"))
        assert max(len(piece.text) for piece in found) <= formats.CHUNK
        assert [piece.last for piece in found] == [False] * (len(found) - 1) + [True]
        assert sum(len(piece.text) for piece in found) == 5_000_000

    def test_a_huge_line_among_lines_comes_in_pieces(self, tmp_path):
        (tmp_path / "a.txt").write_text("first\n" + "x" * 3_000_000 + "\nlast\n")
        assert max(len(piece.text) for piece in pieces(tmp_path / "a.txt", Reading(separator="line"))) < 2_200_000
        assert [len(text) for text in read(tmp_path / "a.txt", separator="line")] == [5, 3_000_000, 4]

    def test_documents_that_were_not_read_are_skipped(self, tmp_path):
        (tmp_path / "a.txt").write_text("x" * 3_000_000 + "\nlast\n")
        stream = documents(tmp_path / "a.txt", separator="line")
        next(stream)
        assert list(next(stream)) == ["last"]


class TestInvalid:
    def test_an_error_names_the_file_and_the_byte(self, tmp_path, small_chunks):
        (tmp_path / "a.txt").write_bytes("漢字漢字".encode() + b"\xe9 more")
        with pytest.raises(RegardError, match=r"a\.txt is not UTF-8: byte 12 \(0xE9\)"):
            read(tmp_path / "a.txt")

    def test_a_character_that_is_cut_at_the_end(self, tmp_path):
        (tmp_path / "a.txt").write_bytes(b"fine " + "漢".encode()[:2])
        with pytest.raises(RegardError, match="byte 5 "):
            read(tmp_path / "a.txt")

    @given(st.binary(max_size=300).filter(lambda data: b"\0" not in data))
    def test_replacement_is_pythons_and_is_counted(self, data):
        data = b"real text \xef\xbf\xbd" * 300 + data.replace(b"\r", b"")
        before, formats.CHUNK = formats.CHUNK, 701
        try:
            how = Reading(on_invalid="replace")
            text = "".join(formats.decode(io.BytesIO(data), "x", how))
        finally:
            formats.CHUNK = before
        assert text == data.decode(errors="replace")
        assert how.replaced == text.count("\ufffd") - data.count(b"\xef\xbf\xbd")

    def test_replacement_is_reported(self, tmp_path):
        (tmp_path / "a.txt").write_bytes(b"a long enough text \xff\n" * 3)
        said = []
        assert read(tmp_path / "a.txt", on_invalid="replace", say=said.append) == ["a long enough text \ufffd\n" * 3]
        assert said == ["Replaced 3 invalid byte sequence(s) by U+FFFD."]

    @pytest.mark.parametrize("how", ["error", "replace"])
    def test_binary_files(self, tmp_path, how):
        (tmp_path / "a.txt").write_bytes(b"\x7fELF\x02\x01\0\0")
        with pytest.raises(RegardError, match=r"a\.txt is a binary file \(byte 6 is zero\)"):
            read(tmp_path / "a.txt", on_invalid=how)
        (tmp_path / "b.txt").write_bytes("text".encode("utf-16-le"))
        with pytest.raises(RegardError, match=r"b\.txt is a binary file"):
            read(tmp_path / "b.txt", on_invalid=how)
        (tmp_path / "c.txt").write_bytes(bytes(range(128, 256)))
        with pytest.raises(RegardError, match=r"c\.txt is no"):
            read(tmp_path / "c.txt", on_invalid="replace")


class TestFolders:
    def test_order_hidden_links_and_what_is_no_text(self, tmp_path):
        for name, text in {"b.txt": "B", "a.txt": "A", "sub/c.md": "C", ".hidden/d.txt": "D", ".e.txt": "E"}.items():
            (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / name).write_text(text)
        (tmp_path / "set/picture.png").write_bytes(b"\x89PNG\0\0")
        (tmp_path / "set/empty.txt").write_text("")
        (tmp_path / "set/sub/circle").symlink_to(tmp_path / "set")
        (tmp_path / "set/broken").symlink_to(tmp_path / "nowhere")
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside/f.txt").write_text("F")
        (tmp_path / "set/z").symlink_to(tmp_path / "outside")
        said = []
        assert read(tmp_path / "set", say=said.append) == ["A", "B", "C", "F"]
        assert len(said) == 1
        assert said[0].startswith("Left out 1 file(s) that hold no text")
        assert "picture.png" in said[0]

    def test_several_sources(self, tmp_path):
        (tmp_path / "a.txt").write_text("A")
        (tmp_path / "b.jsonl").write_text('{"text": "B"}')
        assert read([tmp_path / "b.jsonl", tmp_path / "a.txt"]) == ["B", "A"]
        assert list(texts(tmp_path)) == ["A", "B"]

    def test_nothing_there(self, tmp_path):
        (tmp_path / "tales.txt").write_text(" \n")
        (tmp_path / "none").mkdir()
        for source, message in {
            tmp_path / "tails.txt": r"there is no file or folder '.*tails.txt'; did you mean '.*tales.txt'\?",
            tmp_path / "far/away": "give a path that exists",
            tmp_path / "tales.txt": r"the file '.*tales.txt' holds no text",
            tmp_path / "none": r"the folder '.*none' holds no text",
            "/dev/null": "is a pipe or a device",
            "builtin:pyton-docs": "did you mean 'python-docs'",
            "hf:": "names no Hugging Face set",
        }.items():
            with pytest.raises(RegardError, match=message):
                read(source)
        with pytest.raises(RegardError, match="no source of text was given"):
            read([])


class TestCompressed:
    @pytest.mark.parametrize("suffix", [".gz", ".zst"])
    def test_reads_what_was_written(self, tmp_path, suffix):
        text = "Grüße an 漢字 🙂\n" * 100_000
        path = tmp_path / ("a.txt" + suffix)
        path.write_bytes(gzip.compress(text.encode())) if suffix == ".gz" else zst(path, text.encode())
        assert read(path) == [text]
        whole = path.read_bytes()
        path.write_bytes(whole + whole)  # members and frames may follow each other
        assert read(path) == [text + text]
        path.write_bytes(whole[:-5])
        with pytest.raises(RegardError, match=r"a\.txt\.(gz|zst) (is damaged|cannot be read)"):
            read(path)
        path.write_bytes(b"plain text")
        with pytest.raises(RegardError, match=r"a\.txt\.(gz|zst) (is damaged|cannot be read)"):
            read(path)

    def test_a_missing_package_says_how_to_install_it(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        (tmp_path / "a.zst").write_bytes(b"x")
        (tmp_path / "a.parquet").write_bytes(b"x")
        for name in ("a.zst", "a.parquet"):
            with pytest.raises(RegardError, match=r"needs the package 'pyarrow'.*pip install 'regard\[data\]'"):
                read(tmp_path / name)


class TestRows:
    def test_jsonl(self, tmp_path, small_chunks):
        rows = [{"id": 1, "text": "one\nline"}, {"text": "漢🙂"}, {"text": None}, {"text": " "}]
        (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
        said = []
        assert read(tmp_path / "a.jsonl", say=said.append) == ["one\nline", "漢🙂"]
        assert said == ["Left out 2 row(s) without text."]

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("{", r"a\.jsonl, line 2, is not JSON"),
            ("[" * 100_000, "line 2, is not JSON"),
            ('"text"', "line 2, is no JSON object"),
            ('{"test": "x"}', r"line 2, has no column 'text'; did you mean 'test'\?"),
            ('{"text": 3}', "line 2: the column 'text' holds 3, and text was expected"),
            ('{"text": "\\ud83d"}', "line 2, holds half a surrogate pair"),
        ],
    )
    def test_jsonl_errors(self, tmp_path, line, message):
        (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n' + line + "\n")
        with pytest.raises(RegardError, match=message):
            read(tmp_path / "a.jsonl")

    def test_half_a_surrogate_pair_is_replaced_if_asked(self, tmp_path):
        (tmp_path / "a.jsonl").write_text('{"text": "x\\ud83dy"}')
        assert read(tmp_path / "a.jsonl", on_invalid="replace") == ["x\ufffdy"]

    def test_a_row_that_is_too_long(self, tmp_path, monkeypatch):
        monkeypatch.setattr(formats, "LONGEST_ROW", 3_000_000)
        (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": "' + "x" * 5_000_000 + '"}\n')
        with pytest.raises(RegardError, match="row 2 is longer"):
            read(tmp_path / "a.jsonl")

    def test_csv(self, tmp_path):
        (tmp_path / "a.csv").write_text('label,review\n1,"Good,\n""very"" good"\n\n0,Bad\n')
        said = []
        assert read(tmp_path / "a.csv", say=said.append) == ['Good,\n"very" good', "Bad"]
        assert said == ["The text is taken from the column 'review'; choose another with data.column=…."]
        assert read(tmp_path / "a.csv", column="label") == ["1", "0"]
        with pytest.raises(RegardError, match=r"a\.csv has no column 'revue'; did you mean 'review'\?"):
            read(tmp_path / "a.csv", column="revue")

    def test_tsv_takes_quotes_as_they_are(self, tmp_path):
        (tmp_path / "a.tsv").write_text('text\tlabel\n"an open quote\t1\nnext\t0\n')
        assert read(tmp_path / "a.tsv") == ['"an open quote', "next"]

    def test_csv_errors(self, tmp_path):
        (tmp_path / "a.csv").write_text("x,y\n1,2\n")
        with pytest.raises(
            RegardError, match=r"no column 'text': name the one to read with data.column=…; it has x, y"
        ):
            read(tmp_path / "a.csv")
        (tmp_path / "a.csv").write_text("x,text\n1,2\n3\n")
        with pytest.raises(RegardError, match=r"line 3, has 1 column\(s\), and 2 were expected"):
            read(tmp_path / "a.csv")

    def test_format_can_be_given(self, tmp_path):
        (tmp_path / "rows.dat").write_text('{"text": "x"}')
        assert read(tmp_path / "rows.dat", format="jsonl") == ["x"]

    @pytest.mark.parametrize("kind", ["string", "large_string", "dictionary"])
    def test_parquet(self, tmp_path, kind):
        words = ["one", None, "漢字\n🙂", "one"]
        column = pyarrow.array(words)
        column = column.dictionary_encode() if kind == "dictionary" else column.cast(kind)
        table = pyarrow.table({"n": [1, 2, 3, 4], "body": column})
        pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
        assert read(tmp_path / "a.parquet") == ["one", "漢字\n🙂", "one"]
        with pytest.raises(RegardError, match="the column 'n' holds 1, and text was expected"):
            read(tmp_path / "a.parquet", column="n")

    def test_parquet_errors(self, tmp_path):
        (tmp_path / "a.parquet").write_bytes(b"PAR1 is not enough")
        with pytest.raises(RegardError, match="is damaged or no Parquet file"):
            read(tmp_path / "a.parquet")


class TestStandardInput:
    def test_is_read_as_a_file_is(self, monkeypatch):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Grüße\n".encode())))
        assert read("-") == ["Grüße\n"]
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
        with pytest.raises(RegardError, match="standard input holds no text"):
            read("-")


class TestHuggingFace:
    @pytest.fixture
    def hub(self, monkeypatch):
        """Stands for the `datasets` package: the network is not there in tests."""
        asked = []

        class Rows:
            features = None

            def __iter__(self):
                yield from ({"id": 1, "text": "one"}, {"id": 2, "text": "two"})

            def select_columns(self, columns):
                return ({name: row[name] for name in columns} for row in self)

        def load_dataset(name, config, split, streaming):
            asked.append((name, config, split, streaming))
            if name == "missing/set":
                raise FileNotFoundError("Couldn't find it on the Hub.\nmore")
            return Rows()

        monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
        return asked

    def test_names(self, hub):
        assert read("hf:roneneldan/TinyStories") == ["one", "two"]
        read("hf:Salesforce/wikitext/wikitext-2-raw-v1:validation")
        read("hf:imdb:test")
        assert hub == [
            ("roneneldan/TinyStories", None, "train", True),
            ("Salesforce/wikitext", "wikitext-2-raw-v1", "validation", True),
            ("imdb", None, "test", True),
        ]

    def test_errors(self, hub):
        with pytest.raises(RegardError, match=r"set 'hf:missing/set' cannot be read: Couldn't find it on the Hub\.$"):
            read("hf:missing/set")
        with pytest.raises(RegardError, match=r"has no column 'txt'; did you mean 'text'\?"):
            read("hf:a/b", column="txt")

    @pytest.mark.slow
    def test_the_real_package_on_a_local_folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
        (tmp_path / "set").mkdir()
        (tmp_path / "set/train.jsonl").write_text('{"id": 1, "text": "one"}\n{"id": 2, "text": "zwei 漢"}\n')
        assert read(f"hf:{tmp_path}/set") == ["one", "zwei 漢"]


class TestBuiltin:
    def test_python_docs(self):
        found = read("builtin:python-docs")
        assert len(found) >= 40
        assert 250_000 < sum(map(len, found)) < 2_000_000
        paragraphs = [p for text in found for p in set(text.split("\n\n")) if len(p) >= 80]
        assert len(paragraphs) == len(set(paragraphs))  # no two documents share one
        assert any("assert" in text for text in found)

    @pytest.mark.parametrize(
        ("task", "answer"), [("copy", str), ("reverse", lambda x: x[::-1]), ("sort", lambda x: "".join(sorted(x)))]
    )
    def test_tasks(self, task, answer):
        found = read(f"builtin:{task}")
        assert len(found) == 10_000
        for row in found[:200]:
            question, equals, given_answer = row.partition("=")
            assert equals
            assert given_answer == answer(question)


def test_a_folder_of_a_hugging_face_set_is_known_by_its_files(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"text": "a"}\n')
    before = identity(f"hf:{tmp_path}")
    (tmp_path / "train.jsonl").write_text('{"text": "a and b"}\n')
    assert identity(f"hf:{tmp_path}:train") != before
    assert identity(f"hf:{tmp_path}")[1:] != before[1:]
    assert identity("hf:owner/name") == ["hf:owner/name"]
