"""How ids are computed: by a table for bytes and characters, by tiktoken for byte-level BPE where its ids are
provably those of the trained tokenizer, else by the `tokenizers` library.

Every engine turns a list of segments into their arrays of ids and lets go of the GIL while it works long.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import tiktoken
import tokenizers

from regard.settings import RegardError
from regard.text.decoding import byte_alphabet
from regard.text.ranks import PATTERNS
from regard.text.segments import ANYWHERE, CLASSES, SPACES

LINES = r"[^\S ]+"
"""Runs of tabs, line ends and other white space that is no plain space."""

Ids = np.ndarray
"""A one-dimensional array of uint32."""


class Engine(Protocol):
    def __call__(self, texts: Sequence[str]) -> list[Ids]: ...


def kind_of(spec: dict[str, Any]) -> str:
    """What a tokenizer.json holds: bytes, characters, bpe, wordpiece, unigram or wordlevel."""
    kind = spec["model"]["type"].lower()
    if kind == "bpe" and not spec["model"]["merges"]:
        if spec["pre_tokenizer"] is None:
            return "characters"
        if spec["pre_tokenizer"]["type"] == "ByteLevel" and len(spec["model"]["vocab"]) == 256:
            return "bytes"
    return kind


def boundary_of(spec: dict[str, Any]) -> Any:
    """The places where a text may be cut without changing its ids, as a pattern; None where none are known."""
    if not _local(spec["normalizer"]) or any(not token["special"] for token in spec["added_tokens"]):
        return None
    if kind_of(spec) in ("bytes", "characters"):
        return ANYWHERE if spec["normalizer"] is None else SPACES
    part = spec["pre_tokenizer"]
    if part is None:
        return None
    if byte_pattern(spec) is not None:
        return CLASSES
    return SPACES if _splits_at_spaces(part) else None


def _splits_at_spaces(part: dict[str, Any]) -> bool:
    """Whether a pre-tokenizer always splits between a character and a space after it."""
    if part["type"] == "Sequence":
        *others, last = part["pretokenizers"]
        lines = all(other["type"] == "Split" and other["pattern"].get("Regex") == LINES for other in others)
        return lines and _splits_at_spaces(last)
    if part["type"] == "Metaspace":
        return part.get("split", True)
    return part["type"] in ("BertPreTokenizer", "Whitespace", "WhitespaceSplit", "ByteLevel") and part.get(
        "use_regex", True
    )


def byte_pattern(spec: dict[str, Any]) -> str | None:
    """The pattern by which a byte-level BPE splits text, if it is one of the known ones."""
    part = spec["pre_tokenizer"]
    if spec["model"]["type"] != "BPE" or part is None:
        return None
    parts = part["pretokenizers"] if part["type"] == "Sequence" else [part]
    level = parts[-1]
    if level["type"] != "ByteLevel" or level["add_prefix_space"]:
        return None
    if len(parts) == 1 and level["use_regex"]:
        return PATTERNS["gpt2"]
    if len(parts) == 2 and parts[0]["type"] == "Split" and not level["use_regex"]:
        pattern = parts[0]["pattern"].get("Regex")
        plain = parts[0]["behavior"] == "Isolated" and not parts[0]["invert"]
        return pattern if plain and pattern in PATTERNS.values() else None
    return None


def _local(normalizer: dict[str, Any] | None) -> bool:
    """Whether a normalizer treats the two sides of a space apart."""
    if normalizer is None:
        return True
    if normalizer["type"] == "Sequence":
        return all(map(_local, normalizer["normalizers"]))
    return normalizer["type"] in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "BertNormalizer")


def utf8(text: str) -> bytes:
    """The bytes of a text. Raises `RegardError` for half of a surrogate pair, which no UTF-8 can hold."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise RegardError(
            f"the text holds half a character (U+{ord(text[error.start]):04X}) at {error.start}: "
            "read it with errors='replace'."
        ) from None


class HuggingFace:
    """The `tokenizers` library itself."""

    def __init__(self, hf: tokenizers.Tokenizer) -> None:
        self.hf = hf

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        for text in texts:
            utf8(text)
        result: list[Ids] = []
        for group in _groups(texts, 1 << 20):
            try:
                encodings = self.hf.encode_batch_fast(group, add_special_tokens=False)
            except Exception as error:  # such as a vocabulary without a piece for a character, nor for the unknown
                raise RegardError(f"the tokenizer cannot encode this text: {error}.") from None
            result += [np.array(encoding.ids, np.uint32) for encoding in encodings]
        return result


class Bytes:
    """One id a byte: a table of 256."""

    def __init__(self, vocab: dict[str, int], normalize: Callable[[str], str]) -> None:
        self.normalize = normalize
        self.table = np.zeros(256, np.uint32)
        for char, byte in byte_alphabet().items():
            self.table[byte] = vocab[char]

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        return [self.table[np.frombuffer(utf8(self.normalize(text)), np.uint8)] for text in texts]


class Characters:
    """One id a code point: a table up to the largest known one."""

    def __init__(self, vocab: dict[str, int], unknown: int | None, normalize: Callable[[str], str]) -> None:
        self.normalize = normalize
        self.unknown = unknown
        self.size = len(vocab)
        known = {ord(char): token for char, token in vocab.items() if len(char) == 1}
        self.table = np.full(max(known, default=0) + 2, -1, np.int32)  # the last stands for all above
        self.table[list(known)] = list(known.values())

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        return [self.encode(self.normalize(text)) for text in texts]

    def encode(self, text: str) -> Ids:
        utf8(text)
        points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        ids = self.table[np.minimum(points, len(self.table) - 1)]
        lost = ids < 0
        if lost.any():
            if self.unknown is None:
                at = int(lost.argmax())
                raise RegardError(
                    f"the character {text[at]!r} (U+{ord(text[at]):04X}) is not among the {self.size} that this "
                    "tokenizer knows: train it on text that has it, or with special=['unknown', …]."
                )
            ids[lost] = self.unknown
        return ids.astype(np.uint32)


