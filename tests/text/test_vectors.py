"""Files of word vectors, made here by hand: all formats say the same, and damage is one sentence."""

import gzip
import struct

import numpy as np
import pytest

from regard.settings import RegardError
from regard.text import Tokenizer
from regard.text.vectors import read_vectors, width_of, words_of

TABLE = {
    "the": [0.25, -1.5, 3.0],
    "Katze": [0.0, 0.0, 0.0],
    "猫": [1e-3, 2.0, -0.125],
    ",": [-4.0, 5.5, 1.0],
    "cat": [7.0, 8.0, 9.0],
}


def lines(table=TABLE):
    return "".join(f"{word} {' '.join(map(str, numbers))}\n" for word, numbers in table.items()).encode()


def binary(newline=b"\n", table=TABLE):
    """As the C program writes it, with a newline after each vector, or as others do, without."""
    records = (word.encode() + b" " + struct.pack("<3f", *numbers) + newline for word, numbers in table.items())
    return f"{len(table)} 3\n".encode() + b"".join(records)


FORMATS = {
    "word2vec.txt": f"{len(TABLE)} 3\n".encode() + lines(),
    "word2vec.bin": binary(),
    "other.bin": binary(newline=b""),
    "glove.txt": lines(),
    "unended.txt": lines()[:-1],
    "glove.txt.gz": gzip.compress(lines()),
    "word2vec.bin.gz": gzip.compress(binary()),
}


@pytest.fixture
def written(tmp_path):
    def write(content, name="vectors.txt"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_the_same(name, written):
    path = written(FORMATS[name], name)
    assert width_of(path) == 3
    some = read_vectors(path, ["cat", "dog", "猫", "the"], 3)
    assert some.words == ["the", "猫", "cat"]
    assert some.numbers.dtype == np.float32
    assert np.array_equal(some.numbers, np.array([TABLE[word] for word in some.words], np.float32))
    assert len(read_vectors(path, TABLE, 3).words) == len(TABLE)
    assert read_vectors(path, [], 3).numbers.shape == (0, 3)


def test_the_first_of_two_equal_words_counts(written):
    path = written(lines() + b"cat 1 1 1\n")
    assert read_vectors(path, ["cat"], 3).numbers.tolist() == [[7, 8, 9]]


def test_words_with_spaces_are_passed_by(written):
    path = written(lines() + b". . . 1 2 3\nat name@domain.com 4 5 6\n")
    found = read_vectors(path, [".", "at", "cat"], 3)
    assert found.words == ["cat"]


def test_a_binary_file_longer_than_a_piece(written):
    random = np.random.default_rng(0)
    table = {f"word{n}": row for n, row in enumerate(random.normal(size=(5000, 100)).astype("<f4"))}
    records = b"".join(word.encode() + b" " + row.tobytes() + b"\n" for word, row in table.items())
    path = written(b"5000 100\n" + records)
    assert len(records) > 1 << 20
    wanted = [f"word{n}" for n in range(0, 5000, 7)]
    found = read_vectors(path, wanted, 100)
    assert found.words == wanted
    assert np.array_equal(found.numbers, np.stack([table[word] for word in wanted]))


DAMAGED = {
    "an empty file": (b"", "no file of word vectors"),
    "prose": (b"Once\nupon a time\n", "no file of word vectors"),
    "a line without end": (b"x" * (2 << 20), "longer than a million bytes"),
    "another width": (b"cat 1 2\n", "vectors of 2 numbers, not of 3"),
    "too few numbers": (b"dog 1 2 3\ncat 1 2\n", "line 2 has fewer than 3 numbers"),
    "no number": (b"dog 1 2 3\ncat 1 x 3\n", "line 2 has something that is no number"),
    "not finite": (b"dog 1 2 3\ncat 1 nan 3\n", "'cat' has numbers that are not finite"),
    "too large": (b"cat 1 1e39 3\n", "'cat' has numbers that are not finite"),
    "half a text file": (b"9 3\ndog 1 2 3\ncat 1 2 3\n", "ends after 2 of 9 words"),
    "half a binary file": (binary()[:-10], "ends after 4 of 5 words"),
    "a huge promise": (b"999999999999999999 3\n" + binary()[4:], "ends after 5 of 999,999,999,999,999,999 words"),
    "a huge width": (b"5 999999999\ncat 1 2\n", "no file of word vectors"),
    "a word without end": (b"2 3\n" + b"\xff" * (1 << 16), "is longer than 4,096 bytes"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damage_is_one_sentence_that_names_the_file(what, written):
    content, sentence = DAMAGED[what]
    path = written(content)
    with pytest.raises(RegardError, match=sentence) as caught:
        read_vectors(path, ["cat", "the"], 3)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(lines())[:-9], gzip.compress(lines())[:12] + b"\xff" * 40],
    ids=["no gzip", "cut", "overwritten"],
)
def test_a_damaged_archive(content, written):
    with pytest.raises(RegardError, match="cannot be read"):
        read_vectors(written(content, "vectors.gz"), ["cat"], 3)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RegardError, match="cannot be read: No such file"):
        width_of(tmp_path / "nowhere.txt")


TEXT = ["The cat sat, and the cat sat on the mat."] * 40


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_tokens_that_begin_a_word_stand_for_it(kind):
    tokenizer = Tokenizer.train(TEXT, kind=kind, vocab_size=400)
    words = words_of(tokenizer)
    for word in ("cat", "sat", "the", ".", ","):
        assert word in words
    for word, ids in words.items():
        for token in ids:
            assert tokenizer.decode([token]).strip().removeprefix("##") == word
    pieces = {tokenizer.token_bytes(n) for n in range(tokenizer.vocab_size)} - {
        tokenizer.token_bytes(n) for ids in words.values() for n in ids
    }
    assert b"at" in pieces  # a piece of cat and mat, though it is a word as well
    assert "<|end|>" not in words
