"""Pairs are read as written, split by their source, filtered with a count, kept, and cut into batches by tokens."""

import gzip
import json

import numpy as np
import pytest
import torch

from regard.data.batches import IGNORE
from regard.data.kinds import Data
from regard.data.pair_batches import EvaluationPairs, PairBatches
from regard.data.pair_store import PairStore, prepare_pairs
from regard.data.pairs import PairsData, pairs
from regard.settings import RegardError, SettingsError
from regard.text import Tokenizer
from regard.training.config import RunConfig

BYTES = Tokenizer.train([], kind="bytes", special=("begin", "end"))


def read(path, **settings):
    return [tuple(pair[1:]) for pair in pairs(PairsData(source=str(path), validation_fraction=0, **settings))]


class TestFiles:
    def test_every_format_gives_the_same_pairs(self, tmp_path):
        expected = [('a "b', "c, d"), ("猫", "cat"), ("", "empty source")]
        (tmp_path / "a.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in expected))
        (tmp_path / "named.tsv").write_text("id\ttarget\tsource\n" + "".join(f"1\t{t}\t{s}\n" for s, t in expected))
        (tmp_path / "a.jsonl").write_text("".join(json.dumps({"source": s, "target": t}) + "\n" for s, t in expected))
        nested = (json.dumps({"translation": {"de": s, "en": t}}) + "\n" for s, t in expected)
        (tmp_path / "nested.jsonl").write_text("".join(nested))
        (tmp_path / "a.csv").write_text('source,target\n"a ""b","c, d"\n猫,cat\n,empty source\n')
        with gzip.open(tmp_path / "a.tsv.gz", "wt") as file:
            file.write("".join(f"{s}\t{t}\r\n" for s, t in expected))
        for name in ("a.tsv", "named.tsv", "a.jsonl", "nested.jsonl", "a.csv", "a.tsv.gz"):
            assert read(tmp_path / name) == expected, name

    def test_parquet(self, tmp_path):
        arrow = pytest.importorskip("pyarrow")
        import pyarrow.parquet as parquet

        parquet.write_table(arrow.table({"src": ["a", None], "tgt": ["b", "c"]}), tmp_path / "a.parquet")
        assert read(tmp_path / "a.parquet") == [("a", "b"), ("", "c")]

    def test_parallel_files_keep_blank_lines(self, tmp_path):
        (tmp_path / "a.de").write_text("eins\n\ndrei\n")
        (tmp_path / "a.en").write_text("one\ntwo\nthree\n")
        found = read(tmp_path / "a.de", target=str(tmp_path / "a.en"))
        assert found == [("eins", "one"), ("", "two"), ("drei", "three")]

    def test_columns_by_name_and_number_and_the_other_direction(self, tmp_path):
        (tmp_path / "a.tsv").write_text("hello\t你好\tCC-BY\n")
        assert read(tmp_path / "a.tsv", columns=("2", "1")) == [("你好", "hello")]
        assert read(tmp_path / "a.tsv", swap=True) == [("你好", "hello")]
        (tmp_path / "b.tsv").write_text("en\tzh\nhello\t你好\n")
        assert read(tmp_path / "b.tsv", columns="en,zh") == [("hello", "你好")]

    @pytest.mark.parametrize(
        ("text", "settings", "says"),
        [
            ("a\tb\nc\n", {}, r"line 2, has 1 column\(s\), and 2 were expected"),
            ("only one side\n", {}, "one column"),
            ("\n\n", {}, "holds no pairs"),
            ("x\ty\n1\t2\n", {"columns": ("x", "z")}, "no column 'z'"),
            ("x\ty\n1\t2\n", {"columns": ("0", "1")}, "counted from 1"),
        ],
    )
    def test_what_is_wrong_is_one_sentence(self, tmp_path, text, settings, says):
        (tmp_path / "a.tsv").write_text(text)
        with pytest.raises(RegardError, match=says):
            read(tmp_path / "a.tsv", **settings)

    def test_sides_of_unequal_length(self, tmp_path):
        (tmp_path / "a").write_text("1\n2\n")
        (tmp_path / "b").write_text("1\n2\n3\n")
        with pytest.raises(RegardError, match=r"a' has 2 lines and .*b' has more"):
            read(tmp_path / "a", target=str(tmp_path / "b"))

    @pytest.mark.parametrize(
        ("text", "says"),
        [("{", "line 1, is not JSON"), ("[1]", "no JSON object"), ('{"a": 1, "b": 2}', "name the two")],
    )
    def test_damaged_json(self, tmp_path, text, says):
        (tmp_path / "a.jsonl").write_text(text)
        with pytest.raises(RegardError, match=says):
            read(tmp_path / "a.jsonl")

    def test_a_number_where_text_should_be(self, tmp_path):
        (tmp_path / "a.jsonl").write_text('{"source": "a", "target": "b"}\n{"source": "a", "target": 7}\n')
        with pytest.raises(RegardError, match="line 2, holds 7 in the column 'target'"):
            read(tmp_path / "a.jsonl")

    def test_an_unknown_built_in_set(self):
        with pytest.raises(RegardError, match="did you mean 'dates'"):
            read("builtin:date")


class TestSplit:
    def test_equal_sources_stay_together(self, tmp_path):
        rows = [(f"s{n % 300}", f"t{n}") for n in range(1200)]
        (tmp_path / "a.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in rows))
        found = list(pairs(PairsData(source=str(tmp_path / "a.tsv"), validation_fraction=0.2)))
        sides = [{pair.source for pair in found if pair.part == part} for part in (0, 1)]
        assert not sides[0] & sides[1]
        assert 30 < len(sides[1]) < 90  # 60 of 300 are expected
        assert len(found) == 1200

    def test_validation_of_its_own(self, tmp_path):
        (tmp_path / "a.tsv").write_text("a\tb\n")
        (tmp_path / "v.tsv").write_text("c\td\n")
        found = list(pairs(PairsData(source=str(tmp_path / "a.tsv"), validation=str(tmp_path / "v.tsv"))))
        assert [tuple(pair) for pair in found] == [(0, "a", "b"), (1, "c", "d")]

    def test_built_in_parts_share_no_answer(self):
        found = list(pairs(PairsData(source="builtin:dates")))
        answers = [{pair.target for pair in found if pair.part == part} for part in (0, 1)]
        assert not answers[0] & answers[1]
        assert len([pair for pair in found if pair.part]) == 1000


class TestStore:
    def make(self, tmp_path, rows, said=None, **settings):
        path = tmp_path / "a.tsv"
        path.write_text("".join(f"{s}\t{t}\n" for s, t in rows))
        config = PairsData(source=str(path), validation_fraction=0, **settings)
        return prepare_pairs(config, BYTES, BYTES, tmp_path / "store", (said if said is not None else []).append)

    def test_rows_are_the_texts(self, tmp_path):
        rows = [("a猫", "b"), ("c", "ddd")]
        part = self.make(tmp_path, rows).train
        for number, (source, target) in enumerate(rows):
            assert part.source.row(number).tolist() == [*BYTES.encode(source), BYTES.end]
            assert BYTES.decode(part.target.row(number)) == target
        assert part.source.lengths.tolist() == [5, 2]

    def test_what_is_left_out_is_counted(self, tmp_path):
        said = []
        rows = [("a", "b"), ("", "b"), ("a", " "), ("a" * 9, "b"), ("aaaa", "b")]
        store = self.make(tmp_path, rows, said, max_length=8, max_ratio=3)
        assert len(store.train) == 1
        assert (
            "Left out 4 pair(s): 2 with a blank side, 1 longer than 8 tokens, 1 with sides in a ratio above 3." in said
        )
        assert store.notes[-1] in said
        with pytest.raises(RegardError, match=r"no pair is left.*Left out 1 pair"):
            self.make(tmp_path, [("", "b")])

    def test_reused_until_something_changes(self, tmp_path):
        said = []
        first = self.make(tmp_path, [("a", "b")])
        path = next((tmp_path / "store").glob("*.ids"))
        touched = path.stat().st_mtime_ns
        config = PairsData(source=str(tmp_path / "a.tsv"), validation_fraction=0)
        again = prepare_pairs(config, BYTES, BYTES, tmp_path / "store", said.append)
        assert again.fingerprint == first.fingerprint
        assert "nothing has changed" in said[0]
        assert path.stat().st_mtime_ns == touched
        other = prepare_pairs(config.replace(swap=True), BYTES, BYTES, tmp_path / "store")
        assert other.fingerprint != first.fingerprint
        assert not path.exists()

    @pytest.mark.parametrize("damage", ["manifest", "cut"])
    def test_damage_is_said(self, tmp_path, damage):
        self.make(tmp_path, [("a", "b")])
        if damage == "manifest":
            (tmp_path / "store" / "pairs.json").write_text("{}")
        else:
            path = next((tmp_path / "store").glob("train-source-*.ids"))
            path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(RegardError, match="damaged"):
            PairStore.open(tmp_path / "store")


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """400 pairs of unequal length; the target is the source's letters twice."""
    random = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("pairs")
    words = ["".join(random.choice(list("abcdef"), random.integers(1, 30))) for _ in range(400)]
    (folder / "a.tsv").write_text("".join(f"{word}\t{word + word}\n" for word in words))
    config = PairsData(source=str(folder / "a.tsv"), validation_fraction=0)
    return prepare_pairs(config, BYTES, BYTES, folder / "store").train


def sentences(batch):
    """The texts of a batch, read back from its rows."""
    sizes = [batch.inputs.shape[1]] * len(batch.inputs) if batch.lengths is None else batch.lengths.tolist()
    return [BYTES.decode(row[1:size].tolist()) for row, size in zip(batch.inputs, sizes, strict=True)]


class TestBatches:
    def batches(self, part, **settings):
        return PairBatches(part, BYTES.begin, BYTES.end, **{"batch_tokens": 512, "seed": 1, **settings})

    def test_an_epoch_shows_each_pair_once(self, part):
        batches = self.batches(part)
        for epoch in (0, 1):
            seen = [text for n in range(batches.batches) for text in sentences(batches.at(epoch * batches.batches + n))]
            assert sorted(seen) == sorted(BYTES.decode(part.target.row(n)) for n in range(len(part)))

    def test_batches_hold_as_many_tokens_as_fit(self, part):
        batches = self.batches(part)
        sizes = []
        for step in range(batches.batches):
            batch = batches.at(step)
            rows, t = batch.inputs.shape
            sizes.append(rows * max(t, batch.source.shape[1]))
        assert max(sizes) <= 512
        assert np.mean(sizes) > 400
        real = sum(batches.at(step).target_count for step in range(batches.batches))
        padded = sum(batches.at(step).targets.numel() for step in range(batches.batches))
        assert real > 0.9 * padded

    def test_the_right_shift(self, part):
        batch = self.batches(part).at(3)
        for row in range(len(batch.inputs)):
            n = int(batch.lengths[row]) if batch.lengths is not None else batch.inputs.shape[1]
            assert batch.inputs[row, 0] == BYTES.begin
            assert torch.equal(batch.inputs[row, 1:n], batch.targets[row, : n - 1])
            assert batch.targets[row, n - 1] == BYTES.end
            assert (batch.targets[row, n:] == IGNORE).all()
        assert batch.target_count == int((batch.targets != IGNORE).sum())

    def test_a_batch_is_a_function_of_seed_and_step(self, part):
        fresh, used = self.batches(part), self.batches(part)
        for step in (50, 0, 17):
            used.at(step)
        assert torch.equal(fresh.at(23).inputs, used.at(23).inputs)
        other = self.batches(part, seed=2)
        assert any(sentences(fresh.at(step)) != sentences(other.at(step)) for step in range(5))

    @pytest.mark.parametrize(("accumulate", "world"), [(1, 1), (2, 1), (3, 2)])
    def test_parts_make_the_whole(self, part, accumulate, world):
        whole = self.batches(part)
        cut = self.batches(part, accumulate=accumulate)
        for step in range(whole.batches):
            parts = [cut.at(step, micro, rank, world) for micro in range(accumulate) for rank in range(world)]
            assert sum(one.target_count for one in parts) == whole.at(step).target_count
            real = [text for one in parts if one.target_count for text in sentences(one)]
            assert sorted(real) == sorted(sentences(whole.at(step)))

    def test_by_rows(self, part):
        batches = self.batches(part, batch_tokens=None, batch_size=32)
        sizes = [len(batches.at(step).inputs) for step in range(batches.batches)]
        assert sorted(sizes) == [33] * 8 + [34] * 4  # no batch is short, and none much longer than the others

    def test_evaluation_sees_each_once(self, part):
        every = EvaluationPairs(part, BYTES.begin, BYTES.end, batch_tokens=512)
        seen = [text for batch in every for text in sentences(batch)]
        assert sorted(seen) == sorted(BYTES.decode(part.target.row(n)) for n in range(len(part)))
        few = EvaluationPairs(part, BYTES.begin, BYTES.end, batch_tokens=512, limit=40)
        assert sum(len(batch.inputs) for batch in few) == 40


class TestSettings:
    def test_without_a_kind_data_are_text(self):
        assert Data.resolve({"source": ["a.txt"]}).kind == "text"
        assert Data.resolve({"kind": "pairs", "source": "a.tsv"}).source == ("a.tsv",)

    def test_a_setting_of_another_kind_names_it(self):
        with pytest.raises(SettingsError, match="a kind that has it is 'pairs'"):
            RunConfig.from_dict({"model": {}, "data": {"kind": "text", "swap": True}})
