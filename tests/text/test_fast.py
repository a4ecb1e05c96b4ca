"""The fast engine is used exactly where its ids are those of the trained tokenizer."""

import json
import sys

import numpy as np
import pytest
import tiktoken
from tokenizers import Regex, normalizers

from regard.text import Tokenizer, fast
from tests.shared import shared


def test_fast_ids_are_the_slow_ones(bpe: Tokenizer, prose: str) -> None:
    for tokenizer in (
        bpe,
        Tokenizer.train([prose], "bpe", 3000, pattern="cl100k"),
        Tokenizer.train([prose], pattern="o200k"),
    ):
        quick = fast.faster(tokenizer._hf, tokenizer._spec)
        assert quick is not None
        slow = fast.HuggingFace(tokenizer._hf)
        for text in (prose, prose[::-1], prose.upper(), "的一是" * 5000, "=" * 9999, "aB3+/" * 3000, " \n" * 3000):
            assert np.array_equal(quick([text])[0], slow([text])[0])


def test_gpt2_is_fast_and_the_same(prose: str) -> None:
    gpt2 = Tokenizer.load(shared("data/whisper-test/gpt2.tiktoken"))
    quick = fast.faster(gpt2._hf, gpt2._spec)
    assert quick is not None
    assert np.array_equal(quick([prose])[0], fast.HuggingFace(gpt2._hf)([prose])[0])


def test_long_text_takes_the_fast_way(prose: str) -> None:
    tokenizer = Tokenizer.train([prose], "bpe", 1000)
    slow = tokenizer.encode(prose[:1000])
    assert tokenizer._faster is None
    tokenizer.encode(prose * 2)
    assert isinstance(tokenizer._faster, fast.Tiktoken)
    assert tokenizer.encode(prose[:1000]) == slow


def swap_first_merges(spec: dict) -> None:
    spec["model"]["merges"][:2] = spec["model"]["merges"][1::-1]


def make_a_token_otherwise(spec: dict) -> None:
    """'abc' is a + bc in the list, but its bytes merge to ab first."""
    spec["model"] |= {
        "vocab": {c: n for n, c in enumerate(fast.byte_alphabet())},
        "merges": [["a", "b"], ["b", "c"], ["a", "bc"]],
    }
    spec["model"]["vocab"] |= {"ab": 256, "bc": 257, "abc": 258}
    spec["added_tokens"] = []


def add_a_token_without_a_merge(spec: dict) -> None:
    spec["model"]["vocab"]["zebra"] = len(spec["model"]["vocab"]) + 5


def put_a_space_first(spec: dict) -> None:
    spec["pre_tokenizer"]["add_prefix_space"] = True


def match_ordinary_words(spec: dict) -> None:
    spec["added_tokens"][0]["special"] = False


@pytest.mark.parametrize(
    "change",
    [swap_first_merges, make_a_token_otherwise, add_a_token_without_a_merge, put_a_space_first, match_ordinary_words],
)
def test_a_tokenizer_whose_ids_would_differ_is_refused(bpe: Tokenizer, change) -> None:
    spec = json.loads(bpe.to_json())
    change(spec)
    tokenizer = Tokenizer(json.dumps(spec))
    assert fast.faster(tokenizer._hf, tokenizer._spec) is None


def test_both_engines_know_the_same_letters_digits_and_spaces() -> None:
    every = "".join(chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    ranks = {bytes([byte]): byte for byte in range(256)}
    for kind in (r"\p{L}", r"\p{N}", r"\s", r"\p{Lu}", r"\p{Ll}", r"\p{M}"):
        one = tiktoken.Encoding("one", pat_str=kind, mergeable_ranks=ranks, special_tokens={})
        left = normalizers.Replace(Regex(f"[^{kind}]"), "").normalize_str(every)
        assert bytes(one.encode_ordinary(every)).decode() == left
        if kind == r"\s":
            assert all(map(str.isspace, left))  # so that a cut is never made inside white space
