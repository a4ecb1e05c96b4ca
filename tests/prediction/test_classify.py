"""Classes, labels and numbers, against the same sums done by hand."""

import json

import pytest
import torch

from regard import heads
from regard.prediction import Classifier, MultiLabeller, Regressor
from tests.prediction.models import alone, byte_tokenizer, encoder, wordpiece

TOKENIZER = byte_tokenizer()
SIZE = TOKENIZER.vocab_size


def ids(text: str, second: str | None = None) -> list[int]:
    after = [] if second is None else [*second.encode(), TOKENIZER.separator]
    return [TOKENIZER.class_, *text.encode(), TOKENIZER.separator, *after]


@pytest.mark.parametrize("pooling", ["first", "mean", "max"])
def test_a_class_is_the_likeliest(pooling):
    model = encoder(heads.Classify(labels=("bad", "good", "so so"), pooling=pooling, transform="tanh"), SIZE)
    texts = ["hello", "", "a b c", "zz"]
    found = Classifier(model, TOKENIZER).predict(texts)
    for text, one in zip(texts, found, strict=True):
        if not text:
            assert (one.label, one.probability, one.probabilities, str(one)) == (None, 0.0, {}, "–")
            continue
        p = alone(model, ids(text)).softmax(-1).tolist()
        assert one.label == ("bad", "good", "so so")[p.index(max(p))]
        assert list(one.probabilities) == ["bad", "good", "so so"]
        assert list(one.probabilities.values()) == pytest.approx(p, abs=1e-10)
        assert one.probability == pytest.approx(max(p), abs=1e-10)
        assert [label for label, _ in one.top(2)] == sorted(one.probabilities, key=lambda c: -one.probabilities[c])[:2]
        assert json.loads(json.dumps(one.to_dict(1)))["probabilities"] == dict(one.top(1))


def test_two_texts_have_a_class_together():
    model = encoder(heads.Classify(labels=("no", "yes")), SIZE)
    [found] = Classifier(model, TOKENIZER).predict([("is it", "it is")])
    row = ids("is it", "it is")
    p = alone(model, row, [0] * 7 + [1] * 6).softmax(-1)
    assert list(found.probabilities.values()) == pytest.approx(p.tolist(), abs=1e-10)


def test_labels_are_those_above_one_half():
    model = encoder(heads.MultiLabel(labels=tuple("pqrst")), SIZE, seed=2)
    found = MultiLabeller(model, TOKENIZER).predict(["hello", "", "wonderful"])
    for text, one in zip(["hello", "", "wonderful"], found, strict=True):
        if not text:
            assert (one.labels, one.probabilities, str(one)) == (None, {}, "–")
            continue
        p = alone(model, ids(text)).sigmoid().tolist()
        assert list(one.probabilities.values()) == pytest.approx(p, abs=1e-10)
        assert set(one.labels) == {label for label, own in zip("pqrst", p, strict=True) if own >= 0.5}
        assert list(one.labels) == sorted(one.labels, key=lambda label: -one.probabilities[label])
    assert found[0].labels


def test_numbers_are_in_the_units_of_the_data():
    model = encoder(heads.Regress(mean=70, spread=20), SIZE)
    found = Regressor(model, TOKENIZER).predict(["hello", " ", ""])
    assert found[0].value == pytest.approx(float(alone(model, ids("hello"))), abs=1e-9)
    assert abs(found[0].value - 70) > 0.5
    assert found[1].value is found[2].value is None


def test_windows_give_the_mean_of_their_probabilities():
    model = encoder(heads.Classify(labels=("a", "b")), SIZE)
    text = "the quick brown fox jumps over the lazy dog"
    [found] = Classifier(model, TOKENIZER, "windows").predict([text])
    starts = [0, 11, 21]  # of windows of 22 bytes that overlap by 11; the last ends with the text
    p = torch.stack([alone(model, ids(text[start : start + 22])).softmax(-1) for start in starts]).mean(0)
    assert list(found.probabilities.values()) == pytest.approx(p.tolist(), abs=1e-10)


@pytest.mark.parametrize("long", ["begin", "windows"])
def test_a_document_of_50_000_words(long):
    tokenizer = wordpiece()
    model = encoder(heads.Classify(labels=("a", "b")), tokenizer.vocab_size, context_length=64, dtype=torch.float32)
    said = []
    document = "a " * 50_000
    [found] = Classifier(model, tokenizer, long, said.append).predict([document])
    [short] = Classifier(model, tokenizer, "windows").predict(["a " * 62])  # with the frame 64 tokens
    assert len(said) == (long == "begin")
    assert found.probabilities == pytest.approx(short.probabilities, abs=1e-5)
