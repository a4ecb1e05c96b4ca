"""Rows in their frame, batches by length, windows of what is long."""

import itertools

import pytest
import torch

from regard import heads
from regard.prediction import READERS, reader
from regard.prediction.base import Reader, windows
from regard.settings import RegardError
from tests.prediction.models import alone, byte_tokenizer, encoder

HEADS = {
    "classify": heads.Classify(labels=("a", "b", "c")),
    "multilabel": heads.MultiLabel(labels=("a", "b"), pooling="max"),
    "regress": heads.Regress(pooling="mean", mean=2, spread=3),
    "tag": heads.Tag(labels=("O", "B-x", "I-x")),
    "answer": heads.Answer(no_answer=True),
    "embed": heads.Embed(),
}
TEXTS = ["to", "a longer text of many words", "", "so", "b", "of some length", "quite a long one that is cut"]


def numbers(found) -> torch.Tensor:
    """All numbers of an answer."""
    if hasattr(found, "probabilities"):
        own = found.probabilities
        return torch.tensor(list(own.values()) if isinstance(own, dict) else own).flatten()
    if hasattr(found, "answers"):
        return torch.tensor([answer.score for answer in found.answers] + [found.no_answer or 0.0])
    return torch.as_tensor([found.value or 0.0] if hasattr(found, "value") else found).double().flatten()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("kind", HEADS)
def test_an_answer_does_not_depend_on_its_batch(kind, dtype):
    if kind == "embed" and dtype == torch.float64:
        dtype = torch.float32  # vectors are float32 whatever the model
    model = encoder(HEADS[kind], byte_tokenizer().vocab_size, dtype=dtype)
    given = [("q?", text) for text in TEXTS] if kind == "answer" else TEXTS
    quiet = {"say": lambda message: None}
    together = reader(model, byte_tokenizer(), **quiet).predict(given)
    assert len(together) == len(given)
    tolerance = 1e-10 if dtype == torch.float64 else 1e-5
    for one, found in zip(given, together, strict=True):
        by_itself = reader(model, byte_tokenizer(), **quiet).predict([one])[0]
        torch.testing.assert_close(numbers(found), numbers(by_itself), rtol=0, atol=tolerance)


def test_every_head_of_a_task_has_its_reader():
    assert set(READERS) == set(heads.Head.kinds()) == {*HEADS, "language"}


def test_rows_are_framed_and_texts_without_tokens_have_none():
    own = Reader(encoder(HEADS["classify"], 260), byte_tokenizer())
    tokenizer = byte_tokenizer()
    [[one], [], [two]] = own.rows(["ab", "", ("ab", "c")])
    assert one.ids.tolist() == [tokenizer.class_, 97, 98, tokenizer.separator]
    assert two.ids.tolist() == [tokenizer.class_, 97, 98, tokenizer.separator, 99, tokenizer.separator]
    assert two.segments.tolist() == [0, 0, 0, 0, 1, 1]


def test_segments_reach_the_model():
    model = encoder(HEADS["classify"], byte_tokenizer().vocab_size)
    own = Reader(model, byte_tokenizer())
    [[row]] = own.rows([("ab", "cd")])
    [(_, made)] = own.outputs([row])
    torch.testing.assert_close(made[0], alone(model, row.ids, row.segments), rtol=0, atol=1e-10)
    assert (made[0] - alone(model, row.ids)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("size", "room", "overlap"), [(1, 5, 2), (5, 5, 2), (6, 5, 2), (100, 7, 3), (100, 7, 0), (9, 1, 0)]
)
def test_windows_cover_everything(size, room, overlap):
    found = list(windows(size, room, overlap))
    assert {place for window in found for place in window} == set(range(size))
    assert all(len(window) == min(room, size) for window in found)
    assert all(len(set(one) & set(next_)) >= overlap for one, next_ in itertools.pairwise(found))


def test_long_texts_are_cut_once_said_or_refused_or_read_in_windows():
    model = encoder(HEADS["classify"], byte_tokenizer().vocab_size)
    said = []
    own = Reader(model, byte_tokenizer(), say=said.append, first=4)
    rows = own.rows(["x", "abc" * 20, "y" * 50])
    assert [len(row.ids) for [row] in rows] == [3, 24, 24]
    assert said == [
        "text 5 is 60 tokens long, and the model reads the first 22 of such texts; --long windows reads all of them."
    ]
    with pytest.raises(RegardError, match=r"text 2 is 60 tokens long, and the model reads 22 at once"):
        Reader(model, byte_tokenizer(), "refuse").rows(["x", "abc" * 20])
    [many] = Reader(model, byte_tokenizer(), "windows").rows(["abc" * 20])
    assert bytes(many[0].ids[1:-1].tolist()) == (b"abc" * 20)[:22]
    assert bytes(many[1].ids[1:-1].tolist()) == (b"abc" * 20)[11:33]
    assert bytes(many[-1].ids[1:-1].tolist()) == (b"abc" * 20)[-22:]
    [pairs] = Reader(model, byte_tokenizer(), "windows").rows([("ab", "c" * 60)])
    assert all(row.ids[1:3].tolist() == [97, 98] and len(row.ids) == 24 for row in pairs)
    with pytest.raises(RegardError, match=r"long is 'begin', 'windows' or 'refuse', got 'all'"):
        Reader(model, byte_tokenizer(), "all")
