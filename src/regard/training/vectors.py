"""A run that begins with word vectors: from a file and a tokenizer's words to the rows of the input's table."""

from __future__ import annotations

import torch

from regard.inputs import WordVectors
from regard.inputs.word_vectors import begin_with
from regard.model import ModelConfig, Transformer
from regard.settings import RegardError
from regard.text import Tokenizer
from regard.text.vectors import read_vectors, width_of, words_of


def check_vectors(path: str, config: ModelConfig) -> None:
    """Raises `RegardError` if the file cannot be what this model begins with; reads its first line alone."""
    own, found = _width(config), width_of(path)
    if found != own:
        raise RegardError(
            f"{path} holds vectors of {found} numbers and the model's are of {own}: set model.input.width={found}."
        )


def take_vectors(path: str, model: Transformer, tokenizer: Tokenizer) -> str:
    """Gives the words that the file knows their vectors, in all stacks; says how many those are."""
    words = words_of(tokenizer)
    found = read_vectors(path, {form for word in words for form in (word, word.lower())}, _width(model.config))
    row_of = {word: row for row, word in enumerate(found.words)}
    form_of = {word: word if word in row_of else word.lower() for word in words}
    known = [word for word in words if form_of[word] in row_of]
    ids = torch.tensor([token for word in known for token in words[word]], dtype=torch.long)
    rows = torch.tensor([row_of[form_of[word]] for word in known for _ in words[word]], dtype=torch.long)
    vectors = torch.from_numpy(found.numbers)[rows]
    for table in {stack.input.tokens for stack in (model.encoder, model.decoder) if stack is not None}:
        begin_with(table, ids, vectors)
    return f"vectors: {len(known):,} of {len(words):,} words found"


def _width(config: ModelConfig) -> int:
    assert isinstance(config.input, WordVectors)
    return config.input.width or config.d_model
