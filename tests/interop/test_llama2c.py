"""llama2.c files: the story that the C program tells, layouts, its way of merging pairs, and damaged files."""

import random
import re
import struct
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
import torch

import regard as rg
from regard.attention import Dot
from regard.cli.show import show
from regard.feedforward import Gated
from regard.heads import LanguageHead
from regard.interop import llama2c
from regard.layers import RMSNorm
from regard.model import ModelConfig, StackConfig, Transformer
from regard.positions import Rotary
from regard.residual import PreNorm
from regard.settings import RegardError
from regard.text import Tokenizer
from tests.shared import shared

V, CONTEXT = 263, 7


def test_the_story_is_told_as_in_c():
    folder = shared("models/stories260K")
    model = rg.load(folder / "stories260K.bin")
    assert model.generate("", 256, temperature=0) == (folder / "greedy.txt").read_text().rstrip("\n")


@pytest.fixture
def tiny():
    config = ModelConfig(
        vocab_size=V,
        d_model=18,
        n_heads=3,
        n_kv_heads=1,
        d_ff=11,
        context_length=CONTEXT,
        decoder=StackConfig(
            n_layers=2,
            attention=Dot(bias="none"),
            position=Rotary(interleaved=True),
            feedforward=Gated(),
            norm=RMSNorm(eps=1e-5),
            residual=PreNorm(),
        ),
        head=LanguageHead(tied=False),
    )
    return Transformer(config, seed=3).eval()


def packed(model):
    """As the C program's own script writes it: each kind for all layers."""
    get, layers = model.state_dict(), range(2)
    parts = [get["decoder.input.tokens.weight"]]
    for name in [
        *("residual.norms.0", "attention.q", "attention.k", "attention.v", "attention.o", "residual.norms.1"),
        *("feedforward.gate", "feedforward.down", "feedforward.up"),
    ]:
        parts += [get[f"decoder.layers.{n}.{name}.weight"] for n in layers]
    parts += [get["decoder.end.weight"], torch.full((CONTEXT, 6), 9.0), get["head.output.weight"]]
    numbers = np.concatenate([part.numpy().ravel() for part in parts]).astype("<f4")
    return struct.pack("<7i", 18, 11, 2, 3, 1, -V, CONTEXT) + numbers.tobytes()


def pieces():
    """A small vocabulary with repeats, in which one token comes of several pairs."""
    words = [" ", "a", "b", "aa", "aaa", "ab", "ba", "aba", " a", " ab", "é", "é€", "a b"]
    return ["<unk>", "\n<s>\n", "\n</s>\n", *(f"<0x{byte:02X}>" for byte in range(256)), *words]


def packed_tokenizer(tokens, scores):
    data = [token.encode() for token in tokens]
    rows = [struct.pack("<fi", score, len(one)) + one for score, one in zip(scores, data, strict=True)]
    return struct.pack("<i", max(map(len, data))) + b"".join(rows)


def scores_of(tokens):
    return [0.0] * 259 + [-float(n) for n in range(len(tokens) - 259)]


@torch.no_grad()
def test_a_file_with_a_head_of_its_own(tiny, tmp_path):
    path = tmp_path / "tiny.bin"
    path.write_bytes(packed(tiny))
    loaded = llama2c.read(path, tokenizer=False).transformer
    assert loaded.config == tiny.config
    expected, found = tiny.state_dict(), loaded.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    ids = torch.tensor([[1, 5, 200]])
    assert torch.equal(loaded(ids), tiny(ids))


def in_c(tokens, scores, text):
    """What run.c does: characters, or their bytes; then the best pair anywhere, until there is none."""
    numbers = {token: number for number, token in enumerate(tokens)}
    ids = []
    for character in " " + text if text else "":
        ids += [numbers[character]] if character in numbers else [3 + byte for byte in character.encode()]
    while True:
        pairs = [tokens[a] + tokens[b] for a, b in pairwise(ids)]
        known = [(scores[numbers[pair]], -at) for at, pair in enumerate(pairs) if pair in numbers]
        if not known:
            return ids
        at = -max(known)[1]
        ids[at : at + 2] = [numbers[pairs[at]]]


