"""llama2.c files: a Llama in one .bin, and its tokenizer in another.

    model.bin       7 int32: d_model, d_ff, n_layers, n_heads, n_kv_heads, vocab_size (negative: the head has a matrix
                    of its own), context_length; then the weights in float32, each kind for all layers at once
    tokenizer.bin   int32: the longest token's bytes; then for each token its score (float32), bytes (int32), text

Source   the layout of version 0 as in github.com/karpathy/llama2.c, export.py and run.c. All little-endian.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from regard.attention import Dot
from regard.feedforward import Gated
from regard.heads import LanguageHead
from regard.interop.folder import Foreign
from regard.interop.weights import CONVERT
from regard.layers import RMSNorm
from regard.model import ModelConfig, StackConfig, Transformer
from regard.positions import Rotary
from regard.residual import PreNorm
from regard.settings import RegardError, SettingsError
from regard.store import fill, tensors_of
from regard.text import Tokenizer

SUFFIX = ".bin"
HEADER = struct.Struct("<7i")
TOKEN = struct.Struct("<fi")
MOST_BYTES, MOST_OF_TOKEN = 8 << 20, 256
UNKNOWN, BEGIN, END = 0, 1, 2
NAMES = {UNKNOWN: "<unk>", BEGIN: "<s>", END: "</s>"}


class Kept(NamedTuple):
    """Consecutive numbers of the file: our tensors, all of one shape; none: numbers that are passed by."""

    names: tuple[str, ...]
    shape: tuple[int, ...]


def read(path: Path, tokenizer: bool = True) -> Foreign:
    """The model in a llama2.c file, and the tokenizer beside it: tok512.bin for 512 tokens, or tokenizer.bin.

    Raises `RegardError`: the file is no such file, or is damaged, or there is no tokenizer.
    """
    config = config_of(path)
    with torch.device("meta"):
        model = Transformer(config)
    fill(model, dict(_tensors(path, config, tensors_of(model))))
    return Foreign(model.eval(), _beside(path, config.vocab_size) if tokenizer else None)


def config_of(path: Path) -> ModelConfig:
    """The settings in the file's header, which are those of a file of just this size. Raises `RegardError`."""
    if path.suffix != SUFFIX:
        raise RegardError(f"{path} is no model: name a folder, or a llama2.c file, which ends in {SUFFIX}.")
    with open(path, "rb") as file:
        header = file.read(HEADER.size)
    if header.startswith((b"PK\3\4", b"\x80")):
        raise RegardError(
            f"{path} is a pickle, which can run any program when it is opened, so it is not read: take safetensors "
            f"from where the model came from, or make them there with {CONVERT}"
        )
    if header.startswith(b"24ka"):
        raise RegardError(f"{path} is a llama2.c file of a later version: export it with --version 0.")
    if len(header) < HEADER.size:
        raise RegardError(f"{path} has {len(header)} bytes, too few for a llama2.c file: copy it again.")
    d, f, layers, heads, kv_heads, vocab, context = HEADER.unpack(header)
    if min(d, f, layers, heads, kv_heads, abs(vocab), context) < 1:
        raise RegardError(f"{path} is no llama2.c file: its header has sizes below 1.")
    try:
        config = ModelConfig(
            vocab_size=abs(vocab),
            d_model=d,
            n_heads=heads,
            n_kv_heads=kv_heads,
            d_ff=f,
            context_length=context,
            decoder=StackConfig(
                n_layers=layers,
                attention=Dot(bias="none"),
                position=Rotary(interleaved=True),
                feedforward=Gated(),
                norm=RMSNorm(eps=1e-5),
                residual=PreNorm(),
            ),
            head=LanguageHead(tied=vocab > 0),
        )
    except (SettingsError, ValueError) as error:
        raise RegardError(f"{path} is no llama2.c file: {error}") from None
    expected = HEADER.size + 4 * sum(max(len(kept.names), 1) * math.prod(kept.shape) for kept in _layout(config))
    if (found := path.stat().st_size) != expected:
        raise RegardError(f"{path} has {found:,} bytes where its header says {expected:,}: copy it again.")
    return config


