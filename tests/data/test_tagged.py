"""Words and tags are read as written, from every layout that people use; what is wrong names its line."""

import json
from pathlib import Path

import pytest

from regard.data import tagged
from regard.data.inputs import read_inputs
from regard.data.tagged import TaggedData, read_tagged, split_words
from regard.settings import RegardError
from tests.shared import shared

ADA = (("Ada", "Lovelace", "wrote"), ("B-person", "I-person", "O"))
HASH = (("#", "#now"), ("O", "O"))


def read(path: Path, said: list[str] | None = None, **settings: object) -> list[tuple]:
    config = TaggedData(source=str(path), validation_fraction=0, **settings)
    say = (said if said is not None else []).append
    return [(one.words, one.tags) for _, one in read_tagged(config, say)]


class TestColumns:
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("a.conll", "Ada\tB-person\nLovelace\tI-person\nwrote\tO\n\t\n#\tO\n#now\tO\n"),
            ("a.txt", "\n\nAda B-person\nLovelace  I-person\nwrote O\n\n\n# O\n#now O\n\n"),
            (
                "a.conll",
                "-DOCSTART- -X- O O\n\nAda NNP x B-person\nLovelace NNP x I-person\nwrote V x O\n\n# # x O\n#now # x O",
            ),
            (
                "a.conll",
                "# sent_id = 1\n# text\nAda\tB-person\nLovelace\tI-person\nwrote\tO\n\n# sent_id = 2\n#\tO\n#now\tO\n",
            ),
            ("a.csv", 'Ada,B-person\n"Lovelace",I-person\nwrote,O\n\n#,O\n#now,O\n'),
        ],
    )
    def test_layouts(self, tmp_path: Path, name: str, text: str) -> None:
        (tmp_path / name).write_text(text)
        assert read(tmp_path / name) == [ADA, HASH]

    def test_other_columns_and_separators(self, tmp_path: Path) -> None:
        (tmp_path / "a.conllu").write_text("1\tAda\tPROPN\tB-x\n2\twrote it\tVERB\tO\n")
        assert read(tmp_path / "a.conllu", word=2, tag="3") == [(("Ada", "wrote it"), ("PROPN", "VERB"))]
        (tmp_path / "b.txt").write_text("Ada|B-x\nwrote|O\n")
        assert read(tmp_path / "b.txt", separator="|") == [(("Ada", "wrote"), ("B-x", "O"))]

    def test_tags_stay_as_they_are(self, tmp_path: Path) -> None:
        tags = ("I-x", "S-y", "E-z", "L-z", "U-a", "-", "NN")
        (tmp_path / "a.conll").write_text("".join(f"w\t{tag}\n" for tag in tags))
        assert read(tmp_path / "a.conll") == [(("w",) * 7, tags)]

    def test_real_files(self) -> None:
        found = read(shared("data/wnut17/train.conll"))
        assert len(found) == 3394
        assert sum(len(words) for words, _ in found) == 62730
        assert sum(tag.startswith("B-") for _, tags in found for tag in tags) == 1975


