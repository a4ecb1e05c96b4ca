"""Rows for an encoder: a function of (seed, step), the order of two parts is told right, masks are drawn fairly."""

import numpy as np
import pytest
import torch

from regard.data.batches import IGNORE
from regard.data.masked_batches import MaskedBatches, MaskedEvaluation, Rows
from regard.data.masks import LENGTHS, SHARES, Pieces, draw, hide
from regard.data.store import Part
from regard.text import Tokenizer
from regard.text.frame import Frame

SPECIAL = {"pad": "[PAD]", "unknown": "[UNK]", "class": "[CLS]", "separator": "[SEP]", "mask": "[MASK]"}
TEXT = "the walkers walked. they were walking slowly; unbelievably so. 中文 字 done"


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train([TEXT] * 3, kind="wordpiece", vocab_size=80, special=SPECIAL, lowercase=True)


def rows(tokenizer, documents=(40, 30, 50), second="none", length=16):
    """Each piece of the text is told by its place: ids are all ordinary."""
    n = sum(documents)
    ordinary = np.flatnonzero(~Pieces.of(tokenizer, tokenizer.mask).special)
    ids = ordinary[np.random.default_rng(0).integers(len(ordinary), size=n)].astype(np.uint16)
    starts = np.cumsum((0, *documents[:-1])).astype(np.int64)
    part = Part("train", ids, starts, len(documents), n, n)
    return Rows(part, Frame.of(tokenizer), Pieces.of(tokenizer, tokenizer.mask), length, second, tokenizer.pad)


def same(one, other):
    for name, value in vars(one).items():
        against = getattr(other, name)
        assert torch.equal(value, against) if isinstance(value, torch.Tensor) else value == against, name


def test_words_begin_where_the_text_has_them(tokenizer):
    pieces = Pieces.of(tokenizer, tokenizer.mask)
    ids = np.array(tokenizer.encode(TEXT))
    begins = [token.text.startswith(" ") for token in tokenizer.tokens(TEXT)]
    assert pieces.starts(ids)[1:].tolist() == begins[1:]
    assert sum(begins) < len(begins)  # some words have more than one piece


def test_words_of_byte_pieces_begin_at_their_space():
    bpe = Tokenizer.train([TEXT], kind="bytes", special=("mask",))
    ids = np.array(bpe.encode("ab cd.\nef"))
    starts = Pieces.of(bpe, bpe.mask).starts(ids)
    assert [at for at, begins in enumerate(starts) if begins] == [0, 2, 3, 5, 6, 7]
    #                                                              a  ␣  c  .  ⏎  e : a space alone is a piece here


def test_a_part_is_hidden_on_average_exactly(tokenizer):
    pieces, random = Pieces.of(tokenizer, tokenizer.mask), np.random.default_rng(0)
    ids = np.array([tokenizer.class_, *tokenizer.encode(TEXT), tokenizer.separator])
    n = len(ids) - 2
    for unit in ("token", "word"):
        counts = np.array([(draw(ids, pieces, 0.3, unit, random) >= 0).sum() for _ in range(4000)])
        error = counts.std() / np.sqrt(len(counts))
        assert abs(counts.mean() - 0.3 * n) < 4 * error + 1e-9


def test_special_pieces_stay_and_the_hidden_are_80_10_10(tokenizer):
    pieces, random = Pieces.of(tokenizer, tokenizer.mask), np.random.default_rng(1)
    ids = np.array([tokenizer.class_, *tokenizer.encode(TEXT) * 20, tokenizer.separator])
    tally = np.zeros(3)
    for _ in range(60):
        drawn = draw(ids, pieces, 0.15, "token", random)
        assert (drawn[[0, -1]] == -1).all()
        seen = hide(ids, drawn, pieces, 0.8, 0.1, False, random)
        assert (seen[drawn < 0] == ids[drawn < 0]).all()
        at = drawn >= 0
        swapped = seen[at & (seen != pieces.mask)]
        assert not pieces.special[swapped].any()
        masked, kept = (seen[at] == pieces.mask).sum(), (seen[at] == ids[at]).sum()
        tally += masked, at.sum() - masked - kept, kept
    share = tally / tally.sum()
    assert np.abs(share - (0.8, 0.1, 0.1)).max() < 4 * np.sqrt(0.16 / tally.sum()) + 0.1 / len(
        np.flatnonzero(~pieces.special)
    )


