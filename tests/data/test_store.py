import io
import json
import os
import resource
import signal
import subprocess
import sys
from fractions import Fraction
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.data import encoding, formats, store
from regard.data.sources import documents
from regard.data.split import TextData, kept_apart
from regard.data.store import TokenStore, keep_standard_input, prepare
from regard.settings import RegardError, SettingsError
from regard.text import Tokenizer
from tests.data.stub import Bytes
from tests.shared import shared

END = 256


def spelled(part, end=END):
    """The documents of a part, read from its ids alone, by the end tokens."""
    text = bytes(0 if token == end else token for token in part.ids.tolist())
    return text.decode().split("\0")


def by_starts(part):
    bounds = [*part.starts.tolist(), len(part)]
    return [part.ids[a:b].tolist() for a, b in pairwise(bounds)]


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"line {number} é\n" for number in range(200)))
    return TextData(source=str(path), separator="line")


class TestLayout:
    def test_by_hand(self, tmp_path):
        for name, text in {"a": "aaaa", "b": "bbb", "c": "cc"}.items():
            (tmp_path / f"{name}.txt").write_text(text)
        config = TextData(source=[str(tmp_path / f"{name}.txt") for name in "abc"], validation_fraction=0)
        made = prepare(config, Bytes(), tmp_path / "store")
        a, b, c = b"abc"
        assert made.train.ids.tolist() == [END, a, a, a, a, END, b, b, b, END, c, c, END]
        assert made.train.starts.tolist() == [0, 5, 9]
        assert (made.train.documents, made.train.bytes, made.train.characters) == (3, 9, 9)
        assert made.validation is None
        made = prepare(config, Bytes(end=None), tmp_path / "store")
        assert made.train.ids.tolist() == [a, a, a, a, b, b, b, c, c]
        assert made.train.starts.tolist() == [0, 4, 7]

    def test_a_begin_token_opens_each_document(self, tmp_path):
        """As it opens each prompt; where the end token is the begin token too, one of it stands between documents."""
        (tmp_path / "a.txt").write_text("aaaa|bbb|cc")
        config = TextData(source=str(tmp_path / "a.txt"), separator="|", validation_fraction=0)
        made = prepare(config, Bytes(vocab_size=258, begin=257), tmp_path / "store")
        a, b, c = b"abc"
        assert made.train.ids.tolist() == [257, a, a, a, a, END, 257, b, b, b, END, 257, c, c, END]
        assert made.train.starts.tolist() == [0, 6, 11]
        assert made.train.bytes == 9
        made = prepare(config, Bytes(vocab_size=258, begin=257, end=None), tmp_path / "store")
        assert made.train.ids.tolist() == [257, a, a, a, a, 257, b, b, b, 257, c, c]
        assert made.train.starts.tolist() == [0, 5, 9]
        made = prepare(config, Bytes(begin=END), tmp_path / "store")
        assert made.train.ids.tolist() == [END, a, a, a, a, END, b, b, b, END, c, c, END]
        assert made.train.starts.tolist() == [0, 5, 9]

    def test_a_document_cut_for_validation_opens_once(self, tmp_path):
        (tmp_path / "a.txt").write_text("abcdefghij")
        config = TextData(source=str(tmp_path / "a.txt"), validation_fraction=0.2)
        made = prepare(config, Bytes(vocab_size=258, begin=257), tmp_path / "store")
        assert made.train.ids.tolist() == [257, *b"abcdefgh"]
        assert made.validation.ids.tolist() == [*b"ij", END]
        assert (made.train.starts.tolist(), made.validation.starts.tolist()) == ([0], [0])

    @pytest.mark.parametrize("special", [("end",), ("begin",), ("begin", "end"), {"begin": "<>", "end": "<>"}])
    def test_generation_starts_as_documents_do(self, tmp_path, special):
        (tmp_path / "a.txt").write_text("some text\nmore text")
        tokenizer = Tokenizer.train(["text"], kind="bytes", special=special)
        config = TextData(source=str(tmp_path / "a.txt"), separator="line", validation_fraction=0)
        part = prepare(config, tokenizer, tmp_path / "store").train
        assert [part.ids[start] for start in part.starts] == tokenizer.prompt("") * 2
        if tokenizer.begin is not None:
            assert part.ids[: len("some text") + 1].tolist() == tokenizer.prompt("some text")

    def test_integers_fit_the_vocabulary(self, tmp_path):
        (tmp_path / "a.txt").write_text("abc")
        config = TextData(source=str(tmp_path / "a.txt"), validation_fraction=0)
        for size, kind in ((2**16, np.uint16), (2**16 + 1, np.uint32)):
            made = prepare(config, Bytes(vocab_size=size, end=size - 1), tmp_path / "store")
            assert made.train.ids.dtype == kind
            assert made.train.ids.tolist() == [size - 1, *b"abc", size - 1]
        with pytest.raises(RegardError, match="a vocabulary of 4294967297 ids does not fit"):
            prepare(config, Bytes(vocab_size=2**32 + 1), tmp_path / "store")
        with pytest.raises(RegardError, match="gave the id 99, but its vocabulary has only 99"):
            prepare(config, Bytes(vocab_size=99, end=None), tmp_path / "store")