class Tiktoken:
    """Byte-level BPE by tiktoken's linear merging, several times the speed of `tokenizers`."""

    def __init__(self, encoding: tiktoken.Encoding, normalize: Callable[[str], str]) -> None:
        self.encoding = encoding
        self.normalize = normalize

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        for text in texts:
            utf8(text)
        return [self.encoding.encode_to_numpy(self.normalize(text), disallowed_special=()) for text in texts]


def engine(hf: tokenizers.Tokenizer, spec: dict[str, Any], unknown: int | None) -> Engine:
    """The way of encoding that is always right for this tokenizer: a table, or `tokenizers`."""
    kind, vocab = kind_of(spec), spec["model"]["vocab"]
    plain = all(token["special"] and not token["normalized"] for token in spec["added_tokens"])
    if plain and kind == "bytes":
        return Bytes(vocab, normalizer(hf))
    if plain and kind == "characters" and not spec["model"].get("byte_fallback"):
        return Characters(vocab, unknown, normalizer(hf))
    return HuggingFace(hf)


def normalizer(hf: tokenizers.Tokenizer) -> Callable[[str], str]:
    return (lambda text: text) if hf.normalizer is None else hf.normalizer.normalize_str


def faster(hf: tokenizers.Tokenizer, spec: dict[str, Any], trusted: bool = False) -> Engine | None:
    """tiktoken with the ids of this byte-level BPE, or None where the two could differ.

    tiktoken merges the neighbours whose union has the lowest id; `tokenizers` those that come first in its list of
    pairs. They agree if the list is in the order of the ids it makes, every token is a byte or made by one pair,
    and every token's own bytes merge into it. The rest (how text is split) is compared on made text, unless
    `trusted`, which says that this tokenizer passed before.
    """
    pattern, model = byte_pattern(spec), spec["model"]
    special = {token["content"] for token in spec["added_tokens"]}
    if (
        pattern is None
        or model.get("dropout")
        or not all(token["special"] and not token["normalized"] for token in spec["added_tokens"])
    ):
        return None
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        return None
    alphabet = byte_alphabet()
    vocab = {name: token for name, token in model["vocab"].items() if name not in special}
    if any(char not in vocab for char in alphabet) or any(c not in alphabet for name in vocab for c in name):
        return None
    pairs = [pair if isinstance(pair, list) else pair.split(" ") for pair in model["merges"]]
    made = [vocab.get(left + right, -1) for left, right in pairs]
    if made != sorted(set(made)) or -1 in made:
        return None
    if len(made) + 256 != len(vocab) and not model.get("ignore_merges"):
        return None
    ranks = {bytes(map(alphabet.__getitem__, name)): token for name, token in vocab.items()}
    # Only the tail looks ahead, which tiktoken's expressions do slowly; a group keeps the rest of them apart from it.
    tail = r"|\s+(?!\S)|\s+"
    pattern = f"(?:{pattern.removesuffix(tail)}){tail}"
    encoding = tiktoken.Encoding("regard", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    fast = Tiktoken(encoding, normalizer(hf))
    return fast if trusted or (_all_reachable(spec, pairs) and _agree(fast, HuggingFace(hf), ranks)) else None


def _all_reachable(spec: dict[str, Any], pairs: list[list[str]]) -> bool:
    """Whether merging makes every merged token out of its own bytes."""
    bare = {**spec, "model": {**spec["model"], "ignore_merges": False}}
    model = tokenizers.Tokenizer.from_str(json.dumps(bare)).model
    return all(len(model.tokenize(left + right)) == 1 for left, right in pairs)


def _agree(fast: Engine, slow: Engine, ranks: dict[bytes, int]) -> bool:
    texts = list(made_text(ranks))
    return all(np.array_equal(a, b) for a, b in zip(fast(texts), slow(texts), strict=True))


def made_text(ranks: dict[bytes, int]) -> Iterator[str]:
    """Text on which to compare two engines: tokens strewn together, characters of many scripts, spaces and marks."""
    draw = random.Random(0)
    tokens = list(ranks)
    for glue in (b"", b" ", b"\n"):
        yield glue.join(draw.choices(tokens, k=8_000)).decode("utf-8", errors="replace")
    marks = " \n\t\r'’.,;:!?()[]{}<>/\\|+-=*#_~\"0123456789\xa0\u3000\u200b\u200d，。"
    for span in (0x80, 0x800, 0xD800, 0x20000):
        letters = (chr(code) for _ in range(10_000) if not 0xD800 <= (code := draw.randrange(span)) < 0xE000)
        yield "".join(draw.choice(marks) if draw.random() < 0.3 else letter for letter in letters)
    yield "".join(
        draw.choices(["'s", "'LL", "'ve", "don't", "I'M", " ", "  ", "\n\n", " \n ", "é", "e\u0301", "👩‍👩‍👧"], k=5000)
    )


def _groups(texts: Sequence[str], size: int) -> Iterator[list[str]]:
    """Consecutive texts of about `size` characters together."""
    group: list[str] = []
    held = 0
    for text in texts:
        group.append(text)
        held += len(text)
        if held >= size:
            yield group
            group, held = [], 0
    if group:
        yield group
