"""BLEU, chrF and TER against counts by brute force, hand-worked edits and sacreBLEU's own command line."""

import importlib
import json
import logging
import math
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from regard.evaluation import Bootstrap, bleu_by_length, translation_differences, translation_scores
from regard.settings import RegardError

DOCS = Path(__file__).resolve().parents[2] / "docs"


def corrupted(count: int, seed: int = 0, rate: float = 0.2) -> tuple[list[str], list[str]]:
    """Hypotheses and references: sentences of 5 to 15 words, in which some words differ and some are missing."""
    draw = random.Random(seed)
    words = [a + b for a in "bdgkl" for b in ("a", "el", "om")]
    references = [[draw.choice(words) for _ in range(draw.randint(5, 15))] for _ in range(count)]
    hypotheses = [
        [draw.choice(words) if draw.random() < rate else word for word in line if draw.random() > rate / 4]
        for line in references
    ]
    return [" ".join(line) for line in hypotheses], [" ".join(line) for line in references]


def ngrams(units: list[str] | str, n: int) -> Counter:
    return Counter(tuple(units[i : i + n]) for i in range(len(units) - n + 1))


def bleu_by_hand(hypotheses: list[str], references: list[str]) -> float:
    lines = [(h.split(), r.split()) for h, r in zip(hypotheses, references, strict=True)]
    logs = 0.0
    for n in range(1, 5):
        found = sum((ngrams(h, n) & ngrams(r, n)).total() for h, r in lines)
        logs += math.log(found / sum(ngrams(h, n).total() for h, _ in lines)) / 4
    ours, theirs = sum(len(h) for h, _ in lines), sum(len(r) for _, r in lines)
    return 100 * math.exp(logs) * min(1, math.exp(1 - theirs / ours))


def chrf_by_hand(hypotheses: list[str], references: list[str]) -> float:
    lines = [(h.replace(" ", ""), r.replace(" ", "")) for h, r in zip(hypotheses, references, strict=True)]
    precision, recall = 0.0, 0.0
    for n in range(1, 7):
        found = sum((ngrams(h, n) & ngrams(r, n)).total() for h, r in lines)
        precision += found / sum(ngrams(h, n).total() for h, _ in lines) / 6
        recall += found / sum(ngrams(r, n).total() for _, r in lines) / 6
    return 100 * 5 * precision * recall / (4 * precision + recall)


class TestScores:
    def test_bleu_of_papineni(self):
        """Worked by hand: 3 of 7 words after clipping, and no longer match counts, so smoothed by halves."""
        scores = translation_scores(["the the cat the the on the"], ["the cat is on the mat"], bootstrap=None)
        # unigrams: the ×2, cat, on → 4 of 7; bigrams: "the cat", "on the" → 2 of 6; then 0 of 5 → 1/2, 0 of 4 → 1/4
        expected = 100 * (4 / 7 * 2 / 6 * 1 / (2 * 5) * 1 / (4 * 4)) ** 0.25
        assert scores.bleu.value == pytest.approx(expected, abs=1e-9)
        assert scores.length_ratio == pytest.approx(7 / 6)

    @pytest.mark.parametrize("seed", range(3))
    def test_bleu_and_chrf_by_brute_force(self, seed):
        hypotheses, references = corrupted(40, seed)
        scores = translation_scores(hypotheses, references, tokenized=True, bootstrap=None)
        assert 20 < scores.bleu.value < 90
        assert scores.bleu.value == pytest.approx(bleu_by_hand(hypotheses, references), abs=1e-9)
        assert scores.chrf.value == pytest.approx(chrf_by_hand(hypotheses, references), abs=1e-9)

    @pytest.mark.parametrize(
        ("hypothesis", "edits"),
        [
            ("a b c d e f g h", 0),
            ("a b c d e f g", 1),  # one left out
            ("a b c d e f g h i", 1),  # one put in
            ("a b c x e f g h", 1),  # one changed
            ("e f g h a b c d", 1),  # four moved at once
            ("a b x c e f g", 3),
            ("", 8),
        ],
    )
    def test_ter_of_edits(self, hypothesis, edits):
        ter = translation_scores([hypothesis], ["a b c d e f g h"], bootstrap=None).ter
        assert ter.value == pytest.approx(100 * edits / 8)

    def test_empty_lines_are_scored(self):
        hypotheses, references = corrupted(20)
        hypotheses[3], references[5] = "", " "
        scores = translation_scores(hypotheses, references, tokenized=True, bootstrap=None)
        assert (scores.sentences, scores.empty, scores.empty_references) == (20, 1, 1)
        assert scores.bleu.value == pytest.approx(bleu_by_hand(hypotheses, references), abs=1e-9)
        assert "1 translated to nothing" in str(scores)

    def test_exact(self):
        scores = translation_scores(["2014-03-05", "2014-03-05 ", "", "2014-03-05"], ["2014-03-05"] * 3 + ["2014-3-5"])
        assert scores.exact == 0.5

    def test_all_wrong_or_all_empty_is_zero(self):
        for hypothesis in ("x y z", ""):
            scores = translation_scores([hypothesis] * 3, ["a b c d e"] * 3)
            assert scores.bleu.value == scores.chrf.value == 0.0

    def test_nothing_is_said_by_sacrebleu(self, caplog):
        """It warns of a hundred lines that end in " .", though 13a takes them as they are."""
        with caplog.at_level(logging.DEBUG):
            translation_scores(["a b ."] * 200, ["a b ."] * 200, "zh", bootstrap=None)
        assert not caplog.records