class TestSplit:
    def test_few_documents_are_cut_by_position(self, tmp_path):
        text = "".join(chr(97 + number % 26) for number in range(1005))
        (tmp_path / "a.txt").write_text(text)
        made = prepare(TextData(source=str(tmp_path / "a.txt")), Bytes(), tmp_path / "store")
        assert spelled(made.train) == ["", text[:904]]  # no end: the document goes on
        assert spelled(made.validation) == [text[904:], ""]
        assert (made.train.characters, made.validation.characters) == (904, 101)

    def test_tiny_shakespeare_is_cut_as_by_nanogpt(self, tmp_path):
        path = shared("data/tiny-shakespeare/input.txt")
        tokenizer = Tokenizer.train(documents_text(path), kind="characters", special=())
        made = prepare(TextData(source=str(path)), tokenizer, tmp_path)
        assert tokenizer.vocab_size == 65
        assert (len(made.train), len(made.validation)) == (1_003_854, 111_540)
        text = path.read_text()
        assert (
            tokenizer.decode(made.train.ids[-50:]) + tokenizer.decode(made.validation.ids[:50])
            == (text[1_003_804:1_003_904])
        )

    @given(
        st.lists(st.text("abé漢", min_size=1, max_size=9), min_size=1, max_size=8), st.sampled_from([0.1, 0.25, 0.5])
    )
    @settings(max_examples=30, deadline=None)
    def test_a_cut_loses_nothing(self, tmp_path_factory, texts, fraction):
        folder = tmp_path_factory.mktemp("cut")
        (folder / "a.txt").write_text("|".join(texts))
        config = TextData(source=str(folder / "a.txt"), separator="|", validation_fraction=fraction)
        made = prepare(config, Bytes(), folder / "store")
        every = "".join(texts)
        cut = int(len(every) * (1 - Fraction(fraction).limit_denominator()))
        parts = [made.train] if made.validation is None else [made.train, made.validation]
        found = "\0".join(spelled(parts[0]))
        if cut == 0:
            return
        assert found.replace("\0", "") == every[:cut]
        assert parts[0].characters == cut
        assert parts[0].bytes == len(every[:cut].encode())
        if made.validation is not None:
            both = found + "\0".join(spelled(made.validation))
            # Where the cut meets a document's end, both parts write the end token between them.
            assert both.replace("\0\0", "\0").strip("\0").split("\0") == texts
            assert made.validation.starts[0] == 0

    def test_many_documents_are_split_by_lot(self, tmp_path, lines):
        made = prepare(lines, Bytes(), tmp_path / "store")
        train, validation = spelled(made.train), spelled(made.validation)
        every = [f"line {number} é" for number in range(200)]
        assert train[0] == train[-1] == validation[0] == validation[-1] == ""
        assert len(validation) - 2 == made.validation.documents == 20
        assert sorted(train[1:-1] + validation[1:-1]) == sorted(every)
        assert [text for text in every if text in train] == train[1:-1]  # in their order
        for part in (made.train, made.validation):
            assert all(document[0] == END for document in by_starts(part))
            assert part.bytes == part.characters + part.documents  # one é each
        other = prepare(lines.replace(split_seed=1), Bytes(), tmp_path / "other")
        assert spelled(other.validation) != validation

    @given(st.fractions(Fraction(1, 1000), Fraction(999, 1000), max_denominator=1000), st.integers(0, 5))
    def test_the_lot_keeps_the_share(self, fraction, seed):
        drawn = list(islice(kept_apart(fraction, seed), 50))
        assert drawn == sorted(set(drawn))
        for count, number in enumerate(drawn):  # as many documents before it as the share says, but for one or two
            assert abs(number * fraction - count) <= 1

    def test_added_documents_leave_the_others_where_they_are(self, tmp_path, lines):
        before = prepare(lines, Bytes(), tmp_path / "store")
        kept = set(spelled(before.validation))
        with open(lines.source[0], "a") as file:
            file.write("more\n" * 50)
        after = prepare(lines, Bytes(), tmp_path / "store")
        assert kept <= set(spelled(after.validation))

    def test_a_validation_source_of_its_own(self, tmp_path, lines):
        (tmp_path / "v.txt").write_text("held out")
        made = prepare(lines.replace(validation=str(tmp_path / "v.txt")), Bytes(), tmp_path / "store")
        assert made.train.documents == 200
        assert spelled(made.validation) == ["", "held out", ""]


