"""What stands in a `tokenizer.json`: read with its size, ids and roles checked, before the library builds on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tokenizers

from regard.settings import RegardError, SettingsError, nearest

ROLES = ("pad", "begin", "end", "unknown", "mask", "separator", "class")

FILE = "tokenizer.json"
MOST_BYTES = 64 << 20  # of a tokenizer file; the largest published ones have 35 MB
MOST_IDS = 1 << 22

# How Hugging Face's tokenizer_config.json declares roles.
DECLARED = {
    "pad_token": "pad",
    "bos_token": "begin",
    "eos_token": "end",
    "unk_token": "unknown",
    "mask_token": "mask",
    "sep_token": "separator",
    "cls_token": "class",
}

CUSTOMARY = (
    ("pad", "<pad>"),
    ("pad", "[PAD]"),
    ("begin", "<s>"),
    ("end", "</s>"),
    ("unknown", "<unk>"),
    ("unknown", "[UNK]"),
    ("mask", "<mask>"),
    ("mask", "[MASK]"),
    ("separator", "[SEP]"),
    ("class", "[CLS]"),
)


def check_role(role: str) -> None:
    if role not in ROLES:
        raise SettingsError(f"no special token has the role {role!r}{nearest(role, ROLES)}")


def parse(spec: str) -> tokenizers.Tokenizer:
    try:
        hf = tokenizers.Tokenizer.from_str(spec)
    except BaseException as error:  # a panic of the Rust library is no Exception
        if isinstance(error, (KeyboardInterrupt, SystemExit, MemoryError)):
            raise
        raise RegardError(
            f"this is no tokenizer.json that `tokenizers` can read: {str(error).splitlines()[0][:200]}."
        ) from None
    hf.no_padding()
    hf.no_truncation()
    return hf


def read(spec: str) -> dict[str, Any]:
    """The file as plain values, its ids checked: the library would count up to the highest, however high."""
    try:
        plain = json.loads(spec)
        highest = size(plain) - 1
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise RegardError(
            f"this is no {FILE}: it is not JSON with a model, its vocabulary and the added tokens."
        ) from None
    if highest >= MOST_IDS:
        raise RegardError(f"the tokenizer has the id {highest:,}; ids must be below {MOST_IDS:,}.")
    return plain


def size(spec: dict[str, Any]) -> int:
    vocab = spec["model"]["vocab"]
    model = range(len(vocab)) if isinstance(vocab, list) else vocab.values()
    added = (token["id"] for token in spec.get("added_tokens") or ())
    return 1 + max(max(map(int, model), default=-1), max(map(int, added), default=-1))


def own_roles(spec: dict[str, Any]) -> dict[str, str]:
    """The roles that a `tokenizer.json` of ours declares with its added tokens."""
    with_roles = (token for token in spec.get("added_tokens") or () if isinstance(token.get("roles"), list))
    return {str(role): token["content"] for token in with_roles for role in token["roles"]}


def unknown_of_model(model: dict[str, Any]) -> dict[str, str]:
    """The token that the model itself names for what it does not know."""
    if model["type"] == "Unigram":
        lost = None if model["unk_id"] is None or model["byte_fallback"] else model["vocab"][model["unk_id"]][0]
    else:
        lost = model.get("unk_token")
    vocab = model["vocab"]
    return {"unknown": lost} if lost and (isinstance(vocab, list) or lost in vocab) else {}


def settings(folder: Path) -> dict[str, Any]:
    """What Hugging Face's special_tokens_map.json and tokenizer_config.json in a folder say; the latter counts more."""
    found: dict[str, Any] = {}
    for place in (folder / "special_tokens_map.json", folder / "tokenizer_config.json"):
        if not place.is_file() or place.stat().st_size > MOST_BYTES:
            continue
        try:
            declared = json.loads(place.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            raise RegardError(f"{place} is not JSON.") from None
        found |= declared if isinstance(declared, dict) else {}
    return found


def declared_roles(folder: Path) -> dict[str, str]:
    """The roles that these files declare."""
    declared = settings(folder)
    found = {role: declared.get(key) for key, role in DECLARED.items()}
    texts = {role: value.get("content") if isinstance(value, dict) else value for role, value in found.items()}
    return {role: text for role, text in texts.items() if isinstance(text, str)}


def customary_roles(spec: dict[str, Any]) -> dict[str, str]:
    """The roles of special tokens whose text is customary, for a file beside which nothing is declared."""
    special = {token["content"] for token in spec["added_tokens"] if token["special"]}
    return {role: text for role, text in CUSTOMARY if text in special}
