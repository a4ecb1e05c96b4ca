"""Small encoders with a head, whose outputs spread widely, and tokenizers for them."""

from functools import cache

import torch

from regard.heads import Head
from regard.inputs import TokenInput
from regard.model import ModelConfig, Normal, StackConfig, Transformer
from regard.positions import Learned
from regard.text import Tokenizer

SPECIAL = {"unknown": "[UNK]", "pad": "[PAD]", "class": "[CLS]", "separator": "[SEP]"}
ENGLISH = "The tower in Paris was built by Gustave Eiffel from 1887 to 1889 and is 330 metres high."


def encoder(head: Head, vocab_size: int, context_length=24, seed=0, dtype=torch.float64) -> Transformer:
    config = ModelConfig(
        vocab_size=vocab_size,
        d_model=24,
        n_heads=3,
        context_length=context_length,
        input=TokenInput(segments=2),
        encoder=StackConfig(n_layers=2, position=Learned()),
        decoder=None,
        head=head,
        initialisation=Normal(std=0.4),
    )
    return Transformer(config, seed).to(dtype).eval()


@cache
def byte_tokenizer() -> Tokenizer:
    """A token a byte."""
    return Tokenizer.train(["abc"], kind="bytes", special=SPECIAL)


@cache
def wordpiece(size: int = 200) -> Tokenizer:
    """Lower case, without accents, Chinese by characters: as BERT's."""
    texts = [ENGLISH, "Größe é 高い塔 我爱北京天安门 crème brûlée नमस्ते"]
    return Tokenizer.train(texts, kind="wordpiece", vocab_size=size, special=SPECIAL, lowercase=True)


def alone(model: Transformer, ids, segments=None) -> torch.Tensor:
    """What the head gives for one row by itself, without any padding."""
    with torch.inference_mode():
        segments = None if segments is None else torch.as_tensor(segments)[None]
        return model(torch.as_tensor(ids)[None], segments=segments)[0]
