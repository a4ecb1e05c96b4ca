"""OpenAI's rank files: a byte-level BPE written as its tokens in the order of their merges, one `base64 rank` a line.

A rank file holds no pre-tokenizer and no special tokens; those of the published encodings stand here by name.
"""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import NamedTuple

from regard.settings import RegardError
from regard.text.decoding import byte_alphabet

# How text is split before merging. Possessive quantifiers are left out: they change no split, and Oniguruma reads
# `{1,3}+` otherwise than other engines do.
PATTERNS = {
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "cl100k": (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "o200k": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}


LONGEST = 1024  # bytes of a token; finding its merges takes the square of it


class Published(NamedTuple):
    pattern: str
    ranks: int
    special: dict[str, int]


_FILL = {"<|fim_prefix|>": 100258, "<|fim_middle|>": 100259, "<|fim_suffix|>": 100260}
_GPT2 = Published("gpt2", 50256, {"<|endoftext|>": 50256})

ENCODINGS = {
    "gpt2": _GPT2,
    "r50k_base": _GPT2,
    "p50k_base": Published("gpt2", 50280, {"<|endoftext|>": 50256}),
    "cl100k_base": Published("cl100k", 100256, {"<|endoftext|>": 100257, **_FILL, "<|endofprompt|>": 100276}),
    "o200k_base": Published("o200k", 199998, {"<|endoftext|>": 199999, "<|endofprompt|>": 200018}),
}


def read_ranks(path: Path) -> dict[bytes, int]:
    """The tokens of a rank file with their ranks. Raises `RegardError` on a line that is none."""
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise RegardError(
                f"{path}, line {number}: expected a base64 token and its rank, got {line[:40]!r}."
            ) from None
    return ranks


def published(name: str, ranks: dict[bytes, int]) -> Published:
    """The published encoding that a rank file of this name, or of this number of ranks, belongs to."""
    if name in ENCODINGS and len(ranks) == ENCODINGS[name].ranks:
        return ENCODINGS[name]
    for encoding in ENCODINGS.values():
        if len(ranks) == encoding.ranks:
            return encoding
    raise RegardError(
        f"{name}.tiktoken holds {len(ranks)} ranks, which is no published encoding, and does not say how it splits "
        f"text: name its pattern, pattern={' or '.join(map(repr, PATTERNS))}."
    )


def fetch(name: str) -> dict[bytes, int]:
    """The ranks of a published encoding through the `tiktoken` package, which keeps or downloads the file."""
    import tiktoken

    try:
        return tiktoken.get_encoding(name)._mergeable_ranks
    except Exception as error:  # requests raises many kinds; all mean that the file cannot be had
        raise RegardError(
            f"the file of the encoding {name!r} could not be reached ({type(error).__name__}): give the path of a "
            f"local {name}.tiktoken instead, or set TIKTOKEN_CACHE_DIR to a folder that has it."
        ) from None


def to_json(ranks: dict[bytes, int], pattern: str, special: dict[str, int]) -> str:
    """A `tokenizer.json` with the same ids. Raises `RegardError` if ranks repeat or a byte has none."""
    if len(set(ranks.values())) != len(ranks) or any(bytes([byte]) not in ranks for byte in range(256)):
        raise RegardError("the rank file is damaged: each of the 256 bytes needs a rank, and no rank may come twice.")
    if max(map(len, ranks)) > LONGEST:
        raise RegardError(f"the rank file has a token of {max(map(len, ranks))} bytes; at most {LONGEST} are allowed.")
    letters = {byte: char for char, byte in byte_alphabet().items()}
    spelled = {token: "".join(map(letters.__getitem__, token)) for token in ranks}
    in_order = sorted(ranks, key=ranks.__getitem__)
    merges = []
    for token in in_order:
        if len(token) > 1 and (pair := _last_merge(token, ranks)) is not None:
            merges.append([spelled[pair[0]], spelled[pair[1]]])
    gpt2 = pattern == PATTERNS["gpt2"]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": gpt2}
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return json.dumps(
        {
            "version": "1.0",
            "added_tokens": [
                {"id": token, "content": content, "special": True, "single_word": False}
                | {"lstrip": False, "rstrip": False, "normalized": False}
                for content, token in sorted(special.items(), key=lambda item: item[1])
            ],
            "normalizer": None,
            "pre_tokenizer": level if gpt2 else {"type": "Sequence", "pretokenizers": [split, level]},
            "post_processor": None,
            "decoder": {**level, "use_regex": True},
            "model": {
                "type": "BPE",
                "ignore_merges": True,  # a whole word that is a token is taken as it is, as tiktoken does
                "vocab": {spelled[token]: ranks[token] for token in in_order},
                "merges": merges,
            },
        },
        ensure_ascii=False,
    )


def _last_merge(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes] | None:
    """The two parts that are merged last when the token is made from its bytes; None if merging never makes it."""
    limit = ranks[token]
    pairs = [
        (token[:i], token[i:])
        for i in range(1, len(token))
        if ranks.get(token[:i], limit) < limit and ranks.get(token[i:], limit) < limit
    ]
    if len(pairs) <= 1:
        return pairs[0] if pairs else None
    parts = [token[i : i + 1] for i in range(len(token))]
    joined = [ranks.get(token[i : i + 2], limit) for i in range(len(token) - 1)]  # the rank of each two neighbours
    while len(parts) > 2:
        best = min(joined)
        if best >= limit:
            return None
        i = joined.index(best)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
        del joined[i]
        if i > 0:
            joined[i - 1] = ranks.get(parts[i - 1] + parts[i], limit)
        if i < len(joined):
            joined[i] = ranks.get(parts[i] + parts[i + 1], limit)
    return parts[0], parts[1]