def test_pairs_are_merged_as_in_c(tmp_path):
    tokens = pieces()
    path = tmp_path / "tokenizer.bin"
    path.write_bytes(packed_tokenizer(tokens, scores_of(tokens)))
    tokenizer = llama2c.read_tokenizer(path)
    draw = random.Random(5)
    for _ in range(500):
        text = "".join(draw.choices("aab b é€😀\n<", k=draw.randrange(12)))
        ids = tokenizer.encode(text)
        assert ids == in_c(tokens, scores_of(tokens), text)
        assert tokenizer.decode(ids) == text


def test_the_shared_tokenizer_merges_as_in_c():
    path = shared("models/stories260K/tok512.bin")
    read = llama2c._tokens(path)
    tokens, scores = [text for _, text in read], [score for score, _ in read]
    story = shared("models/stories260K/greedy.txt").read_text()
    tokenizer = llama2c.read_tokenizer(path)
    for text in [*story.splitlines(), story[:500], "Ünïcode 中文 😀 aaaaaaa", "  two  spaces "]:
        assert tokenizer.encode(text) == in_c(tokens, scores, text)


def test_the_tokenizer_is_found_beside(tiny, tmp_path):
    path = tmp_path / "tiny.bin"
    path.write_bytes(packed(tiny))
    with pytest.raises(RegardError, match=r"neither tok263\.bin nor tokenizer\.bin"):
        rg.load(path)
    tokens = pieces()[:V]
    (tmp_path / "tokenizer.bin").write_bytes(packed_tokenizer(tokens, scores_of(tokens)))
    assert rg.load(path).tokenizer.vocab_size == V
    assert rg.load(path, tokenizer=tmp_path / "tokenizer.bin").tokenizer.begin == 1
    (tmp_path / "tok263.bin").write_bytes(packed_tokenizer(tokens[:-1], scores_of(tokens[:-1])))
    with pytest.raises(RegardError, match=r"tok263\.bin has 262 tokens, and tiny\.bin knows 263"):
        rg.load(path)


NO_SUCH = {
    "empty": (b"", "too few"),
    "pickle": (b"PK\3\4" + bytes(40), "weights_only"),
    "later version": (struct.pack("<Iii", 0x616B3432, 1, 18) + bytes(300), "--version 0"),
    "no layers": (struct.pack("<7i", 18, 11, 0, 3, 1, V, 7), "below 1"),
    "four heads": (struct.pack("<7i", 18, 11, 2, 4, 1, V, 7), "cannot be split"),
    "all too large": (struct.pack("<7i", *[2**31 - 1] * 7), "no llama2.c file"),
    "larger than the file": (struct.pack("<7i", 2**20, 2**20, 2**12, 1, 1, 2**30, 2**30), "bytes where its header"),
}


@pytest.mark.parametrize("what", NO_SUCH)
def test_what_is_no_such_file(what, tmp_path):
    data, says = NO_SUCH[what]
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    with pytest.raises(RegardError, match=re.escape(says)):
        rg.load(path)


def test_show(tiny, tmp_path, capsys):
    (tmp_path / "tiny.bin").write_bytes(packed(tiny))
    show(str(tmp_path / "tiny.bin"))
    assert "decoder" in capsys.readouterr().out


def test_a_file_of_another_kind(tmp_path):
    path = tmp_path / "model.txt"
    path.write_text("text")
    with pytest.raises(RegardError, match=r"ends in \.bin"):
        rg.load(path)


def test_damaged_files_are_refused_or_read(tiny, tmp_path):
    """Cut short, or with a few bits of the header turned: one sentence, never another error."""
    whole, path = packed(tiny), tmp_path / "model.bin"
    draw = random.Random(2)
    for _ in range(100):
        data = bytearray(whole[: draw.randrange(len(whole))] if draw.random() < 0.3 else whole)
        for _ in range(draw.randrange(3)):
            if data:
                data[draw.randrange(min(28, len(data)))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        with suppress(RegardError):
            llama2c.read(path, tokenizer=False)
            assert len(data) == len(whole)


def test_damaged_tokenizers_are_refused_or_read(tmp_path):
    tokens = pieces()
    whole, path = packed_tokenizer(tokens, scores_of(tokens)), tmp_path / "tokenizer.bin"
    draw = random.Random(2)
    for _ in range(200):
        data = bytearray(whole[: draw.randrange(len(whole))] if draw.random() < 0.3 else whole)
        for _ in range(draw.randrange(1, 4)):
            if data:
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        with suppress(RegardError):
            assert isinstance(llama2c.read_tokenizer(path), Tokenizer)
