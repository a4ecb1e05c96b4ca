"""Small models whose logits spread widely, so that what is sampled tells models apart."""

import torch

from regard.attention import Full, Window
from regard.model import ModelConfig, Normal, PreNorm, StackConfig, Transformer
from regard.positions import Learned, Rotary, Sinusoidal
from regard.text import Tokenizer

POSITIONS = {"learned": Learned(), "rotary": Rotary(), "sinusoidal": Sinusoidal()}


def decoder(
    position="learned", vocab_size=37, context_length=24, seed=0, dtype=torch.float64, **changes
) -> Transformer:
    stack = StackConfig(n_layers=2, position=POSITIONS[position], residual=PreNorm(), **changes)
    config = ModelConfig(
        vocab_size=vocab_size,
        d_model=24,
        n_heads=3,
        context_length=context_length,
        decoder=stack,
        initialisation=Normal(std=0.4),
    )
    return Transformer(config, seed).to(dtype).eval()


def windowed(**changes) -> Transformer:
    """Its first layer sees three tokens only."""
    return decoder("rotary", pattern=(Window(size=3), Full()), **changes)


def byte_tokenizer(special=("end",)) -> Tokenizer:
    return Tokenizer.train(["abc"], kind="bytes", special=special)


def prompts(lengths, vocab_size=37, seed=1) -> list[list[int]]:
    random = torch.Generator().manual_seed(seed)
    return [torch.randint(vocab_size, (n,), generator=random).tolist() for n in lengths]
