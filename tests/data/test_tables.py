"""Tables of every format give the same rows; hostile ones give one sentence."""

import gzip
import json
import sys
import types
from pathlib import Path

import pytest

from regard.data import formats, tables
from regard.data.formats import Reading
from regard.data.tables import table
from regard.settings import RegardError


def rows(path: Path, **settings: object) -> list[tuple[str, dict]]:
    found = table(path, Reading(), **settings)
    return [] if found is None else [(row.where, dict(row.cells)) for row in found.rows]


EXPECTED = [{"text": 'a "b', "label": "x"}, {"text": "猫, 犬", "label": "y"}]


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('\ufefftext\tlabel\n\na "b\tx\n猫, 犬\ty\n')
    (tmp_path / "a.csv").write_text('text,label\n"a ""b",x\n"猫, 犬",y\n')
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n\n" for row in EXPECTED))
    (tmp_path / "a.json").write_text(json.dumps(EXPECTED))
    (tmp_path / "b.json").write_text(json.dumps({"version": 1, "data": EXPECTED}))
    with gzip.open(tmp_path / "a.txt.gz", "wt") as file:
        file.write('text\tlabel\r\na "b\tx\r\n猫, 犬\ty\r\n')
    for path in sorted(tmp_path.iterdir()):
        assert [cells for _, cells in rows(path)] == EXPECTED, path
    assert [where for where, _ in rows(tmp_path / "a.tsv")] == [f"{tmp_path}/a.tsv, line {n}" for n in (3, 4)]
    assert [where for where, _ in rows(tmp_path / "a.json")] == [f"{tmp_path}/a.json, row {n}" for n in (1, 2)]


def test_parquet_keeps_numbers_and_lists(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    values = {"text": ["a", None], "label": [1, 2], "tags": [["x"], []]}
    parquet.write_table(arrow.table(values), tmp_path / "a.parquet")
    assert [cells for _, cells in rows(tmp_path / "a.parquet")] == [
        {"text": "a", "label": 1, "tags": ["x"]},
        {"text": None, "label": 2, "tags": []},
    ]


def test_columns_by_name_and_by_number(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("one\ttwo\n1\t2\n")
    found = table(tmp_path / "a.tsv", Reading())
    assert found is not None
    assert (found.column("two", "data.text"), found.column("2", "data.text")) == ("two", "two")
    for wanted, says in {"tow": r"did you mean 'two'\?", "3": "has no column '3'", "0": "counted from 1"}.items():
        with pytest.raises(RegardError, match=says):
            found.column(wanted, "data.text")
    bare = table(tmp_path / "a.tsv", Reading(), headed=lambda rows: False)
    assert bare is not None
    assert bare.columns == ("1", "2")
    assert len(list(bare.rows)) == 2


def test_ragged_rows(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("text\tlabel\na\tb\tc\nd\n")
    assert [cells for _, cells in rows(tmp_path / "a.tsv")] == [{"text": "a", "label": "b"}, {"text": "d"}]
    with pytest.raises(RegardError, match=r"a\.tsv, line 2, has 3 column\(s\), and 2 were expected"):
        rows(tmp_path / "a.tsv", even=True)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.jsonl", "[" * 100_000, r"a\.jsonl, line 1, is not JSON"),
        ("a.json", "[" * 100_000, r"a\.json, is not JSON"),
        ("a.json", '[{"text": 1}, 7]', r"a\.json, row 2, is no JSON object"),
        ("a.json", '"text"', r"a\.json is no list of JSON objects"),
        ("a.jsonl", '{"text": NaN', "is not JSON"),
        (
            "a.csv",
            'text,label\n"a,1\nb,2\n',
            r"a\.csv, line 3, is not CSV: a quote that opens before it is never closed",
        ),
        ("a.csv", 'text,label\n"a"b,1\n', r"a\.csv, line 2, is not CSV: ',' expected after"),
        ("a.tsv", "text\tlabel\n\0\t1\n", r"binary file \(byte 11 is zero\)"),
        ("a.tsv", "text\n" + "x" * 5000, "row 2 is longer than"),
        ("a.json", "[" + " " * 5000, "which JSON is read up to"),
        ("a.parquet", "PAR1", "damaged or no Parquet"),
    ],
)
def test_hostile_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, says: str) -> None:
    if len(text) < 10_000:
        monkeypatch.setattr(formats, "CHUNK", 1000)
        monkeypatch.setattr(formats, "LONGEST_ROW", 4000)
        monkeypatch.setattr(formats, "LONGEST_JSON", 4000)
    (tmp_path / name).write_text(text)
    with pytest.raises(RegardError, match=says):
        rows(tmp_path / name)


def test_a_million_columns(tmp_path: Path) -> None:
    for name, mark in (("a.csv", ","), ("a.tsv", "\t")):
        (tmp_path / name).write_text(f"text{mark}label\na{mark}1\n" + mark * 1_000_000 + "x\n")
        with pytest.raises(RegardError, match=r"line 3, has 1000001 column\(s\), and 2 were expected") as caught:
            rows(tmp_path / name, even=True)
        assert len(str(caught.value)) < 500
    (tmp_path / "b.csv").write_text(",".join(f"c{n}" for n in range(1_000_000)) + "\n")
    found = table(tmp_path / "b.csv", Reading())
    assert found is not None
    with pytest.raises(RegardError, match="has no column 'text'"):
        found.column("text", "data.text")
    assert found.listed().endswith("c19 and 999980 more")


def test_only_a_few_rows_are_read_ahead(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text((json.dumps({"text": "x" * 400_000}) + "\n") * 20)
    found = table(tmp_path / "a.jsonl", Reading())
    assert found is not None
    assert len(found.peek) == 3
    assert len(list(found.rows)) == 20


def test_names_of_labels_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    class Rows:
        features = {
            "text": types.SimpleNamespace(dtype="string"),
            "label": types.SimpleNamespace(dtype="int64", names=["bad", "good"]),
            "tags": types.SimpleNamespace(feature=types.SimpleNamespace(names=["O", "B-x"])),
        }

        def select_columns(self, columns: list[str]) -> "Rows":
            return self

        def __iter__(self) -> object:
            yield {"text": "a", "label": 1, "tags": [0, 1]}
            yield {"text": "b", "label": -1, "tags": []}

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=lambda *a, **k: Rows()))
    found = tables.hub_table("hf:a/b")
    assert found is not None
    assert [row.cells for row in found.rows] == [
        {"text": "a", "label": "good", "tags": ["O", "B-x"]},
        {"text": "b", "label": None, "tags": []},
    ]