class TestRows:
    def test_json(self, tmp_path: Path) -> None:
        rows = [{"tokens": words, "ner_tags": tags} for words, tags in (ADA, HASH)]
        (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tmp_path / "a.json").write_text(json.dumps(rows))
        said: list[str] = []
        assert read(tmp_path / "a.jsonl", said) == read(tmp_path / "a.json") == [ADA, HASH]
        assert "the tags are taken from the column 'ner_tags'" in said[1]
        (tmp_path / "b.jsonl").write_text('{"w": ["Ada"], "t": ["x"]}')
        assert read(tmp_path / "b.jsonl", word="w", tag="t") == [(("Ada",), ("x",))]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.conll", "Ada\tO\nwrote\nit\tO\n", r"a\.conll, line 2, has 1 column\(s\), and 2 were expected"),
        ("a.conll", "Ada\tO\n\tO\n", "line 2, has a tag and no word"),
        ("a.conll", "Ada\tO\nwrote\t\n", "line 2, has a word without a tag"),
        ("a.conll", "Ada\n\nwrote\n", "has one column, and a word and its tag were expected"),
        ("a.conll", "\n# text = nothing\n", "holds no tagged words"),
        ("a.conll", "Ada\tO\n" + "x\tO\n" * 60, "no blank line in the 50 lines from line 1 on"),
        ("a.jsonl", '{"words": ["Ada"], "tags": ["O", "O"]}', r"line 1, has 1 word\(s\) and 2 tag\(s\)"),
        (
            "a.jsonl",
            '{"words": ["Ada"], "tags": ["O"]}\n{"words": ["Ada"]}',
            "line 2, has no tags in the column 'tags'",
        ),
        ("a.jsonl", '{"words": [1], "tags": ["O"]}', "line 1, holds 1 among its words"),
        ("a.jsonl", '{"words": {"a": 1}, "tags": ["O"]}', "and a list was expected"),
        ("a.jsonl", '{"word_s": ["Ada"], "tags": ["O"]}', r"name the columns.*it has word_s, tags"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, says: str
) -> None:
    monkeypatch.setattr(tagged, "LONGEST", 50)
    (tmp_path / name).write_text(text)
    with pytest.raises(RegardError, match=says):
        read(tmp_path / name)


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("Ada\tO\n")
    with pytest.raises(RegardError, match=r"has 2 column\(s\), and data\.tag is '3'"):
        read(tmp_path / "a.conll", tag=3)
    with pytest.raises(RegardError, match="no source of tagged words"):
        list(read_tagged(TaggedData()))


def test_equal_sentences_stay_together(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("".join(f"word{n % 200}\tO\n\n" for n in range(800)))
    found = list(read_tagged(TaggedData(source=str(tmp_path / "a.conll"), validation_fraction=0.2)))
    sides = [{one.words for part, one in found if part == side} for side in (0, 1)]
    assert not sides[0] & sides[1]
    assert 20 < len(sides[1]) < 60


class TestInputs:
    def inputs(self, path: Path) -> list[tuple]:
        return [(one.words, one.tags, one.text) for one in read_inputs(str(path), TaggedData())]

    def test_a_sentence_a_line(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("Ada wrote.\n\n我爱 Paris!\n")
        assert self.inputs(tmp_path / "a.txt") == [
            (("Ada", "wrote", "."), None, "Ada wrote."),
            ((), None, ""),
            (("我", "爱", "Paris", "!"), None, "我爱 Paris!"),
        ]
        (tmp_path / "b.txt").write_text("Ada wrote it.\n")
        assert self.inputs(tmp_path / "b.txt") == [(("Ada", "wrote", "it", "."), None, "Ada wrote it.")]

    def test_a_word_a_line_with_tags_or_without(self, tmp_path: Path) -> None:
        (tmp_path / "a.conll").write_text("Ada\nwrote\n\nit\n")
        assert self.inputs(tmp_path / "a.conll") == [(("Ada", "wrote"), None, None), (("it",), None, None)]
        (tmp_path / "d.txt").write_text("Ada B-x\nwrote O\n\nit O\n")
        assert self.inputs(tmp_path / "d.txt") == [(("Ada", "wrote"), ("B-x", "O"), None), (("it",), ("O",), None)]
        (tmp_path / "b.txt").write_text("Ada\tB-x\nwrote\tO\n\nit\tO\n")
        assert self.inputs(tmp_path / "b.txt") == [(("Ada", "wrote"), ("B-x", "O"), None), (("it",), ("O",), None)]
        (tmp_path / "c.jsonl").write_text('{"words": ["Ada"]}\n{"words": []}\n')
        assert self.inputs(tmp_path / "c.jsonl") == [(("Ada",), None, None), ((), None, None)]

    def test_words_stand_in_their_text(self) -> None:
        text = "Don't e-mail @ada (3.14%) – see https://x.example/a?b=1, naïve 東京タワー! #now"
        words = split_words(text)
        at = 0
        for word in words:
            at = text.index(word, at) + len(word)
        assert "".join(words) == "".join(text.split())
        assert {"Don't", "e-mail", "@ada", "3.14", "%", "東", "京", "#now", "naïve"} <= set(words)
