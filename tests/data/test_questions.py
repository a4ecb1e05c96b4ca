"""Answers stand where they are said to stand, are mended if they do not, and else are counted."""

import json
from collections import Counter
from pathlib import Path

import pytest

from regard.data.examples import AnswerSpan
from regard.data.inputs import read_inputs
from regard.data.questions import QuestionData, read_questions
from regard.settings import RegardError
from tests.shared import shared

CONTEXT = "Ada wrote it. 😀 Then Ada left for Paris in 1850."


def read(path: Path, said: list[str] | None = None, **settings: object) -> list:
    config = QuestionData(source=str(path), **{"validation_fraction": 0, **settings})
    return list(read_questions(config, (said if said is not None else []).append))


def squad(path: Path, answers: list, **more: object) -> Path:
    questions = [{"id": f"q{n}", "question": "Who?", "answers": one, **more} for n, one in enumerate(answers)]
    article = {"title": "Ada", "paragraphs": [{"context": CONTEXT, "qas": questions}]}
    path.write_text(json.dumps({"version": "1.1", "data": [article]}))
    return path


class TestSquad:
    def test_both_versions(self, tmp_path: Path) -> None:
        answers = [{"text": "Paris", "answer_start": CONTEXT.index("Paris")}, {"text": "Ada", "answer_start": 0}]
        found = read(squad(tmp_path / "a.json", [answers, []]))
        assert [one.id for _, one in found] == ["q0", "q1"]
        assert found[0][1].answers == (AnswerSpan("Paris", 34), AnswerSpan("Ada", 0))
        assert found[1][1].answers == ()
        assert found[0][1].where == f"{tmp_path}/a.json, article 1, paragraph 1, question 1"
        impossible = read(squad(tmp_path / "b.json", [answers], is_impossible=True, plausible_answers=answers))
        assert impossible[0][1].answers == ()

    @pytest.mark.parametrize("language", ["en", "de", "zh"])
    def test_real_files_are_exact(self, language: str) -> None:
        said: list[str] = []
        found = read(shared(f"data/xquad/xquad.{language}.json.gz"), said, validation_fraction=0.1)
        assert said == []
        assert len(found) == 1190
        assert all(q.context[a.start : a.start + len(a.text)] == a.text for _, q in found for a in q.answers)
        sides = [{q.context for part, q in found if part == side} for side in (0, 1)]
        assert not sides[0] & sides[1]
        assert 40 < Counter(part for part, _ in found)[1] < 240


class TestMending:
    def test_a_wrong_start_is_mended_where_the_answer_occurs_once(self, tmp_path: Path) -> None:
        by_utf16 = CONTEXT.index("Paris") + 1
        said: list[str] = []
        found = read(squad(tmp_path / "a.json", [[{"text": "Paris", "answer_start": by_utf16}]]), said)
        assert found[0][1].answers == (AnswerSpan("Paris", 34),)
        assert said == ["Mended where 1 answer(s) start, which stand elsewhere in their context."]

    def test_near_counts_before_the_whole(self, tmp_path: Path) -> None:
        context = "Ada left." + " x" * 200 + " Then Ada came."
        row = {"question": "Who?", "context": context, "answers": [{"text": "Ada", "start": len(context) - 12}]}
        (tmp_path / "a.jsonl").write_text(json.dumps(row))
        assert read(tmp_path / "a.jsonl")[0][1].answers == (AnswerSpan("Ada", context.rindex("Ada")),)

    def test_what_cannot_be_found_is_left_out_and_counted(self, tmp_path: Path) -> None:
        answers = [
            [{"text": "Ada", "answer_start": 5}],
            [{"text": "Rome", "answer_start": 3}, {"text": "1850", "answer_start": 43}],
        ]
        said: list[str] = []
        found = read(squad(tmp_path / "a.json", answers), said)
        assert [one.answers for _, one in found] == [(AnswerSpan("1850", 43),)]
        assert said[0].startswith("Left out 2 answer(s) that do not stand in their context, such as in ")
        assert said[1].startswith("Left out 1 question(s) without an answer")


