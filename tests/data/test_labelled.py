"""Texts and labels are found by name or by what stands in the columns, and what is wrong is one sentence."""

import io
import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from regard.data.inputs import read_inputs
from regard.data.kinds import Data
from regard.data.labelled import LabelledData, read_labelled
from regard.settings import RegardError
from tests.shared import shared


def read(path: Path, task: str = "classify", said: list[str] | None = None, **settings: object) -> list[tuple]:
    config = LabelledData(source=str(path), validation_fraction=0, **settings)
    say = (said if said is not None else []).append
    return [(one.text, one.second, one.label) for _, one in read_labelled(config, task, say)]  # type: ignore[arg-type]


def inputs(path: Path, task: str = "classify", **settings: object) -> list[tuple]:
    found = read_inputs(str(path), LabelledData(**settings), task)  # type: ignore[arg-type]
    return [(one.text, one.second, one.label) for one in found]


ROWS = [(f"a sentence with number {n} in it", "good" if n % 3 else "bad") for n in range(40)]


class TestColumns:
    def test_without_names_the_column_of_few_values_is_the_label(self, tmp_path: Path) -> None:
        said: list[str] = []
        expected = [(text, None, label) for text, label in ROWS]
        (tmp_path / "a.tsv").write_text("".join(f"{text}\t{label}\n" for text, label in ROWS))
        (tmp_path / "b.tsv").write_text("".join(f"{label}\t{text}\n" for text, label in ROWS))
        (tmp_path / "c.csv").write_text("".join(f"{n},{label},{text}\n" for n, (text, label) in enumerate(ROWS)))
        for name in ("a.tsv", "b.tsv", "c.csv"):
            assert read(tmp_path / name, said=said) == expected, name
        assert said[0] == (
            f"{tmp_path}/a.tsv: the text is column 1, the label 2; choose others with data.text=…, data.second=…, "
            "data.label=…."
        )

    def test_a_single_row(self, tmp_path: Path) -> None:
        (tmp_path / "a.tsv").write_text("a sentence of some length\t1\n")
        assert read(tmp_path / "a.tsv") == [("a sentence of some length", None, "1")]

    def test_names_that_nobody_knows_are_names(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("Stance,Utterances\n" + "".join(f"{label},{text}\n" for text, label in ROWS))
        assert read(tmp_path / "a.csv") == [(text, None, label) for text, label in ROWS]

    def test_a_label_that_is_called_as_a_column_is_no_name(self, tmp_path: Path) -> None:
        rows = [(f"word number {n}", "title" if n % 2 else "topic") for n in range(20)]
        (tmp_path / "a.tsv").write_text("".join(f"{text}\t{label}\n" for text, label in rows))
        assert read(tmp_path / "a.tsv") == [(text, None, label) for text, label in rows]

    @pytest.mark.parametrize(
        ("names", "cells", "expected"),
        [
            ("label,review", "1,fine", ("fine", None, "1")),
            ("Sentence1,Sentence2,Label", "a,b,yes", ("a", "b", "yes")),
            ("id,premise,hypothesis,gold_label", "7,a,b,yes", ("a", "b", "yes")),
            ("question,sentence,label", "a,b,yes", ("a", "b", "yes")),
            ("text,user,sentiment", "fine,me,good", ("fine", None, "good")),
        ],
    )
    def test_usual_names(self, tmp_path: Path, names: str, cells: str, expected: tuple) -> None:
        (tmp_path / "a.csv").write_text(f"{names}\n{cells}\n")
        assert read(tmp_path / "a.csv") == [expected]

    def test_they_can_be_named_or_numbered(self, tmp_path: Path) -> None:
        (tmp_path / "a.tsv").write_text("text\tother\tlabel\tkind\na\tb\tc\td\n")
        said: list[str] = []
        named = read(tmp_path / "a.tsv", said=said, text="other", second="text", label="kind")
        assert named == [("b", "a", "d")]
        assert said == []
        assert read(tmp_path / "a.tsv", text=2, label=4) == [("b", None, "d")]
        (tmp_path / "b.tsv").write_text("a\tb\tc\n")
        assert read(tmp_path / "b.tsv", text="2", second="none", label="3") == [("b", None, "c")]

    def test_a_second_text_is_not_wanted(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("sentence1,sentence2,label\na,b,c\n")
        assert read(tmp_path / "a.csv", second="none") == [("a", None, "c")]

    def test_real_files(self) -> None:
        train = read(shared("data/sst2/train.tsv"))
        assert Counter(label for _, _, label in train) == {"1": 3610, "0": 3310}
        pairs = read(shared("data/mrpc/msr_paraphrase_train.txt.gz"))
        assert Counter(label for _, _, label in pairs) == {"1": 2753, "0": 1323}
        assert pairs[0][0].startswith('Amrozi accused his brother, whom he called "the witness",')
        assert pairs[0][1].startswith('Referring to him as only "the witness",')
        said: list[str] = []
        hotel = read(shared("data/chn-sentiment/ChnSentiCorp_htl_all.csv.gz"), said=said)
        assert Counter(label for _, _, label in hotel) == {"1": 5322, "0": 2443}
        assert "Left out 1 row(s) without text." in said


class TestLabels:
    def test_values_of_json(self, tmp_path: Path) -> None:
        values = ["x", 1, 1.0, True, " y "]
        (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": "t", "label": v}) + "\n" for v in values))
        assert [label for _, _, label in read(tmp_path / "a.jsonl")] == ["x", "1", "1", "true", "y"]

    def test_numbers(self, tmp_path: Path) -> None:
        (tmp_path / "a.tsv").write_text("one text that is long\t0.5\nanother text as long\t-1e3\n")
        assert [label for _, _, label in read(tmp_path / "a.tsv", "regress")] == [0.5, -1000.0]
        (tmp_path / "b.csv").write_text("text,score\na,1\nb,high\n")
        with pytest.raises(RegardError, match=r"b\.csv, line 3, has the label 'high', which is no number"):
            read(tmp_path / "b.csv", "regress")
        (tmp_path / "c.csv").write_text("text,score\na,nan\n")
        with pytest.raises(RegardError, match="which is no number"):
            read(tmp_path / "c.csv", "regress")

    def test_several_in_one_cell(self, tmp_path: Path) -> None:
        expected = [("red", "blue"), ("red",), ()]
        for mark in "|;,":
            cells = (mark.join(labels) for labels in expected)
            (tmp_path / "a.tsv").write_text("text\tlabels\n" + "".join(f"t\t{cell}\n" for cell in cells))
            said: list[str] = []
            assert [labels for _, _, labels in read(tmp_path / "a.tsv", "multilabel", said)] == expected
            assert f"labels are separated by {mark!r}" in said[1]
        lists = "".join(json.dumps({"text": "t", "labels": [*labels, *labels]}) + "\n" for labels in expected)
        (tmp_path / "a.jsonl").write_text(lists)
        assert [labels for _, _, labels in read(tmp_path / "a.jsonl", "multilabel")] == expected
        (tmp_path / "b.tsv").write_text('text\tlabels\nt\t["red", "blue"]\nt\t["red"]\nt\t[]\n')
        assert [labels for _, _, labels in read(tmp_path / "b.tsv", "multilabel")] == expected
        (tmp_path / "c.tsv").write_text("text\tlabels\nt\tred / blue\n")
        assert read(tmp_path / "c.tsv", "multilabel", separator="/") == [("t", None, ("red", "blue"))]

    def test_a_column_for_each(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("id,text,red,blue\n7,t,1,0\n8,u,1,1\n9,v,0,0\n")
        expected = [("red",), ("red", "blue"), ()]
        assert [labels for _, _, labels in read(tmp_path / "a.csv", "multilabel")] == expected
        assert [labels for _, _, labels in read(tmp_path / "a.csv", "multilabel", label="red,blue")] == expected
        (tmp_path / "b.csv").write_text("text,red,blue\nt,1,2\n")
        with pytest.raises(RegardError, match=r"line 2, holds '2' in the column 'blue', and 0 or 1 was expected"):
            read(tmp_path / "b.csv", "multilabel", label=("red", "blue"))


class TestErrors:
    @pytest.mark.parametrize(
        ("name", "text", "settings", "says"),
        [
            ("a.csv", "text,lable\na,1\n", {"label": "label"}, r"has no column 'label'; did you mean 'lable'\?"),
            ("a.csv", "text,label\na,1\n", {"text": "txt"}, r"has no column 'txt'; did you mean 'text'\?"),
            ("a.csv", "text,label\na,1\nb, \n", {}, r"a\.csv, line 3, has no label in the column 'label'"),
            ("a.tsv", "text\tlabel\na\t1\nb\t0\tc\n", {}, r"a\.tsv, line 3, has 3 column\(s\), and 2 were expected"),
            ("a.csv", "first,last\nAda,Lovelace\n", {}, r"name the column of the label"),
            ("a.csv", "text\nAda\n", {}, r"name the column of the labels with data\.label=…; it has text"),
            ("a.csv", "text,label\n", {}, "holds no labelled texts"),
            ("a.tsv", "\n\n", {}, "holds no labelled texts"),
            ("a.jsonl", '{"text": 7, "label": 1}', {"text": "text"}, "line 1, holds 7 in the column 'text'"),
            ("a.jsonl", '{"text": "a", "label": 1}\n{"label": 1}', {}, "line 2, has no column 'text'"),
            ("a.jsonl", '{"text": "a", "label": [1]}', {}, "and one label was expected"),
            ("a.jsonl", '{"text": "a", "label": null}', {}, "has no label"),
            ("a.jsonl", '{"text": "\\ud83d", "label": 1}', {}, "half a surrogate pair"),
        ],
    )
    def test_one_sentence(self, tmp_path: Path, name: str, text: str, settings: dict, says: str) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(RegardError, match=says):
            read(tmp_path / name, **settings)

    def test_several_labels_where_one_is_expected(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("text,red,blue\nt,1,0\n")
        with pytest.raises(RegardError, match="2 columns of labels were given"):
            read(tmp_path / "a.csv", label=("red", "blue"))

    def test_built_in(self) -> None:
        with pytest.raises(RegardError, match="did you mean 'builtin:names'"):
            list(read_labelled(LabelledData(source="builtin:name")))
        with pytest.raises(RegardError, match="numbers were expected"):
            list(read_labelled(LabelledData(), "regress"))


class TestSplit:
    def test_equal_texts_stay_together(self, tmp_path: Path) -> None:
        (tmp_path / "a.tsv").write_text("".join(f"the text with number {n % 300}\t{n % 2}\n" for n in range(1200)))
        config = LabelledData(source=str(tmp_path / "a.tsv"), validation_fraction=0.2)
        found = list(read_labelled(config))
        sides = [{one.text for part, one in found if part == side} for side in (0, 1)]
        assert not sides[0] & sides[1]
        assert 30 < len(sides[1]) < 90  # 60 of 300 are expected
        other = list(read_labelled(config.replace(split_seed=1)))
        assert {one.text for part, one in other if part} != sides[1]

    def test_validation_of_its_own_and_blank_texts(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("text,label\na,1\n ,1\n,\n")
        (tmp_path / "b.csv").write_text("text,label\nb,0\n")
        said: list[str] = []
        config = LabelledData(source=str(tmp_path / "a.csv"), validation=str(tmp_path / "b.csv"))
        assert [(part, one.text) for part, one in read_labelled(config, say=said.append)] == [(0, "a"), (1, "b")]
        assert said[-1] == "Left out 2 row(s) without text."

    def test_the_built_in_set_is_the_default(self) -> None:
        found = list(read_labelled(LabelledData()))
        assert {part for part, _ in found} == {0, 1}
        assert isinstance(Data.resolve({"kind": "labelled"}), LabelledData)


class TestInputs:
    def test_a_text_a_line_keeps_blank_ones(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("one, two\n\nthree\tfour\n")
        assert inputs(tmp_path / "a.txt") == [("one, two", None, None), ("", None, None), ("three\tfour", None, None)]

    def test_labels_are_read_where_they_are(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("text,label\na,1\n,0\nb,\n")
        assert inputs(tmp_path / "a.csv") == [("a", None, "1"), ("", None, "0"), ("b", None, None)]
        (tmp_path / "b.csv").write_text("text\na\n")
        assert inputs(tmp_path / "b.csv", label="stance") == [("a", None, None)]
        (tmp_path / "c.txt").write_text("".join(f"{text}\t{label}\n" for text, label in ROWS))
        assert inputs(tmp_path / "c.txt", label="label")[0] == (ROWS[0][0], None, ROWS[0][1])

        (tmp_path / "d.jsonl").write_text('{"text": "a", "label": "x"}\n{"text": "b"}\n')
        assert inputs(tmp_path / "d.jsonl") == [("a", None, "x"), ("b", None, None)]

    def test_two_texts(self, tmp_path: Path) -> None:
        (tmp_path / "a.tsv").write_text("a text of some length\tanother one of it\n" * 9)
        assert inputs(tmp_path / "a.tsv")[0] == ("a text of some length", "another one of it", None)

    def test_a_column_of_texts_that_is_not_there(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("text,label\na,1\n")
        (tmp_path / "a.txt").write_text("one text\n")
        with pytest.raises(RegardError, match=r"has no column 'txt'; did you mean 'text'\?"):
            inputs(tmp_path / "a.csv", text="txt")
        with pytest.raises(RegardError, match="has no column 'text'"):
            inputs(tmp_path / "a.txt", text="text")

    def test_a_pipe(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for text, expected in {
            '{"text": "a"}\n{"text": "b"}\n': [("a", None, None), ("b", None, None)],
            "a\n{b}\n": [("a", None, None), ("{b}", None, None)],
        }.items():
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
            found = read_inputs("-", LabelledData())
            assert [(one.text, one.second, one.label) for one in found] == expected

    def test_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("")
        with pytest.raises(RegardError, match="holds nothing to predict from"):
            inputs(tmp_path / "a.txt")