class TestLanguages:
    @pytest.mark.parametrize(
        ("language", "tokenizer"),
        [("zh", "zh"), ("zh-Hant_TW", "zh"), ("cmn", "zh"), ("de", "13a"), ("EN", "13a"), (None, "13a")],
    )
    def test_the_target_language_chooses_the_tokenizer(self, language, tokenizer):
        scores = translation_scores(["a b"], ["a b"], language, bootstrap=None)
        assert f"|tok:{tokenizer}|" in scores.bleu.signature
        assert ("asian:yes" in scores.ter.signature) == (tokenizer == "zh")

    @pytest.mark.parametrize(
        ("code", "language", "package"), [("ja", "ja", "MeCab"), ("jpn", "ja", "MeCab"), ("ko-KR", "ko", "mecab_ko")]
    )
    def test_without_their_words_characters_are_counted(self, code, language, package):
        scores = translation_scores(["我是人"], ["我是人"], code, bootstrap=None)
        if importlib.util.find_spec(package) is None:
            assert "|tok:char|" in scores.bleu.signature
            assert f"pip install 'sacrebleu[{language}]'" in str(scores)
        else:
            assert f"|tok:{language}-mecab-" in scores.bleu.signature
            assert not scores.notes

    def test_chinese_is_taken_apart(self):
        """Four of five characters in order: by hand, and nothing at all without the language."""
        scores = translation_scores(["我们走吧。"], ["我们走了。"], "zh", bootstrap=None)
        assert scores.bleu.value == pytest.approx(100 * (4 / 5 * 2 / 4 * 1 / 3 * 1 / (2 * 2)) ** 0.25)
        assert scores.ter.value == pytest.approx(20.0)
        blind = translation_scores(["我们走吧。"], ["我们走了。"], bootstrap=None)
        assert (blind.bleu.value, blind.ter.value) == (0.0, 100.0)
        assert "name the target language" in str(blind)

    def test_tokenized_takes_tokens_as_they_are(self):
        plain, tokens = (
            translation_scores(["it 's."], ["it 's ."], tokenized=t, bootstrap=None) for t in (False, True)
        )
        assert "tok:none" in tokens.bleu.signature
        assert plain.length_ratio == 1.0
        assert tokens.length_ratio == pytest.approx(2 / 3)
        assert "not comparable" in str(tokens)
        assert not plain.notes

    def test_lowercase(self):
        upper, lower = ["A B C D E"], ["a b c d e"]
        assert translation_scores(upper, lower, lowercase=True, bootstrap=None).bleu.value == pytest.approx(100)
        assert translation_scores(upper, lower, bootstrap=None).bleu.value == 0.0

    @pytest.mark.parametrize(
        ("language", "options", "flags"),
        [
            ("de", {}, []),
            ("zh", {}, ["-tok", "zh", "--ter-asian-support", "--ter-normalized"]),
            (None, {"tokenized": True, "lowercase": True}, ["-tok", "none", "--force", "-lc", "--chrf-lowercase"]),
        ],
        ids=["de", "zh", "tokens"],
    )
    def test_the_command_line_says_the_same(self, tmp_path, language, options, flags):
        """sacreBLEU's own numbers, to the digits that it prints, and its signatures."""
        hypotheses, references = corrupted(30)
        if language == "zh":
            hypotheses, references = (
                [line.replace("b", "我").replace(" ", "") for line in x] for x in (hypotheses, references)
            )
        else:
            hypotheses[::3] = [line.title() + "!" for line in hypotheses[::3]]
        for name, lines in (("ours", hypotheses), ("theirs", references)):
            (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "sacrebleu", "theirs", "-i", "ours", "-m", "bleu", "chrf", "ter", "-w", "6"]
        done = subprocess.run([*command, *flags], cwd=tmp_path, capture_output=True, check=True, text=True)
        scores = translation_scores(hypotheses, references, language, **options, bootstrap=None)
        for theirs, ours in zip(json.loads(done.stdout), (scores.bleu, scores.chrf, scores.ter), strict=True):
            assert theirs["name"] == ours.name
            assert theirs["score"] == pytest.approx(ours.value, abs=1e-6)
            assert theirs["signature"] == ours.signature


