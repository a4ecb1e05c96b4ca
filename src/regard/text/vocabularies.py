"""Tokenizers from before `tokenizer.json`: BERT's vocab.txt, and the vocab.json with merges.txt of GPT-2 and RoBERTa.

They become the text of a `tokenizer.json` with the same ids; what stands in tokenizer_config.json beside them counts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from regard.settings import RegardError
from regard.text import files

WORDS, PIECES, MERGES, ADDED = "vocab.txt", "vocab.json", "merges.txt", "added_tokens.json"

BERT = {"unknown": "[UNK]", "separator": "[SEP]", "pad": "[PAD]", "class": "[CLS]", "mask": "[MASK]"}
GPT2 = {"end": "<|endoftext|>"}
ROBERTA = {
    "begin": "<s>",
    "end": "</s>",
    "separator": "</s>",
    "class": "<s>",
    "unknown": "<unk>",
    "pad": "<pad>",
    "mask": "<mask>",
}


def build(folder: Path) -> tuple[str, dict[str, str]] | None:
    """The text of a tokenizer.json and the text of each role, from a folder's vocabulary; None if it has none.

    Raises `RegardError`.
    """
    if (folder / WORDS).is_file():
        spec, roles = _wordpiece(folder)
    elif (folder / PIECES).is_file() and (folder / MERGES).is_file():
        spec, roles = _byte_pairs(folder)
    else:
        return None
    vocab = spec["model"]["vocab"]
    added = _json(folder / ADDED) if (folder / ADDED).is_file() else {}
    if not all(type(number) is int for number in (*vocab.values(), *added.values())):
        raise RegardError(f"{folder} has a vocabulary whose ids are no whole numbers: copy its files again.")
    special = {text: vocab[text] for text in roles.values() if text in vocab}
    mask = files.settings(folder).get("mask_token")
    # RoBERTa's takes the space before it along, unless it is declared otherwise.
    spaced = bool(mask.get("lstrip")) if isinstance(mask, dict) else "begin" in roles
    spec["added_tokens"] = [
        {"id": number, "content": content, "single_word": False, "rstrip": False, "normalized": False}
        | {"lstrip": spaced and content == roles.get("mask"), "special": content in roles.values()}
        for content, number in sorted({**added, **special}.items(), key=lambda item: item[1])
    ]
    return json.dumps(spec, ensure_ascii=False), {role: text for role, text in roles.items() if text in vocab | added}


def _wordpiece(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """BERT's: words by spaces and punctuation, cut into the longest pieces that are known."""
    lines = _text(folder / WORDS).split("\n")
    vocab = {word: number for number, word in enumerate(lines if lines[-1] else lines[:-1])}
    how, roles = files.settings(folder), {**BERT, **files.declared_roles(folder)}
    spec = _spec(
        {
            "type": "WordPiece",
            "unk_token": roles["unknown"],
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
        normalizer={
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": how.get("tokenize_chinese_chars") is not False,
            "strip_accents": how["strip_accents"] if isinstance(how.get("strip_accents"), bool) else None,
            "lowercase": how.get("do_lower_case") is not False,
        },
        pre_tokenizer={"type": "BertPreTokenizer"},
        post_processor={"type": "BertProcessing", **_around(vocab, roles)},
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
    )
    return spec, roles


def _byte_pairs(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """GPT-2's: bytes written as letters, merged pair by pair. RoBERTa's has <s> and </s> around a text."""
    vocab = _json(folder / PIECES)
    lines = _text(folder / MERGES).split("\n")
    merges = [line.split(" ") for line in lines[lines[0].startswith("#version") :] if line]
    if not all(len(pair) == 2 for pair in merges):
        raise RegardError(f"{folder / MERGES} has a line that is not two pieces: copy it again.")
    framed = {"<s>", "</s>"} <= vocab.keys()
    roles = {**(ROBERTA if framed else GPT2), **files.declared_roles(folder)}
    prefix = files.settings(folder).get("add_prefix_space") is True
    level = {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": True}
    frame = {"type": "RobertaProcessing", "trim_offsets": True, "add_prefix_space": prefix}
    spec = _spec(
        {"type": "BPE", "vocab": vocab, "merges": merges},
        normalizer=None,
        pre_tokenizer=level,
        post_processor={**frame, **_around(vocab, roles)} if framed else None,
        decoder=level,
    )
    return spec, roles


def _spec(model: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return {"version": "1.0", "truncation": None, "padding": None, **parts, "model": model}


def _around(vocab: dict[str, int], roles: dict[str, str]) -> dict[str, Any]:
    """What stands at the two ends of a text, as the post-processors name it."""
    for role in ("unknown", "class", "separator"):
        if roles[role] not in vocab:
            raise RegardError(f"the vocabulary has no {roles[role]!r}, its special token of the role {role!r}.")
    return {name: [roles[role], vocab[roles[role]]] for name, role in (("sep", "separator"), ("cls", "class"))}


def _text(path: Path) -> str:
    if path.stat().st_size > files.MOST_BYTES:
        raise RegardError(f"{path} is larger than the {files.MOST_BYTES:,} bytes that a vocabulary may have.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise RegardError(f"{path} is not text in UTF-8.") from None


def _json(path: Path) -> dict[str, int]:
    try:
        values = json.loads(_text(path))
    except (ValueError, RecursionError):
        raise RegardError(f"{path} is not JSON: copy it again.") from None
    if not isinstance(values, dict):
        raise RegardError(f"{path} does not give each token its number: copy it again.")
    return values
