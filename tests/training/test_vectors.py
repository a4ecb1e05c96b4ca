"""A run that begins with vectors from a file."""

import pytest
import torch

import regard as rg
from regard.settings import RegardError
from regard.store import load_model
from regard.training import train

TEXT = "The cat sat, and the cat sat on the mat.\n" * 300
VECTORS = "the 1 2 3\ncat 4 5 6\n. 7 8 9\nCAT 1 1 1\nzebra 0 0 0\n"
SMALL = [
    "tokenizer.vocab_size=300",
    "model.d_model=16",
    "model.n_heads=2",
    "model.context_length=16",
    "model.decoder.n_layers=1",
    "model.input.kind=word_vectors",
    "training.batch_size=2",
    "training.evaluate_every=100",
    "training.checkpoint_every=1",
    "training.sample_tokens=0",
    "training.optimiser.kind=adamw",
]


@pytest.fixture
def files(tmp_path):
    text, vectors = tmp_path / "text.txt", tmp_path / "vectors.txt"
    text.write_text(TEXT)
    vectors.write_text(VECTORS)
    return text, vectors


def begin(files, tmp_path, *overrides, steps=0):
    text, vectors = files
    return train("gpt", text, tmp_path / "run", steps=steps, overrides=[*SMALL, f"vectors={vectors}", *overrides])


def test_words_begin_with_their_vectors_once(files, tmp_path, capsys):
    kept = ["model.input.width=3", "model.input.trained=false"]
    run = begin(files, tmp_path, *kept, steps=1)
    tokenizer = rg.Tokenizer.load(run.folder / "tokenizer.json")
    said = capsys.readouterr().err
    # "The" takes the vector of "the"; "CAT" is no word of the text.
    table = load_model(run.folder).decoder.input.tokens.words.matrix()
    for word, numbers in {" the": [1, 2, 3], " cat": [4, 5, 6], ".": [7, 8, 9]}.items():
        (token,) = tokenizer.encode(word)
        assert table[token].tolist() == numbers, word
    assert "vectors: 3 of " in said

    files[1].unlink()  # a run that goes on does not ask for it again
    run = begin(files, tmp_path, *kept, steps=2)
    assert run.step == 2
    assert "vectors:" not in capsys.readouterr().err
    assert torch.equal(load_model(run.folder).decoder.input.tokens.words.matrix(), table)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ([], r"holds vectors of 3 numbers and the model's are of 16: set model\.input\.width=3\."),
        (["model.input.kind=tokens"], r"set model\.input\.kind=word_vectors"),
        (["vectors=nowhere.txt"], r"nowhere\.txt cannot be read"),
    ],
)
def test_what_does_not_fit_is_one_sentence_before_anything_runs(files, tmp_path, overrides, sentence):
    with pytest.raises(RegardError, match=sentence):
        begin(files, tmp_path, *overrides)
    assert not (tmp_path / "run" / "tokenizer.json").exists()