class TestRows:
    @pytest.mark.parametrize(
        "answers",
        [
            {"answers": [{"text": "Paris", "start": 34}]},
            {"answers": {"text": ["Paris"], "answer_start": [34]}},
            {"answers": {"text": "Paris", "answer_start": 34}},
            {"answers": ["Paris"]},
            {"answer": "Paris"},
            {"answer": "Paris", "answer_start": 34},
            {"answer": "Paris", "answer_start": "34"},
        ],
    )
    def test_ways_to_write_an_answer(self, tmp_path: Path, answers: dict) -> None:
        row = {"question": "Where?", "context": CONTEXT, **answers}
        (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
        (tmp_path / "a.json").write_text(json.dumps([row]))
        for name in ("a.jsonl", "a.json"):
            said: list[str] = []
            assert [one.answers for _, one in read(tmp_path / name, said)] == [(AnswerSpan("Paris", 34),)]
            assert said == []

    def test_other_files(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text(f'question,passage,answer\nWhere?,"{CONTEXT}",Paris\nWho?,"{CONTEXT}",\n')
        assert [one.answers for _, one in read(tmp_path / "a.csv")] == [(AnswerSpan("Paris", 34),), ()]
        row = json.dumps({"question": "Where?", "context": CONTEXT, "answer": "Paris"})
        (tmp_path / "a.txt").write_text(f"{row}\n{row}\n")
        assert len(read(tmp_path / "a.txt")) == 2


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.json", "{", r"a\.json, is not JSON"),
        ("a.json", "[" * 100_000, r"a\.json, is not JSON"),
        ("a.json", '{"data": 3}', "holds no list of questions"),
        ("a.json", "[3]", "row 1, is no JSON object"),
        ("a.json", '{"data": [{"paragraphs": 1}]}', "article 1, has no 'paragraphs', a list of JSON objects"),
        ("a.json", '{"data": [{"paragraphs": [{"qas": []}]}]}', "paragraph 1, has no text under 'context'"),
        ("a.json", '{"data": []}', "holds no questions with answers"),
        ("a.jsonl", '{"question": "a", "context": "b"}', "line 1, has no answers, and each question needs them"),
        ("a.jsonl", '{"context": "b", "answers": []}', "has no text under 'question'"),
        ("a.jsonl", '{"question": "b", "answers": []}', "has no context; it has question, answers"),
        ("a.jsonl", '{"question": "a", "context": "b", "answers": 3}', "and a list was expected"),
        ("a.jsonl", '{"question": "a", "context": "b", "answers": [3]}', "and a text with its start was expected"),
        ("a.jsonl", '{"question": "a", "context": "b", "answers": [{"text": "b", "start": -1}]}', "starts at -1"),
        (
            "a.jsonl",
            '{"question": "a", "context": "b", "answers": {"text": ["b"], "start": []}}',
            "is not said of each",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(RegardError, match=says):
        read(tmp_path / name)


def test_articles_stay_together_and_few_are_split_too(tmp_path: Path) -> None:
    rows = [{"question": "Who?", "context": f"context {n % 40}", "answers": []} for n in range(400)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read(tmp_path / "a.jsonl", validation_fraction=0.25)
    sides = [{one.context for part, one in found if part == side} for side in (0, 1)]
    assert not sides[0] & sides[1]
    assert len(sides[1]) == 10
    own = read(tmp_path / "a.jsonl", validation=str(tmp_path / "a.jsonl"), validation_fraction=0.25)
    assert Counter(part for part, _ in own) == {0: 400, 1: 400}


def test_inputs_keep_their_place(tmp_path: Path) -> None:
    rows = [
        {"id": 7, "question": "Where?", "context": CONTEXT},
        {"question": "", "context": CONTEXT, "answers": [{"text": "Rome", "start": 3}]},
        {"question": "Who?", "context": "", "answers": []},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = list(read_inputs(str(tmp_path / "a.jsonl"), QuestionData()))
    assert [(one.id, one.answers) for one in found] == [
        ("7", None),
        (f"{tmp_path}/a.jsonl, line 2", None),
        (f"{tmp_path}/a.jsonl, line 3", ()),
    ]