class TestParallel:
    @pytest.mark.parametrize("separator", ["none", "line"])
    def test_equals_serial_and_whole(self, tmp_path, monkeypatch, separator):
        monkeypatch.setattr(formats, "CHUNK", 5_000)
        monkeypatch.setattr(encoding, "BATCH", 3_000)
        words = [f"word{number * number % 977} " for number in range(9_000)]
        text = "".join(word + "\n" * (number % 50 == 0) for number, word in enumerate(words))
        (tmp_path / "a.txt").write_text(text + "é" * 20_000)
        tokenizer = Tokenizer.train([text], vocab_size=400)
        config = TextData(source=str(tmp_path / "a.txt"), separator=separator, validation_fraction=0)
        made = [prepare(config, tokenizer, tmp_path / f"{workers}", workers=workers) for workers in (1, 4)]
        assert made[0].train.ids.tolist() == made[1].train.ids.tolist()
        assert made[0].train.starts.tolist() == made[1].train.starts.tolist()
        end = tokenizer.end
        expected = [end]
        for document in documents(tmp_path / "a.txt", separator=separator):
            expected += [*tokenizer.encode("".join(document)), end]
        assert made[0].train.ids.tolist() == expected

    def test_says_how_far_it_is(self, tmp_path, lines, monkeypatch):
        clock = iter(range(0, 10_000, 4))
        monkeypatch.setattr(store.time, "monotonic", lambda: next(clock))
        monkeypatch.setattr(encoding, "BATCH", 100)
        said = []
        prepare(lines, Bytes(), tmp_path / "store", say=said.append)
        assert said[0].startswith("Tokenised 0 million characters, ")

    def test_an_error_in_a_thread_is_raised(self, tmp_path, lines, monkeypatch):
        monkeypatch.setattr(encoding, "BATCH", 100)

        class Broken(Bytes):
            def encode_batch(self, texts):
                if any("line 150" in text for text in texts):
                    raise RegardError("no id for this.")
                return super().encode_batch(texts)

        with pytest.raises(RegardError, match="no id for this"):
            prepare(lines, Broken(), tmp_path / "store", workers=3)
        assert list((tmp_path / "store").iterdir()) == []


