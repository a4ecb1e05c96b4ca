import json

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers

from regard.text import Tokenizer
from tests.text.conftest import STRANGE


def llama() -> Tokenizer:
    """The shape of Llama 2's tokenizer: a space before the text, taken away again, and bytes for the rest."""
    vocab = {f"<0x{byte:02X}>": byte for byte in range(256)} | {"▁": 256, "a": 257, "b": 258, "▁a": 259, "中": 260}
    hf = tokenizers.Tokenizer(models.BPE(vocab, [("▁", "a")], byte_fallback=True, fuse_unk=True))
    hf.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    hf.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    hf.add_special_tokens(["<s>"])
    return Tokenizer(hf.to_str(), {"begin": "<s>"})


def t5() -> Tokenizer:
    pieces = [("?", -9.0), ("▁", -3.0), ("▁a", -2.0), ("b", -2.0), ("▁b", -2.5), ("a", -3.0)]
    hf = tokenizers.Tokenizer(models.Unigram(pieces, 0, False))
    hf.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    hf.decoder = decoders.Metaspace(prepend_scheme="always")
    return Tokenizer(hf.to_str(), {"unknown": "?"})


def streamed(tokenizer: Tokenizer, ids: list[int], special: bool = False) -> list[str]:
    stream = tokenizer.stream(special)
    return [*map(stream.push, ids), stream.flush()]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), special=st.booleans())
def test_stream_equals_decode_for_any_ids(tokenizer: Tokenizer, data: st.DataObject, special: bool) -> None:
    for each in (tokenizer, llama(), t5()):
        ids = data.draw(st.lists(st.integers(0, each.vocab_size - 1), max_size=30))
        assert "".join(streamed(each, ids, special)) == each.decode(ids, special)


@pytest.mark.parametrize("text", ["中文，一二三。龘𝒳", "👩‍👩‍👧‍👦🇨🇳🏴󠁧󠁢󠁥󠁮󠁧󠁿", STRANGE])
def test_half_a_character_is_never_shown(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    parts = streamed(tokenizer, ids)
    assert "".join(parts) == tokenizer.decode(ids)
    if tokenizer.kind in ("bytes", "bpe"):
        assert "\N{REPLACEMENT CHARACTER}" not in "".join(parts)
        assert parts[-1] == ""


def test_broken_bytes_are_shown_as_soon_as_they_are_hopeless() -> None:
    raw = Tokenizer.train([], "bytes")
    assert streamed(raw, [0xE4, 0xB8, 0xAD]) == ["", "", "中", ""]
    assert streamed(raw, [0xE4, 0x41]) == ["", "\N{REPLACEMENT CHARACTER}A", ""]
    assert streamed(raw, [0xF0, 0x9F]) == ["", "", "\N{REPLACEMENT CHARACTER}"]
    assert streamed(raw, [0xE4, raw.end, 0xB8, 0xAD]) == ["", "", "", "中", ""]


@settings(max_examples=50, deadline=None)
@given(text=st.text("ab 中é👩", max_size=20))
def test_decode_is_the_library_s(tokenizer: Tokenizer, text: str) -> None:
    for each in (tokenizer, llama(), t5()):
        ids = [token for token in each.encode(text) if token != each.unknown]
        library = tokenizers.Tokenizer.from_str(json.dumps(each._spec))
        assert each.decode(ids) == library.decode(ids, skip_special_tokens=True)


def test_a_stream_can_start_anew() -> None:
    stream = t5().stream()
    assert [stream.push(2), stream.flush(), stream.push(2), stream.push(2)] == ["a", "", "a", " a"]