class TestBootstrap:
    def test_of_a_mean_it_is_the_normal_one(self):
        """A share p of n: ± 1.96 √(p (1 − p) / n), and half as wide with four times the sentences."""
        draw = np.random.default_rng(1)
        widths = {}
        for n in (400, 1600):
            values = (draw.random(n) < 0.3).astype(float)
            p = values.mean()
            low, high = Bootstrap(samples=4000).interval(np.stack([values, np.ones(n)], axis=1), lambda s: s[0] / s[1])
            assert low < p < high
            assert high - low == pytest.approx(2 * 1.96 * math.sqrt(p * (1 - p) / n), rel=0.06)
            widths[n] = high - low
        assert widths[400] / widths[1600] == pytest.approx(2, rel=0.15)

    def test_it_is_as_wide_as_sacrebleus(self):
        from sacrebleu.metrics import BLEU

        hypotheses, references = corrupted(200)
        theirs = BLEU(tokenize="none", force=True).corpus_score(hypotheses, [references], n_bootstrap=1000)
        ours = translation_scores(hypotheses, references, tokenized=True).bleu
        assert ours.low < ours.value < ours.high
        assert (ours.high - ours.low) / 2 == pytest.approx(theirs._ci, rel=0.1)

    def test_it_shrinks_with_sentences_and_grows_with_confidence(self):
        few, many = (translation_scores(*corrupted(n), bootstrap=Bootstrap(samples=300)).bleu for n in (50, 800))
        assert many.high - many.low < 0.5 * (few.high - few.low)
        sure = translation_scores(*corrupted(50), bootstrap=Bootstrap(confidence=0.5, samples=300)).bleu
        assert sure.high - sure.low < 0.6 * (few.high - few.low)

    def test_it_is_seeded(self):
        lines = corrupted(30)
        first, again, other = (translation_scores(*lines, bootstrap=Bootstrap(samples=99, seed=s)) for s in (4, 4, 5))
        assert first == again
        assert first.bleu.low != other.bleu.low

    def test_two_systems_on_the_same_sentences(self):
        """A system that is a little better everywhere: sure of it together, though the intervals overlap."""
        worse, references = corrupted(150)
        better = [r if n % 10 == 0 else h for n, (h, r) in enumerate(zip(worse, references, strict=True))]
        draws = Bootstrap(samples=300)
        a, b = (translation_scores(system, references, bootstrap=draws) for system in (better, worse))
        assert b.bleu.high > a.bleu.low
        found = translation_differences(better, worse, references, bootstrap=draws)
        assert found["BLEU"].value == pytest.approx(a.bleu.value - b.bleu.value)
        assert found["BLEU"].low > 0
        assert found["BLEU"].greater == 1.0
        assert found["TER"].high < 0
        same = translation_differences(better, better, references, bootstrap=draws)["chrF2"]
        assert (same.value, same.low, same.high, same.greater) == (0, 0, 0, 0.5)
        assert str(same) == "+0.00 (+0.00 to +0.00), higher in 50.0% of the draws"

    def test_wrong_settings_are_one_line(self):
        with pytest.raises(RegardError, match="confidence is 95"):
            Bootstrap(confidence=95)
        with pytest.raises(RegardError, match="samples is 0"):
            Bootstrap(samples=0)


