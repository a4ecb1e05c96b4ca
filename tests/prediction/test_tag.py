"""Tags and entities, against plain loops; words of every script keep their characters."""

import json

import numpy as np
import pytest
import torch

from regard import heads
from regard.data.tagged import split_words
from regard.prediction import Tagger
from regard.settings import RegardError
from regard.text.words import entities, marks_entities, pieces, repair
from tests.prediction.models import alone, byte_tokenizer, encoder, wordpiece

LABELS = ("O", "B-per", "I-per", "B-loc", "I-loc")


def tagger(tokenizer, context_length=24, labels=LABELS, seed=0, **settings) -> Tagger:
    return Tagger(encoder(heads.Tag(labels=labels), tokenizer.vocab_size, context_length, seed), tokenizer, **settings)


def test_the_first_piece_of_a_word_speaks_for_it():
    tokenizer = wordpiece()
    own = tagger(tokenizer, 64)
    words = ("The", "tower", "zzqx", "Gustave", "x", ".")
    [found] = own.predict([words])
    row, at = [tokenizer.class_], []
    for word in words:
        at.append(len(row))
        row += tokenizer.encode(word)
    assert len(row) > 1 + len(words)  # some words have several pieces
    p = alone(own.model, [*row, tokenizer.separator]).softmax(-1)[at]
    np.testing.assert_allclose(found.probabilities, p.numpy(), atol=1e-10)
    assert found.words == words
    assert found.scores == pytest.approx(p.max(-1).values.tolist())
    assert found.top(2, 1) == [(LABELS[int(p[2].argmax())], pytest.approx(float(p[2].max())))]


def test_pieces_of_words_are_those_of_the_sentence():
    for tokenizer in (wordpiece(), byte_tokenizer()):
        words = ["The", "crème", "高い", "x\u200by", "👨‍👩‍👧", "नमस्ते"]
        [(ids, first)] = pieces(tokenizer, [words])
        assert ids.tolist() == tokenizer.encode(" ".join(words))
        for place, word in zip(first, words, strict=True):
            start = len(tokenizer.encode(word)) if tokenizer.kind == "wordpiece" else len(word.encode())
            assert (
                ids[place : place + start].tolist()
                == tokenizer.encode(word if tokenizer.kind == "wordpiece" or place == 0 else " " + word)[:start]
            )


def test_a_word_without_pieces_is_unknown():
    tokenizer = wordpiece()
    [(ids, first)] = pieces(tokenizer, [["a", "\u200b\u0000", "b"]])
    assert first.tolist() == [0, 1, 2]
    assert ids.tolist() == [*tokenizer.encode("a"), tokenizer.unknown, *tokenizer.encode("b")]
    assert pieces(tokenizer, [[]])[0][0].tolist() == []


def test_long_sentences_are_read_where_a_word_has_most_around_it():
    tokenizer = byte_tokenizer()
    own = tagger(tokenizer, context_length=24)
    words = tuple("abcdefghijklmnopqrstuvwxyzabcdefghijk")  # 37 bytes and 36 spaces
    [found] = own.predict([words])
    stream = " ".join(words).encode()
    best: dict[int, tuple[int, torch.Tensor]] = {}
    starts = [0, 11, 22, 33, 44, len(stream) - 22]
    for start in starts:
        window = stream[start : start + 22]
        p = alone(own.model, [tokenizer.class_, *window, tokenizer.separator]).softmax(-1)
        for word in range(len(words)):
            place = max(0, 2 * word - 1)  # of the space before the letter, its first piece
            if start <= place < start + 22:
                around = min(place - start, start + 21 - place)
                if word not in best or around > best[word][0]:
                    best[word] = around, p[1 + place - start]
    expected = torch.stack([best[word][1] for word in range(len(words))]).numpy()
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-10)
    with pytest.raises(RegardError, match=r"text 1 is 73 tokens long, and the model reads 22"):
        tagger(tokenizer, long="refuse").predict([words])
    with pytest.raises(RegardError, match=r"reads all of a long text in windows"):
        tagger(tokenizer, long="begin")


@pytest.mark.parametrize(
    ("tags", "found", "repaired"),
    [
        ("O O", [], "O O"),
        ("I-x I-x O I-x", [("x", 0, 2), ("x", 3, 4)], "B-x I-x O B-x"),
        ("B-x B-x I-x", [("x", 0, 1), ("x", 1, 3)], "B-x B-x I-x"),
        ("B-x I-y I-y", [("x", 0, 1), ("y", 1, 3)], "B-x B-y I-y"),
        ("B-x O I-x", [("x", 0, 1), ("x", 2, 3)], "B-x O B-x"),
        ("S-x B-y I-y E-y I-y", [("x", 0, 1), ("y", 1, 4), ("y", 4, 5)], "B-x B-y I-y I-y B-y"),
        ("E-x S-x I-x", [("x", 0, 1), ("x", 1, 2), ("x", 2, 3)], "B-x B-x B-x"),
        ("B-a-b I-a-b", [("a-b", 0, 2)], "B-a-b I-a-b"),
    ],
)
def test_entities_are_read_leniently(tags, found, repaired):
    assert entities(tags.split()) == found
    assert repair(tags.split()) == repaired.split()
    assert entities(repaired.split()) == found


def test_entities_stand_where_the_text_has_them():
    tokenizer = wordpiece()
    text = "  Zoë (née 高い) met नमस्ते, 👩‍🚀 in  Paris."
    for seed in range(4):
        [found] = tagger(tokenizer, 64, seed=seed).predict([text])
        assert [text[start:end] for start, end in found.spans] == list(found.words)
        assert entities(found.tags) == entities(repair(found.tags))
        for entity, (kind, first, end) in zip(found.entities, entities(found.tags), strict=True):
            assert (entity.label, entity.start, entity.end) == (kind, found.spans[first][0], found.spans[end - 1][1])
            assert entity.text == text[entity.start : entity.end]
            assert entity.score == pytest.approx(np.mean(found.scores[first:end]))
    assert json.loads(json.dumps(found.to_dict(2)))["entities"][0]["text"] in text
    assert found.conll().splitlines()[0] == f"Zoë\t{found.tags[0]}"


def test_tags_that_mark_no_entities_stay():
    assert marks_entities(LABELS)
    assert not marks_entities(("NOUN", "O"))
    [found] = tagger(wordpiece(), 64, labels=("NOUN", "VERB")).predict(["The tower is"])
    assert found.entities == ()
    assert set(found.tags) <= {"NOUN", "VERB"}
    assert str(found) == " ".join(f"{word}/{tag}" for word, tag in zip(found.words, found.tags, strict=True))


def test_a_blank_text_has_no_words():
    one, two = tagger(wordpiece(), 64).predict(["", ()])
    assert (one.words, one.tags, one.scores, one.entities, str(one), two.conll()) == ((), (), [], (), "–", "\n")


def test_words_keep_their_marks():
    text = "It's e\u0301te\u0301 हिन्दी 我爱 \U0001f469\U0001f3fd\u200d\U0001f680! AT&T"
    words = ("It's", "e\u0301te\u0301", "हिन्दी", "我", "爱", "\U0001f469\U0001f3fd\u200d\U0001f680", "!", "AT&T")
    assert split_words(text) == words