class TestReuse:
    def test_only_if_nothing_changed(self, tmp_path, lines):
        folder = tmp_path / "store"

        def again(config=lines, tokenizer=None):
            said = []
            made = prepare(config, tokenizer or Bytes(), folder, say=said.append)
            files = sorted(path.name for path in folder.iterdir())
            assert len(files) == 5  # those of the last store alone
            return made.fingerprint, any("nothing has changed" in line for line in said)

        first, reused = again()
        assert not reused
        assert again() == (first, True)
        assert again(lines.replace(separate_documents=False)) == (first, True)  # this does not touch the ids
        seen = {first}
        for config, tokenizer in (
            (lines.replace(validation_fraction=0.2), None),
            (lines.replace(split_seed=7), None),
            (lines.replace(separator="none"), None),
            (lines.replace(on_invalid="replace"), None),
            (lines, Bytes(fingerprint="other")),
            (lines, Bytes(end=None)),
            (lines, Bytes(begin=255)),
        ):
            fingerprint, reused = again(config, tokenizer)
            assert not reused
            assert fingerprint not in seen
            seen.add(fingerprint)
        again()
        os.utime(lines.source[0], (1, 1))
        assert not again()[1]

    def test_a_new_file_in_a_folder(self, tmp_path):
        (tmp_path / "set").mkdir()
        (tmp_path / "set/a.txt").write_text("first text")
        config = TextData(source=str(tmp_path / "set"), validation_fraction=0)
        assert prepare(config, Bytes(), tmp_path / "store").train.documents == 1
        (tmp_path / "set/b.txt").write_text("second text")
        assert prepare(config, Bytes(), tmp_path / "store").train.documents == 2

    def test_notes_are_said_again(self, tmp_path):
        (tmp_path / "a.txt").write_bytes(b"long enough \xff text")
        config = TextData(source=str(tmp_path / "a.txt"), on_invalid="replace")
        for _ in range(2):
            said = []
            prepare(config, Bytes(), tmp_path / "store", say=said.append)
            assert said[-1] == "Replaced 1 invalid byte sequence(s) by U+FFFD."

    def test_a_damaged_store_is_made_again(self, tmp_path, lines):
        whole = prepare(lines, Bytes(), tmp_path / "store").train.ids.tolist()
        ids = next((tmp_path / "store").glob("train-*.ids"))
        manifest = tmp_path / "store/store.json"
        right = manifest.read_text()
        wrong = json.loads(right)

        def shorten():
            ids.write_bytes(ids.read_bytes()[:-1])

        for damage in (
            shorten,
            ids.unlink,
            lambda: manifest.write_text(right[:50]),
            lambda: manifest.write_text("[]"),
            lambda: manifest.write_text(json.dumps({**wrong, "fingerprint": "../../etc/passwd"})),
            lambda: manifest.write_text(json.dumps({**wrong, "ids": "object"})),
            lambda: manifest.write_text(json.dumps({**wrong, "parts": {}})),
            lambda: manifest.write_bytes(b"\xff"),
        ):
            damage()
            with pytest.raises(RegardError, match="is damaged"):
                TokenStore.open(tmp_path / "store")
            said = []
            assert prepare(lines, Bytes(), tmp_path / "store", say=said.append).train.ids.tolist() == whole
            assert "it is made again" in said[0]

    def test_no_store(self, tmp_path):
        with pytest.raises(RegardError, match="there is no token store in"):
            TokenStore.open(tmp_path)

    def test_the_old_store_stays_if_a_new_one_fails(self, tmp_path, lines):
        before = prepare(lines, Bytes(), tmp_path / "store")
        (tmp_path / "bad.txt").write_bytes(b"text \xff")
        with pytest.raises(RegardError, match="not UTF-8"):
            prepare(lines.replace(source=(*lines.source, str(tmp_path / "bad.txt"))), Bytes(), tmp_path / "store")
        assert TokenStore.open(tmp_path / "store").fingerprint == before.fingerprint
        assert len(list((tmp_path / "store").iterdir())) == 5

    def test_a_full_disk(self, tmp_path, lines):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            with pytest.raises(RegardError, match="cannot be written: there is no room left"):
                prepare(lines, Bytes(), tmp_path / "store")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert list((tmp_path / "store").iterdir()) == []

    def test_a_folder_that_cannot_be(self, tmp_path, lines):
        with pytest.raises(RegardError, match=r"lines\.txt/store' cannot be written"):
            prepare(lines, Bytes(), tmp_path / "lines.txt/store")


class TestSettings:
    def test_needs_no_torch(self):
        code = "import sys, regard.data.store; sys.exit('torch' in sys.modules or 'pyarrow' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

    def test_round_trip_and_errors(self):
        config = TextData(source="a.txt", validation=["b.txt", "c.txt"], separator="\n\n")
        assert config.source == ("a.txt",)
        assert TextData.from_toml(config.to_toml()) == config
        assert TextData.from_dict(json.loads(json.dumps(config.to_dict()))) == config
        with pytest.raises(SettingsError, match="did you mean 'separator'"):
            TextData(seperator="line")
        with pytest.raises(SettingsError, match="validation_fraction"):
            TextData(validation_fraction=1.0)


class TestStandardInput:
    def test_is_kept_as_a_file(self, tmp_path, monkeypatch):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe")))
        config = keep_standard_input(TextData(source="-"), tmp_path / "run")
        assert keep_standard_input(config, tmp_path / "run") == config
        for _ in range(2):
            assert ["".join(text) for text in documents(config.source)] == ["from a pipe"]
        assert prepare(config, Bytes(), tmp_path / "run").train.documents == 1

    def test_going_on_takes_the_same_or_nothing(self, tmp_path, monkeypatch):
        def keep(content, going_on=True):
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
            return keep_standard_input(TextData(source="-"), tmp_path, going_on)

        config = keep(b"one")
        kept = (tmp_path / "standard-input").stat().st_mtime_ns
        assert keep(b"one") == keep(b"") == config
        with pytest.raises(RegardError, match="begun with another text"):
            keep(b"two")
        assert (tmp_path / "standard-input").stat().st_mtime_ns == kept
        keep(b"two", going_on=False)
        assert (tmp_path / "standard-input").read_bytes() == b"two"
        assert [path.name for path in tmp_path.iterdir()] == ["standard-input"]

    def test_errors(self, tmp_path, monkeypatch):
        with pytest.raises(RegardError, match="named twice"):
            keep_standard_input(TextData(source="-", validation="-"), tmp_path)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
        with pytest.raises(RegardError, match="nothing came in on standard input"):
            keep_standard_input(TextData(source="-"), tmp_path)


def documents_text(path):
    return ["".join(text) for text in documents(path)]
