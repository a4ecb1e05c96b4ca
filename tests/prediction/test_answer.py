"""Answers, against all spans tried one by one; their characters are exact in every script."""

import gzip
import itertools
import json
import math
import unicodedata

import pytest

from regard import heads
from regard.prediction import Answerer
from regard.prediction.answer import whole
from regard.settings import RegardError
from tests.prediction.models import ENGLISH, alone, byte_tokenizer, encoder, wordpiece
from tests.shared import shared

CONTEXTS = [
    ENGLISH,
    "高い塔は330メートル。",
    "ＣＲＥ\u0300ME bru\u0302le\u0301e — Größe \ufb01n",
    "\U0001f469\U0001f3fd\u200d\U0001f680 met \U0001f468\u200d\U0001f469\u200d\U0001f467 नमस्ते\u200bx",
    " \t a\r\n b ",
]


def answerer(tokenizer, context_length=40, no_answer=False, seed=0, **settings) -> Answerer:
    model = encoder(heads.Answer(no_answer=no_answer), tokenizer.vocab_size, context_length, seed)
    return Answerer(model, tokenizer, **settings)


def by_hand(own, question: bytes, context: bytes, longest: int, overlap: int):
    """The score of every span of bytes (start, end), and that of no answer."""
    tokenizer = own.tokenizer
    room = own.longest - 3 - len(question)
    step = room - min(overlap, room // 2)
    starts = [start for start in range(0, len(context), step) if start + room < len(context)]
    starts.append(max(0, len(context) - room))
    scores, none = {}, math.inf
    for start in starts:
        window = context[start : start + room]
        before = [tokenizer.class_, *question, tokenizer.separator]
        row = [*before, *window, tokenizer.separator]
        logits = alone(own.model, row, [0] * len(before) + [1] * (len(window) + 1)).tolist()
        none = min(none, sum(logits[0]))
        for i, j in itertools.product(range(len(window)), repeat=2):
            if i <= j < i + longest:
                score = logits[len(before) + i][0] + logits[len(before) + j][1]
                key = (start + i, start + j + 1)
                scores[key] = max(score, scores.get(key, -math.inf))
    return scores, none


@pytest.mark.parametrize("no_answer", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_answers_are_the_best_spans_of_all_windows(seed, no_answer):
    own = answerer(byte_tokenizer(), no_answer=no_answer, seed=seed)
    question, context = "who?", "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkl"
    scores, none = by_hand(own, question.encode(), context.encode(), longest=5, overlap=10)
    [found] = own.predict([(question, context)], n_best=7, longest=5, overlap=10)
    best = sorted(scores, key=lambda key: -scores[key])[:7]
    assert [(one.start, one.end) for one in found.answers] == best
    every = [math.exp(score) for score in scores.values()] + ([math.exp(none)] if no_answer else [])
    for one, key in zip(found.answers, best, strict=True):
        assert one.text == context[slice(*key)]
        assert one.score == pytest.approx(scores[key], abs=1e-10)
        assert one.probability == pytest.approx(math.exp(scores[key]) / sum(every), abs=1e-10)
    if no_answer:
        assert found.no_answer == pytest.approx(none - scores[best[0]], abs=1e-10)
        assert found.silence == pytest.approx(math.exp(none) / sum(every), abs=1e-10)
    else:
        assert (found.no_answer, found.silence, found.text) == (None, 0.0, found.answers[0].text)


def test_no_answer_is_given_above_the_threshold():
    own = answerer(byte_tokenizer(), no_answer=True)
    [free] = own.predict([("who?", "some one there")])
    for threshold, silent in ((free.no_answer - 1e-6, True), (free.no_answer, False)):
        [found] = own.predict([("who?", "some one there")], threshold=threshold)
        assert (found.best is None) == silent == (found.text == "") == str(found).startswith("no answer")
        assert json.loads(json.dumps(found.to_dict()))["answer"] == found.text
        assert found.to_dict(3)["answers"][0]["text"] == free.answers[0].text


def test_nothing_to_read_has_no_answer():
    own = answerer(byte_tokenizer())
    found = own.predict([("who?", ""), ("", "some one"), ("who?", "me")])
    assert [bool(one.answers) for one in found] == [False, False, True]
    assert (found[0].text, str(found[0])) == ("", "–")


def test_long_questions_and_contexts():
    said = []
    own = answerer(byte_tokenizer(), say=said.append)
    [found] = own.predict([("why " * 20, "because " * 400)], longest=3)
    assert found.text in "because " * 400
    assert said == ["question 1 is 80 tokens long, and its first 18 are read."]
    with pytest.raises(RegardError, match=r"text 1 is 3,200 tokens long"):
        answerer(byte_tokenizer(), long="refuse").predict([("why?", "because " * 400)])
    with pytest.raises(RegardError, match=r"1 or more"):
        own.predict([("why?", "so")], n_best=0)


@pytest.mark.parametrize("tokenizer", [wordpiece, byte_tokenizer])
@pytest.mark.parametrize("context", CONTEXTS)
def test_answers_are_characters_of_the_context(tokenizer, context):
    own = answerer(tokenizer(), 96)
    [found] = own.predict([("tower?", context)], n_best=20)
    assert found.answers
    for one in found.answers:
        assert one.text == context[one.start : one.end] == one.text.strip() != ""
        for place in (one.start, one.end):
            inside = context[place : place + 1]
            assert not (inside and unicodedata.category(inside).startswith("M"))
            assert inside != "\u200d"
            assert not (place and context[place - 1] == "\u200d")


def test_parts_of_a_character_are_made_whole():
    text = "xe\u0301y 👩🏽‍🚀."
    assert whole(text, 1, 2) == (1, 3)
    assert whole(text, 2, 3) == (1, 3)
    assert whole(text, 5, 6) == (5, 9)
    assert whole(text, 8, 10) == (5, 10)
    assert whole(" a ", 0, 3) == (1, 2)
    assert whole(" \n", 0, 2) == (2, 2)


@pytest.mark.parametrize("language", ["en", "de", "zh"])
def test_the_characters_of_real_answers_come_back(language):
    """An answer that begins and ends where tokens do is given to the character."""
    articles = json.loads(gzip.decompress(shared(f"data/xquad/xquad.{language}.json.gz").read_bytes()))["data"]
    tokenizer = wordpiece()
    exact = total = 0
    for paragraph in [paragraph for article in articles for paragraph in article["paragraphs"]][:60]:
        context = paragraph["context"]
        tokens = tokenizer.tokens(context)
        starts, ends = {token.start for token in tokens}, {token.end for token in tokens}
        for question in paragraph["qas"]:
            for answer in question["answers"]:
                start, end = answer["answer_start"], answer["answer_start"] + len(answer["text"])
                first = max((place for place in starts if place <= start), default=0)
                last = min((place for place in ends if place >= end), default=len(context))
                total += 1
                found = context[slice(*whole(context, first, last))]
                assert answer["text"].strip() in found
                exact += found == answer["text"]
    assert total > 200
    assert exact / total > 0.95  # the others begin or end within a word
