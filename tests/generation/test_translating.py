"""Lines in, lines out: nothing dropped, nothing swapped, over-long ones refused or split."""

import pytest
import torch

from regard.generation import Beam, Refinement, Sampling
from regard.generation.distil import distil
from regard.generation.translating import Translator, batches, split
from regard.heads.length import Length
from regard.model import ModelConfig, Normal, PreNorm, StackConfig, Transformer
from regard.positions import Rotary
from regard.settings import RegardError
from tests.generation.models import byte_tokenizer

TOKENIZER = byte_tokenizer(("begin", "end"))


@pytest.fixture(scope="module")
def translator() -> Translator:
    stack = StackConfig(n_layers=1, position=Rotary(), residual=PreNorm())
    config = ModelConfig(
        vocab_size=TOKENIZER.vocab_size,
        d_model=24,
        n_heads=3,
        context_length=24,
        encoder=stack,
        decoder=stack,
        initialisation=Normal(std=0.4),
    )
    return Translator(Transformer(config, 3).double().eval(), TOKENIZER)


TEXTS = ["a dog runs", "", "cat", "  ", "two men and a boat", "x"]


def test_each_text_gives_what_it_gives_alone(translator):
    together = translator.translate(TEXTS, Beam(size=3), limit=12)
    for text, best in zip(TEXTS, together, strict=True):
        [[alone]] = translator.translate([text], Beam(size=3), limit=12)
        assert (alone.text, alone.ids) == (best[0].text, best[0].ids)
        assert alone.score == pytest.approx(best[0].score, abs=1e-9)


def test_blank_texts_stay_blank(translator):
    found = translator.translate(TEXTS, limit=4)
    assert [best[0].text for best in found][1::2][:2] == ["", ""]
    assert found[1][0].finished == "blank"


def test_n_best_are_ranked_and_begin_with_the_best(translator):
    [five] = translator.translate(["a dog"], Beam(size=5), limit=8, n_best=5)
    [one] = translator.translate(["a dog"], Beam(size=5), limit=8)
    assert five[0] == one[0]
    assert [best.score for best in five] == sorted((best.score for best in five), reverse=True)
    assert len({best.ids for best in five}) == 5


def test_draws_are_those_of_their_seed(translator):
    first = translator.translate(["a dog", "cat"], Sampling(seed=5), limit=6, n_best=3)
    again = translator.translate(["cat"], Sampling(seed=5), limit=6, n_best=3)
    assert [best.text for best in first[1]] == [best.text for best in again[0]]
    assert len({best.ids for best in first[0]}) > 1


def test_a_prefix_begins_each_translation(translator):
    found = translator.translate(["a dog", "cat"], limit=6, prefix="Der ")
    assert all(best[0].text.startswith("Der ") for best in found)


def test_overlong_texts(translator):
    long = "One dog runs. Two cats sit on a mat! " + "x" * 40
    with pytest.raises(RegardError, match="text 7 is 78 tokens long, and the model reads 24"):
        translator.translate([long], first=7)
    [[whole]] = translator.translate([long], limit=5, overlong="split")
    parts = translator.cut(long, "split", 1)
    assert len(parts) > 3
    assert "".join(parts).replace(" ", "") == long.replace(" ", "")
    each = [translator.translate([part], limit=5)[0][0] for part in parts]
    assert whole.ids == sum((one.ids for one in each), ())
    with pytest.raises(RegardError, match="ask for n_best=1"):
        translator.translate([long], Beam(size=2), n_best=2, overlong="split")
    with pytest.raises(RegardError, match="'refuse' or 'split'"):
        translator.translate([long], overlong="cut")


@pytest.mark.parametrize(
    ("text", "longest", "parts"),
    [
        ("A b. C d. E f.", 9, ["A b. C d.", "E f."]),
        ("一二。三四。五六。", 6, ["一二。三四。", "五六。"]),
        ("aa bb cc dd", 5, ["aa bb", "cc dd"]),
        ("abcdefg", 3, ["abc", "def", "g"]),
        ("Long sentence here. B.", 13, ["Long sentence", "here.", "B."]),
    ],
)
def test_split_at_sentences_then_words_then_letters(text, longest, parts):
    assert split(text, lambda part: len(part) <= longest) == parts


def test_batches_hold_each_text_once_and_no_more_than_allowed():
    lengths = torch.randint(1, 50, (200,), generator=torch.Generator().manual_seed(0)).tolist()
    found = list(batches(lengths, rows=16, tokens=200))
    assert sorted(n for batch in found for n in batch) == list(range(200))
    assert all(len(batch) <= 16 for batch in found)
    assert all(len(batch) == 1 or len(batch) * max(lengths[n] for n in batch) <= 200 for batch in found)


def test_an_alignment_has_a_row_a_token_and_sums_to_one(translator):
    found = translator.alignment("ab", "cde")
    assert found.source == ("a", "b", "end")
    assert found.target == ("c", "d", "e", "end")
    assert found.weights.sum(-1) == pytest.approx(torch.ones(4).numpy(), abs=1e-5)
    assert found.svg().startswith("<svg")
    assert len(str(found).splitlines()) > 4
    assert found.to_dict()["links"] == found.links


@pytest.fixture(scope="module")
def at_once() -> Translator:
    tokenizer = byte_tokenizer(("begin", "end", "mask"))
    stack = StackConfig(n_layers=1, residual=PreNorm())
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        d_model=24,
        n_heads=3,
        context_length=24,
        encoder=stack,
        decoder=stack,
        length=Length(limit=20),
        initialisation=Normal(std=0.4),
    )
    return Translator(Transformer(config, 3).double().eval(), tokenizer)


class TestMaskPredict:
    """A model that tells how long its output will be writes all words at once."""

    def test_it_is_how_such_a_model_is_decoded(self, at_once):
        found = at_once.translate(TEXTS, limit=12, n_best=3)
        assert found == at_once.translate(TEXTS, Refinement(), limit=12, n_best=3)
        assert found != at_once.translate(TEXTS, Refinement(iterations=1), limit=12, n_best=3)
        assert [best[0].finished for best in found] == ["end", "blank", "end", "blank", "end", "end"]
        for best in found:
            assert [one.score for one in best] == sorted((one.score for one in best), reverse=True)
            assert all(not set(one.ids) & set(at_once.target.special.values()) for one in best)
            assert all(len(one.ids) <= 12 for one in best)

    def test_each_text_gives_what_it_gives_alone(self, at_once):
        together = at_once.translate(TEXTS, limit=12)
        for text, best in zip(TEXTS, together, strict=True):
            [[alone]] = at_once.translate([text], limit=12)
            assert (alone.text, alone.ids) == (best[0].text, best[0].ids)
            assert alone.score == pytest.approx(best[0].score, abs=1e-9)

    def test_what_it_cannot_do_is_refused(self, at_once, translator):
        with pytest.raises(RegardError, match="all words at once: decode it with mask-predict"):
            at_once.translate(TEXTS, Beam())
        with pytest.raises(RegardError, match="leave the prefix out"):
            at_once.translate(TEXTS, prefix="a")
        with pytest.raises(RegardError, match="word by word: decode it with beam search"):
            translator.translate(TEXTS, Refinement())


def test_distilling_gives_the_best_text_of_each_source_in_order(translator):
    expected = [(text, best[0].text) for text, best in zip(TEXTS, translator.translate(TEXTS, limit=9), strict=True)]
    assert list(distil(translator, iter(TEXTS), limit=9, chunk=4)) == expected
    assert len({text for _, text in expected}) > 3
