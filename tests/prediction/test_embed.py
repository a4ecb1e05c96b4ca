"""Vectors and search, against the plain formula."""

import numpy as np
import pytest
import torch

from regard import heads
from regard.prediction import Embedder
from regard.prediction import embed as module
from regard.settings import RegardError
from tests.prediction.models import alone, byte_tokenizer, encoder

TOKENIZER = byte_tokenizer()


def embedder(head=None, context_length=24, **settings) -> Embedder:
    return Embedder(encoder(head or heads.Embed(), TOKENIZER.vocab_size, context_length), TOKENIZER, **settings)


@torch.no_grad()
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("pooling", ["mean", "first", "max"])
@pytest.mark.parametrize("size", [None, 5])
def test_vectors_are_pooled_as_the_head_says(pooling, normalise, size):
    own = embedder(heads.Embed(pooling=pooling, normalise=normalise, size=size))
    texts = ["a cat", "", "the dog barks", "x"]
    found = own.predict(texts)
    assert found.shape == (4, own.size) == (4, size or 24)
    assert found.dtype == np.float32
    assert not found[1].any()
    for text, vector in zip(texts, found, strict=True):
        if text:
            row = torch.tensor([[TOKENIZER.class_, *text.encode(), TOKENIZER.separator]])
            with torch.inference_mode():
                x = own.model.hidden(row)[0]
            pooled = {"mean": x.mean(0), "first": x[0], "max": x.amax(0)}[pooling]
            pooled = pooled if size is None else own.model.head.output.matrix() @ pooled
            pooled = pooled / pooled.norm() if normalise else pooled
            np.testing.assert_allclose(vector, pooled.numpy(), atol=1e-6)


def test_blank_texts_alone_have_vectors_too():
    assert embedder().predict(["", ""]).tolist() == [[0.0] * 24] * 2
    assert embedder().predict([]).shape == (0, 24)


def test_windows_give_the_mean_vector_of_length_1():
    text = "the quick brown fox jumps over the lazy dog"
    own = embedder(long="windows")
    mean = sum(
        alone(own.model, [TOKENIZER.class_, *text[start : start + 22].encode(), TOKENIZER.separator])
        for start in (0, 11, 21)
    )
    np.testing.assert_allclose(own.predict([text])[0], (mean / mean.norm()).numpy(), atol=1e-6)


@pytest.mark.parametrize("k", [1, 4, 50])
@pytest.mark.parametrize("chunk", [3, 1000])
def test_search_finds_the_nearest(monkeypatch, k, chunk):
    monkeypatch.setattr(module, "CHUNK", chunk)
    own = embedder(heads.Embed(normalise=False))
    texts = ["a cat", "", "dogs", "a cat", "birds sing", "  ", "cats", "fish", "who", "a bat"]
    wanted = own.predict(["a cat"])[0]
    expected = []
    for number, text in enumerate(texts):
        if text.strip():
            vector = own.predict([text])[0]
            expected.append((-vector @ wanted / np.linalg.norm(vector) / np.linalg.norm(wanted), number))
    expected.sort(key=lambda pair: (round(float(pair[0]), 5), pair[1]))
    found = own.search("a cat", iter(texts), k)
    assert [hit.number for hit in found] == [number for _, number in expected][:k]
    assert [hit.text for hit in found] == [texts[hit.number] for hit in found]
    assert [hit.score for hit in found] == pytest.approx([-score for score, _ in expected[:k]], abs=1e-5)
    assert str(found).splitlines()[0] == " 1.000  a cat"


def test_search_refuses_what_finds_nothing():
    for query, k, message in ((" ", 0, "1 or more"), ("", 3, "the query is empty")):
        with pytest.raises(RegardError, match=message):
            embedder().search(query, ["a"], k)
