"""Cutting a document changes no id, wherever the pieces it comes in happen to end."""

import random

import numpy as np
import pytest

from regard.text import Tokenizer, segments
from tests.text.conftest import STRANGE

SCRAPS = [
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "\x1c",
    "\x85",
    "'s",
    "'",
    "ab",
    "Z",
    "1",
    "23",
    "½",
    "，",
    "。",
    "_",
    "-",
    "(",
    "/",
    "中文",
    "é",
    "e\u0301",
]
SCRAPS += ["\u0301", "👩‍👩‍👧", "\u200d", "\u3000", "▁", "<|end|>", "ß", "İ", "Σ", "ﬁ", "´", "\xa0"]


def documents(count: int, length: int) -> list[str]:
    draw = random.Random(1)
    return ["".join(draw.choices(SCRAPS, k=length)) for _ in range(count)] + [STRANGE * (length // 80)]


def pieces(text: str, draw: random.Random) -> list[str]:
    cuts = sorted(draw.choices(range(len(text) + 1), k=20))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def every_tokenizer(prose: str) -> list[Tokenizer]:
    settings: list[dict] = [{"kind": kind} for kind in ("bytes", "characters", "bpe", "wordpiece", "unigram")]
    settings += [{"pattern": "cl100k"}, {"pattern": "o200k"}, {"lowercase": True, "normalization": "nfkc"}]
    settings += [{"kind": "characters", "normalization": "nfc"}, {"kind": "wordpiece", "lowercase": True}]
    everything = "".join(SCRAPS) * 2 + prose[:50_000]
    return [Tokenizer.train([everything], vocab_size=900, special=["unknown"], **each) for each in settings]


def test_pieces_equal_the_whole_and_the_library(prose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "TARGET", 8)
    draw = random.Random(0)
    for tokenizer in every_tokenizer(prose):
        assert tokenizer.bounded
        for text in documents(30, 400):
            whole = tokenizer._hf.encode(text, add_special_tokens=False).ids
            assert tokenizer.encode(text) == whole, tokenizer
            assert [token.id for token in tokenizer.tokens(text)] == whole
            parts = list(tokenizer.segments(pieces(text, draw)))
            assert [token for part in parts for token in tokenizer.encode(part)] == whole
            chunks = list(tokenizer.encode_chunks(pieces(text, draw)))
            assert len(chunks) > 5
            assert np.concatenate(chunks).tolist() == whole


def test_a_word_without_end_is_cut_where_it_stands_not_where_pieces_end(
    bpe: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "TARGET", 10)
    monkeypatch.setattr(segments, "LIMIT", 50)
    draw = random.Random(0)
    for text in ("a" * 1000, "import" * 99 + " b " + "xy" * 77, "的" * 333, "=" * 51, " " * 200):
        whole = bpe.encode(text)
        assert bpe.decode(whole) == text
        for _ in range(20):
            assert np.concatenate(list(bpe.encode_chunks(pieces(text, draw)))).tolist() == whole
            parts = list(bpe.segments(pieces(text, draw)))
            assert [token for part in parts for token in bpe.encode(part)] == whole


def test_segments_hold_the_text_and_stay_small() -> None:
    text = "word " * 100_000 + "x" * 3_000_000
    parts = list(segments.segments((text[i : i + 1000] for i in range(0, len(text), 1000)), segments.SPACES))
    assert "".join(parts) == text
    assert max(map(len, parts)) == segments.LIMIT
    assert list(segments.segments(["a", "", "b"], None)) == ["ab"]
    assert list(segments.segments([], segments.SPACES)) == list(segments.segments([""], None)) == []