def _layout(config: ModelConfig) -> Iterator[Kept]:
    """What stands in the file after its header, in order."""
    sizes = config.sizes("decoder")
    d, f, e = sizes.d_model, sizes.d_ff, sizes.head_dim

    def layers(name: str, *shape: int) -> Kept:
        return Kept(tuple(f"decoder.layers.{n}.{name}.weight" for n in range(sizes.depth)), shape)

    yield Kept(("decoder.input.tokens.weight",), (config.vocab_size, d))
    yield layers("residual.norms.0", d)
    yield layers("attention.q", sizes.n_heads * e, d)
    yield layers("attention.k", sizes.n_kv_heads * e, d)
    yield layers("attention.v", sizes.n_kv_heads * e, d)
    yield layers("attention.o", d, sizes.n_heads * e)
    yield layers("residual.norms.1", d)
    yield layers("feedforward.gate", f, d)
    yield layers("feedforward.down", d, f)
    yield layers("feedforward.up", f, d)
    yield Kept(("decoder.end.weight",), (d,))
    yield Kept((), (2, sizes.context_length, e // 2))  # cosines and sines, which nobody reads any more
    if isinstance(config.head, LanguageHead) and not config.head.tied:
        yield Kept(("head.output.weight",), (config.vocab_size, d))


def _tensors(path: Path, config: ModelConfig, ours: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    numbers = np.memmap(path, dtype="<f4", mode="r", offset=HEADER.size)
    at = 0
    for kept in _layout(config):
        size = math.prod(kept.shape)
        for name in kept.names:
            assert ours[name].shape == kept.shape
            yield name, torch.from_numpy(numbers[at : at + size].reshape(kept.shape).astype(np.float32))
            at += size
        at += 0 if kept.names else size


# — the tokenizer —


def _beside(path: Path, vocab_size: int) -> Tokenizer:
    names = (f"tok{vocab_size}.bin", "tokenizer.bin")
    found = next((path.parent / name for name in names if (path.parent / name).is_file()), None)
    if found is None:
        raise RegardError(f"beside {path} stands neither {names[0]} nor {names[1]}: name a tokenizer.")
    tokenizer = read_tokenizer(found)
    if tokenizer.vocab_size != vocab_size:
        raise RegardError(f"{found} has {tokenizer.vocab_size} tokens, and {path.name} knows {vocab_size}.")
    return tokenizer


def read_tokenizer(path: Path) -> Tokenizer:
    """A llama2.c tokenizer: pairs are merged into the token of the highest score. `<s>` stands between documents.

    Raises `RegardError`.
    """
    tokens = _tokens(path)
    names = [NAMES.get(number, text) for number, (_, text) in enumerate(tokens)]
    vocab = {name: number for number, name in enumerate(names)}
    if len(tokens) <= END or len(vocab) < len(tokens):
        raise RegardError(f"{path} is no llama2.c tokenizer: it has too few tokens, or one of them twice.")
    by_score = sorted(range(len(tokens)), key=lambda number: -tokens[number][0])
    merges = [
        [name[:cut], name[cut:]]
        for name in (names[number] for number in by_score if number not in NAMES)
        for cut in range(1, len(name))
        if name[:cut] in vocab and name[cut:] in vocab
    ]
    spec = {
        "version": "1.0",
        "added_tokens": [
            {"id": number, "content": name, "special": True, "normalized": False}
            | {"single_word": False, "lstrip": False, "rstrip": False}
            for number, name in NAMES.items()
        ],
        "normalizer": {"type": "Prepend", "prepend": " "},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "unk_token": NAMES[UNKNOWN],
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": vocab,
            "merges": merges,
        },
    }
    # A story ends where the next begins: </s> was never seen in training.
    roles = {"unknown": NAMES[UNKNOWN], "begin": NAMES[BEGIN], "end": NAMES[BEGIN]}
    return Tokenizer(json.dumps(spec, ensure_ascii=False), roles)


def _tokens(path: Path) -> list[tuple[float, str]]:
    """The score and the text of each token. Raises `RegardError`."""
    if not path.is_file():
        raise RegardError(f"there is no tokenizer {str(path)!r}.")
    if path.stat().st_size > MOST_BYTES:
        raise RegardError(f"{path} has more than the {MOST_BYTES:,} bytes that such a tokenizer may have.")
    data = path.read_bytes()
    at, tokens = 4, []
    try:
        (longest,) = struct.unpack_from("<i", data)
        while at < len(data):
            score, size = TOKEN.unpack_from(data, at)
            at += TOKEN.size
            if not 0 <= size <= min(longest, MOST_OF_TOKEN, len(data) - at) or not math.isfinite(score):
                raise ValueError
            tokens.append((score, data[at : at + size].decode()))
            at += size
    except (struct.error, ValueError):
        raise RegardError(f"{path} is no llama2.c tokenizer, or is damaged near byte {at:,}: copy it again.") from None
    return tokens