@pytest.mark.parametrize("unit", ["word", "span"])
def test_words_are_never_split(tokenizer, unit):
    pieces, random = Pieces.of(tokenizer, tokenizer.mask), np.random.default_rng(2)
    ids = np.array([tokenizer.class_, *tokenizer.encode(TEXT), tokenizer.separator])
    word = np.cumsum(pieces.starts(ids) | pieces.special[ids])
    for _ in range(300):
        hidden = draw(ids, pieces, 0.2, unit, random) >= 0
        assert hidden.any()
        for number in np.unique(word):
            assert hidden[word == number].all() or not hidden[word == number].any()


def test_lengths_of_runs_are_those_of_the_paper():
    assert SHARES.sum() == pytest.approx(1)
    assert (LENGTHS * SHARES).sum() == pytest.approx(3.8, abs=0.01)
    assert SHARES[1] / SHARES[0] == pytest.approx(0.8)


@pytest.mark.parametrize("second", ["none", "next", "order"])
def test_a_batch_is_a_function_of_seed_and_step_however_it_is_cut(tokenizer, second):
    made = rows(tokenizer, second=second)
    whole = MaskedBatches(made, 8, seed=3).at(5)
    same(whole, MaskedBatches(made, 8, seed=3).at(5))
    halves = [MaskedBatches(made, 8, seed=3, accumulate=2).at(5, micro) for micro in range(2)]
    assert torch.equal(torch.cat([half.inputs for half in halves]), whole.inputs)
    if second != "none":
        assert torch.equal(torch.cat([half.order for half in halves]), whole.order)
    assert not torch.equal(whole.inputs, MaskedBatches(made, 8, seed=4).at(5).inputs)


@pytest.mark.parametrize("documents", [(40, 30, 50), (120,)])
@pytest.mark.parametrize("second", ["next", "order"])
def test_what_is_said_of_the_order_is_true(tokenizer, second, documents):
    """By brute force: are the two parts found side by side in the text, in this order, within one document?"""
    made = rows(tokenizer, documents, second)
    text = made.part.ids.astype(int).tolist()
    said = []
    for step in range(40):
        batch = MaskedBatches(made, 8, seed=1).at(step)
        for ids, segments, order, n in zip(batch.inputs, batch.segments, batch.order, batch.lengths, strict=True):
            ids, segments = ids[:n].tolist(), segments[:n].tolist()
            assert ids[0] == tokenizer.class_
            assert ids[-1] == tokenizer.separator
            if order == IGNORE:
                continue
            middle = segments.index(1)
            first, both = ids[1 : middle - 1], ids[middle:-1]
            found = [at for at in range(len(text)) if text[at : at + len(first) + len(both)] == first + both]
            turned = [at for at in range(len(text)) if text[at : at + len(first) + len(both)] == both + first]
            inside = [at for at in found if made._document(at) == made._document(at + len(first) + len(both) - 1)]
            said.append(int(order))
            if order == 0:
                assert inside
            elif second == "order":
                assert turned
            elif min(len(first), len(both)) > 2:  # fewer may stand so elsewhere by chance
                assert not inside
    assert abs(np.mean(said) - 0.5) < 4 * 0.5 / np.sqrt(len(said))


def test_documents_in_one_window_are_told_apart_and_evaluation_reads_each_piece_once(tokenizer):
    made = rows(tokenizer, (5, 30, 9))
    evaluation = MaskedEvaluation(made, 2)
    ids, first = [], evaluation.at(0)
    for index in range(len(evaluation)):
        batch = evaluation.at(index)
        lengths = [batch.inputs.shape[1]] * len(batch.inputs) if batch.lengths is None else batch.lengths.tolist()
        ids += [token for row, n in zip(batch.inputs.tolist(), lengths, strict=True) for token in row[1 : n - 1]]
    assert ids == made.part.ids.tolist()
    assert first.documents[0].tolist() == [0] * 6 + [1] * 10
    same(first, MaskedEvaluation(made, 2).at(0))
