"""Error rates against an edit distance by brute force, and hand-worked counts."""

import json
import random
import sys
from functools import cache

import pytest

from regard.evaluation import Bootstrap, transcription_scores
from regard.settings import RegardError


def distance(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """Fewest units to put in, out or change: tried in all ways."""

    @cache
    def rest(i: int, j: int) -> int:
        if i == len(a) or j == len(b):
            return len(a) - i + len(b) - j
        return min(rest(i + 1, j) + 1, rest(i, j + 1) + 1, rest(i + 1, j + 1) + (a[i] != b[j]))

    return rest(0, 0)


def heard(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Hypotheses and references of spoken digits, some misheard."""
    draw = random.Random(seed)
    digits = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    said = [[draw.choice(digits) for _ in range(draw.randint(0, 7))] for _ in range(count)]
    said[0] = ["one"]
    told = []
    for line in said:
        line = [draw.choice(digits) if draw.random() < 0.15 else word for word in line if draw.random() > 0.1]
        told.append(line + [draw.choice(digits)] * (draw.random() < 0.1))
    return [" ".join(line) for line in told], [" ".join(line) for line in said]


@pytest.mark.parametrize("seed", range(3))
def test_rates_by_brute_force(seed):
    hypotheses, references = heard(40, seed)
    scores = transcription_scores(hypotheses, references, bootstrap=None)
    for rate, units in ((scores.wer, str.split), (scores.cer, list)):
        pairs = [(tuple(units(r)), tuple(units(h))) for h, r in zip(hypotheses, references, strict=True)]
        assert rate.errors == sum(distance(r, h) for r, h in pairs)
        assert rate.hits + rate.substitutions + rate.deletions == rate.total == sum(len(r) for r, _ in pairs)
        assert rate.hits + rate.substitutions + rate.insertions == sum(len(h) for _, h in pairs)
        assert rate.rate == rate.errors / rate.total
    assert scores.exact == sum(h == r for h, r in zip(hypotheses, references, strict=True)) / 40


def test_counts_by_hand():
    scores = transcription_scores(["one too", "", "four", "oh"], ["one two three", "six", "four", ""], bootstrap=None)
    wer, cer = scores.wer, scores.cer
    # two → too; three, six left out; oh put in where nothing was said
    assert (wer.hits, wer.substitutions, wer.deletions, wer.insertions, wer.total) == (2, 1, 2, 1, 5)
    # w → o; " three" and "six" left out; o, h put in; of 13 + 3 + 4 characters
    assert (cer.hits, cer.substitutions, cer.deletions, cer.insertions, cer.total) == (10, 1, 9, 2, 20)
    assert (scores.recordings, scores.empty, scores.exact) == (4, 1, 0.25)


def test_the_worst_stand_first():
    hypotheses = ["a b", "x y z", "a", "q"]
    references = ["a b", "a b c", "a b", "a"]
    worst = transcription_scores(hypotheses, references, bootstrap=None).worst
    assert [(each.index, each.errors) for each in worst] == [(1, 3), (2, 1), (3, 1)]
    assert (worst[0].reference, worst[0].hypothesis) == ("a b c", "x y z")
    assert len(transcription_scores(hypotheses, references, worst=1, bootstrap=None).worst) == 1


@pytest.mark.parametrize(("normaliser", "errors"), [("none", 5), ("lower", 4), ("words", 0)])
def test_normalisers(normaliser, errors):
    """Both sides go through it, and white space is one space in any case."""
    heard, said = ["oh twenty one isn't\n it"], ["Oh twenty-one,   isn’t it?"]
    scores = transcription_scores(heard, said, normaliser, bootstrap=None)
    assert scores.normaliser == normaliser
    assert f"normaliser: {normaliser}" in str(scores)
    assert scores.wer.errors == errors


def test_a_function_is_named():
    def without_h(text: str) -> str:
        return text.replace("h", "")

    scores = transcription_scores(["ello"], ["hello"], without_h)
    assert scores.wer.errors == 0
    assert scores.normaliser.endswith("without_h")
    with pytest.raises(RegardError, match="no words in the references"):
        transcription_scores(["hello"], ["h"], without_h)


def test_the_interval_holds_the_rate_and_shrinks():
    few, many = (transcription_scores(*heard(n), bootstrap=Bootstrap(samples=300)) for n in (50, 800))
    for scores in (few, many):
        for rate in (scores.wer, scores.cer):
            assert rate.low < rate.rate < rate.high
    assert many.wer.high - many.wer.low < 0.5 * (few.wer.high - few.wer.low)
    assert many == transcription_scores(*heard(800), bootstrap=Bootstrap(samples=300))


def test_it_prints_and_json_holds_it():
    scores = transcription_scores(["one too", ""], ["one two three", "six"], bootstrap=Bootstrap(samples=50))
    text = str(scores)
    assert "WER  75.00% (" in text
    assert "1 substituted, 2 deleted, 0 inserted, of 4 words" in text
    assert "2 recordings, 1 heard as nothing; 0.0% without an error; normaliser: none" in text
    assert "2 wrong in recording 1\n    said   one two three\n    heard  one too" in text
    again = json.loads(json.dumps(scores.to_dict()))
    assert again["wer"]["rate"] == 0.75
    assert again["worst"][1] == {"index": 1, "reference": "six", "hypothesis": "", "errors": 1}


@pytest.mark.parametrize(
    ("hypotheses", "references", "normaliser", "message"),
    [
        (["a"], ["a", "b"], "none", "1 hypotheses and 2 references"),
        ([], [], "none", "no words"),
        (["a"], [" "], "none", "no words"),
        ("a", ["a"], "none", "not one text"),
        (["a"], ["a"], "word", "no normaliser 'word'; did you mean 'words'"),
    ],
)
def test_wrong_input_is_one_line(hypotheses, references, normaliser, message):
    with pytest.raises(RegardError, match=message):
        transcription_scores(hypotheses, references, normaliser)


def test_without_jiwer(monkeypatch):
    monkeypatch.setitem(sys.modules, "jiwer", None)
    with pytest.raises(RegardError, match=r"needs the package 'jiwer'.*regard\[speech\]"):
        transcription_scores(["a"], ["a"])