class TestLength:
    def test_each_sentence_stands_in_one_row(self):
        hypotheses, references = corrupted(60)
        table = bleu_by_length(references, hypotheses, references, edges=(6, 9, 30), tokenized=True, bootstrap=None)
        assert [(row.shortest, row.longest) for row in table.rows] == [(0, 6), (7, 9), (10, 30)]
        assert sum(row.sentences for row in table.rows) == 60
        for row in table.rows:
            chosen = [n for n, line in enumerate(references) if row.shortest <= len(line.split()) <= row.longest]
            ours, theirs = ([lines[n] for n in chosen] for lines in (hypotheses, references))
            assert row.sentences == len(chosen)
            assert row.mean == pytest.approx(sum(len(line.split()) for line in theirs) / len(chosen))
            assert row.bleu.value == pytest.approx(bleu_by_hand(ours, theirs), abs=1e-9)

    def test_longer_than_all_edges(self):
        table = bleu_by_length(["", "a b c"], ["x", "y"], ["x", "y"], edges=(1, 2), bootstrap=None)
        assert [(row.shortest, row.longest, row.sentences) for row in table.rows] == [(0, 1, 1), (3, None, 1)]
        assert "3 or more" in str(table)

    def test_the_source_language_counts(self):
        """Five characters are five tokens in Chinese, and one word elsewhere."""
        for language, row in (("zh", 2), ("de", 0)):
            table = bleu_by_length(["我们走吧。"], ["x"], ["x"], (1, 4), source_language=language, bootstrap=None)
            assert table.rows[0].shortest == (0, 2, 5)[row]

    def test_wrong_edges_are_one_line(self):
        for edges in ((), (5, 5), (9, 3), (0, 4)):
            with pytest.raises(RegardError, match="rising lengths"):
                bleu_by_length(["a"], ["a"], ["a"], edges=edges)

    def test_the_figure(self, monkeypatch):
        monkeypatch.syspath_prepend(DOCS)
        draw = importlib.import_module("figures.lengths").bleu_by_length
        hypotheses, references = corrupted(60)
        draws = Bootstrap(samples=20)
        systems = {
            "some": bleu_by_length(references, hypotheses, references, (6, 9), bootstrap=draws),
            "all": bleu_by_length(references, references, references, (6, 9), bootstrap=None),
        }
        (axes,) = draw(systems).axes
        assert axes.get_xlabel() == "length of the source (tokens)"
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["some", "all"]
        for line, table in zip(axes.get_lines(), systems.values(), strict=True):
            assert list(line.get_ydata()) == [row.bleu.value for row in table.rows]


class TestPrinting:
    def test_a_result_prints_its_conventions(self):
        scores = translation_scores(*corrupted(30), "de", bootstrap=Bootstrap(samples=50))
        text = str(scores)
        for score in (scores.bleu, scores.chrf, scores.ter):
            assert f"{score.value:.2f} ({score.low:.1f} to {score.high:.1f})  {score.signature}" in text
        assert "95% of 50 draws" in text
        assert "30 sentences; " in text

    @pytest.mark.parametrize("bootstrap", [None, Bootstrap(samples=20)])
    def test_json_holds_it(self, bootstrap):
        scores = translation_scores(*corrupted(10), "ja", bootstrap=bootstrap)
        again = json.loads(json.dumps(scores.to_dict()))
        assert again["bleu"]["signature"] == scores.bleu.signature
        assert again["bootstrap"] == (bootstrap and {"confidence": 0.95, "samples": 20, "seed": 0})
        table = bleu_by_length(["a b"], ["a b"], ["a b"], bootstrap=bootstrap)
        assert json.loads(json.dumps(table.to_dict()))["rows"][0]["sentences"] == 1


class TestErrors:
    @pytest.mark.parametrize(
        ("hypotheses", "references", "language", "message"),
        [
            (["a"], ["a", "b"], None, "1 hypotheses and 2 references"),
            ([], [], None, "no sentences"),
            ("abc", ["a"], None, "hypotheses are one text"),
            (["a"], [None], None, "references hold None"),
            (["a"], ["a"], "Chinese", "'Chinese' is no code"),
        ],
    )
    def test_one_line(self, hypotheses, references, language, message):
        with pytest.raises(RegardError, match=message):
            translation_scores(hypotheses, references, language)

    def test_sources_must_match_too(self):
        with pytest.raises(RegardError, match="2 sources"):
            bleu_by_length(["a", "b"], ["a"], ["a"])

    def test_without_sacrebleu(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "sacrebleu", None)
        with pytest.raises(RegardError, match=r"needs the package 'sacrebleu'.*regard\[translation\]"):
            translation_scores(["a"], ["a"])
