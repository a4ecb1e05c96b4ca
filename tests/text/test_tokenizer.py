import json
import pickle
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tiktoken
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiktoken_ext.openai_public import r50k_pat_str

from regard.settings import RegardError, SettingsError
from regard.text import Tokenizer, TokenizerConfig, ranks
from tests.shared import shared
from tests.text.conftest import STRANGE

many = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
words = st.lists(
    st.sampled_from(
        [
            " ",
            "  ",
            "\n",
            "import",
            "Python",
            "中",
            "文",
            "，",
            "👩‍👩‍👧",
            "e\u0301",
            "<|end|>",
            "'s",
            "42",
            "▁x",
            "<0x41>",
        ]
    )
    | st.text(max_size=4)
).map("".join)


@many
@given(text=words)
def test_text_comes_back_exactly(tokenizer: Tokenizer, text: str) -> None:
    back = tokenizer.decode(tokenizer.encode(text))
    if tokenizer.kind in ("bytes", "bpe"):
        assert back == text
    elif tokenizer.kind == "unigram":
        assert back == text.replace("▁", " ")  # the mark of a space is the one thing it cannot tell from a space
    elif tokenizer.kind == "characters":
        known = {char for char in tokenizer._spec["model"]["vocab"] if len(char) == 1}
        assert back == "".join(char if char in known else "\N{REPLACEMENT CHARACTER}" for char in text)


def test_wordpiece_gives_words_back_with_single_spaces(prose: str) -> None:
    tokenizer = Tokenizer.train([prose], "wordpiece", 1200, lowercase=True)
    assert tokenizer.decode(tokenizer.encode("The Function returned\n an  OBJECT")) == "the function returned an object"


@many
@given(text=words)
def test_ids_are_those_of_the_library(tokenizer: Tokenizer, text: str) -> None:
    library = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    library.encode_special_tokens = True
    assert tokenizer.encode(text) == library.encode(text, add_special_tokens=False).ids


@many
@given(text=words)
def test_special_ids_come_only_when_asked(tokenizer: Tokenizer, text: str) -> None:
    special = set(tokenizer.special.values()) - {tokenizer.unknown}
    for content in ("<|pad|>", "<|end|>", "<|mask|>", "<|unknown|>"):
        assert special.isdisjoint(tokenizer.encode(text + content + text))
    assert tokenizer.encode("a<|end|>b", allow_special=True).count(tokenizer.end) == 1
    assert tokenizer.encode("a", begin=True, end=True) == [tokenizer.begin, *tokenizer.encode("a"), tokenizer.end]
    assert tokenizer.decode([tokenizer.begin, *tokenizer.encode("a"), tokenizer.end]) == "a"
    assert tokenizer.decode([tokenizer.end], special=True) == "<|end|>"


def test_roles_are_what_was_asked_for(tokenizer: Tokenizer) -> None:
    assert {"pad", "begin", "end", "mask"} <= tokenizer.special.keys()
    assert tokenizer.separator is None
    assert tokenizer.class_ is None
    ids = sorted(tokenizer.special.values())
    assert ids == list(range(tokenizer.vocab_size - len(ids), tokenizer.vocab_size))  # behind all others


def test_an_unrelated_token_is_never_taken_for_a_role(tmp_path: Path, bpe: Tokenizer) -> None:
    spec = json.loads(bpe.to_json())
    for token in spec["added_tokens"]:
        del token["roles"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    assert Tokenizer.load(tmp_path).special == {}  # though "<|end|>" is there
    assert Tokenizer.load(tmp_path, special={"separator": "<|end|>"}).special == {"separator": bpe.end}
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": {"content": "<|end|>"}, "pad_token": "<|end|>"})
    )
    assert Tokenizer.load(tmp_path).special == {"end": bpe.end, "pad": bpe.end}


def test_save_load_and_pickle_are_the_identity(tokenizer: Tokenizer, tmp_path: Path, prose: str) -> None:
    file = tokenizer.save(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["tokenizer.json"]
    for other in (Tokenizer.load(file), Tokenizer.load(tmp_path / "run"), pickle.loads(pickle.dumps(tokenizer))):
        assert other.fingerprint == tokenizer.fingerprint
        assert (other.special, other.kind, other.vocab_size) == (
            tokenizer.special,
            tokenizer.kind,
            tokenizer.vocab_size,
        )
        assert other.encode(prose[-5000:]) == tokenizer.encode(prose[-5000:])
    assert tokenizer.to_json() == Tokenizer.load(file).to_json()


def test_fingerprint_tells_tokenizers_apart(prose: str, bpe: Tokenizer) -> None:
    others = [
        Tokenizer.train([prose], "bpe", 1201),
        Tokenizer.train([prose], "bpe", 1200, ["pad"]),
        Tokenizer.train([prose], "bpe", 1200, lowercase=True),
        Tokenizer.train([prose], "bpe", 1200, pattern="cl100k"),
    ]
    assert len({bpe.fingerprint, *(other.fingerprint for other in others)}) == 5
    assert Tokenizer.train([prose], **TokenizerConfig(vocab_size=1200).to_dict()).fingerprint == bpe.fingerprint


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "characters"])
def test_learning_twice_gives_the_same(prose: str, kind: str) -> None:
    first, second = (Tokenizer.train([prose], kind, 1000) for _ in range(2))
    assert first.to_json() == second.to_json()


def test_the_library_reads_our_file(tokenizer: Tokenizer, tmp_path: Path) -> None:
    library = tokenizers.Tokenizer.from_file(str(tokenizer.save(tmp_path)))
    assert library.encode("import re", add_special_tokens=False).ids == tokenizer.encode("import re")


def test_offsets_and_bytes_of_tokens(tokenizer: Tokenizer, prose: str) -> None:
    text = STRANGE + "龘𝒳" + STRANGE
    tokens = tokenizer.tokens(text)
    assert [token.id for token in tokens] == tokenizer.encode(text)
    if tokenizer.kind in ("bytes", "bpe"):  # by hand: a token covers each character that has one of its bytes
        of_byte = [i for i, char in enumerate(text) for _ in char.encode()]
        at = 0
        for token in tokens:
            covered = of_byte[at : at + len(token.bytes)]
            assert (token.start, token.end) == (covered[0], covered[-1] + 1)
            at += len(token.bytes)
        assert b"".join(token.bytes for token in tokens) == text.encode()
    for token in tokens:
        if "\N{REPLACEMENT CHARACTER}" not in token.text and token.id != tokenizer.unknown and len(token.bytes) > 1:
            spoken = unicodedata.normalize("NFKD", token.text.strip())
            assert spoken in unicodedata.normalize("NFKD", text[token.start : token.end])


def test_batches_are_many_texts(tokenizer: Tokenizer, prose: str) -> None:
    texts = ["", "a", prose[:3000], STRANGE, " "]
    batch = tokenizer.encode_batch(texts, begin=True, end=True)
    assert all(ids.dtype == np.uint32 for ids in batch)
    assert [ids.tolist() for ids in batch] == [tokenizer.encode(text, begin=True, end=True) for text in texts]
    assert [ids.dtype for ids in tokenizer.encode_batch([""])] == [np.uint32]


def test_lowercase_and_normalization(prose: str) -> None:
    for kind in ("bytes", "characters", "bpe", "unigram"):
        tokenizer = Tokenizer.train([prose + "fi"], kind, 1000, normalization="nfkc", lowercase=True)
        assert tokenizer.decode(tokenizer.encode("ﬁ E\u0301T")) == "fi ét"


def test_characters_are_numbered_as_sorted() -> None:
    tokenizer = Tokenizer.train(["hello", "world"], "characters", special=())
    assert tokenizer.vocab_size == 7
    assert tokenizer.encode("held") == [2, 1, 3, 0]
    with pytest.raises(RegardError, match=r"'x' \(U\+0078\) is not among the 7"):
        tokenizer.encode("hex")
    with pytest.raises(RegardError, match="U\\+0078"):
        tokenizer.tokens("hex")
    ending = Tokenizer.train(["hello", "world"], "characters")
    assert ending.encode("held<|end|>", allow_special=True) == [2, 1, 3, 0, ending.end]
    with pytest.raises(RegardError, match="U\\+003C"):
        ending.tokens("held<|end|>")
    with pytest.raises(RegardError, match="U\\+0078"):
        ending.encode("hex<|end|>", allow_special=True)
    rare = Tokenizer.train(["aaabbc"], "characters", 3, ["unknown"])
    assert rare.decode(rare.encode("abc")) == "ab\N{REPLACEMENT CHARACTER}"


def test_gpt2() -> None:
    path = shared("data/whisper-test/gpt2.tiktoken")
    gpt2 = Tokenizer.load(path)
    assert gpt2.vocab_size == 50257
    assert gpt2.special == {"end": 50256}
    assert gpt2.encode("Hello world") == [15496, 995]
    assert gpt2.encode("hello world") == [31373, 995]
    oracle = tiktoken.Encoding("gpt2", pat_str=r50k_pat_str, mergeable_ranks=ranks.read_ranks(path), special_tokens={})
    draw = np.random.default_rng(0)
    made = "".join(chr(c) for c in draw.integers(0, 0x3000, 3000)) + oracle.decode(
        draw.integers(0, 50000, 3000).tolist()
    )
    for text in (STRANGE, made):
        assert gpt2.encode(text) == oracle.encode_ordinary(text)
        assert gpt2.decode(gpt2.encode(text)) == text
    assert gpt2.token_bytes(995) == b" world"


def test_a_rank_file_of_ones_own_needs_a_pattern(tmp_path: Path, bpe: Tokenizer) -> None:
    import base64

    file = tmp_path / "own.tiktoken"
    lines = [f"{base64.b64encode(bpe.token_bytes(n)).decode()} {n}" for n in range(bpe.vocab_size - 1)]
    file.write_text("\n".join(lines))
    with pytest.raises(RegardError, match="name its pattern"):
        Tokenizer.load(file)
    own = Tokenizer.load(file, pattern="gpt2", special={"end": "<|end|>"})
    assert own.encode(STRANGE, end=True) == bpe.encode(STRANGE, end=True)
    file.write_text("\n".join(lines[1:]))
    with pytest.raises(RegardError, match="is damaged"):
        Tokenizer.load(file, pattern="gpt2")
    file.write_text("\n".join([*lines, f"{base64.b64encode(b'a' * 10**6).decode()} 9999"]))
    with pytest.raises(RegardError, match="1000000 bytes"):
        Tokenizer.load(file, pattern="gpt2")
    file.write_text("what is this")
    with pytest.raises(RegardError, match="line 1"):
        Tokenizer.load(file)


def test_an_encoding_that_cannot_be_reached_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(name: str) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(tiktoken, "get_encoding", unreachable)
    with pytest.raises(RegardError, match="'cl100k_base' could not be reached"):
        Tokenizer.load("cl100k_base")


def test_errors_say_what_to_do(tmp_path: Path, bpe: Tokenizer, prose: str) -> None:
    with pytest.raises(RegardError, match="there is no tokenizer"):
        Tokenizer.load(tmp_path / "none.json")
    with pytest.raises(RegardError, match=r"has no tokenizer\.json"):
        Tokenizer.load(tmp_path)
    for damaged in ("{", "[" * 100_000, "[]", '{"version": "1.0"}', json.dumps({"added_tokens": 3, "model": 4})):
        (tmp_path / "tokenizer.json").write_text(damaged)
        with pytest.raises(RegardError):
            Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe")
    with pytest.raises(RegardError, match="not text in UTF-8"):
        Tokenizer.load(tmp_path)
    spec = json.loads(bpe.to_json())
    spec["model"]["vocab"]["!"] = 4_000_000_000
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    with pytest.raises(RegardError, match="ids must be below"):
        Tokenizer.load(tmp_path)
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(200 << 20)
    with pytest.raises(RegardError, match="more than the"):
        Tokenizer.load(tmp_path)
    with pytest.raises(SettingsError, match="or 'unigram', got 'unigrams'"):
        Tokenizer.train([prose], "unigrams")
    with pytest.raises(SettingsError, match="did you mean 'pad'"):
        Tokenizer.train([prose], special=["pads"])
    with pytest.raises(RegardError, match="too small"):
        Tokenizer.train([prose], "bpe", 100)
    with pytest.raises(RegardError, match="no text to learn"):
        Tokenizer.train(["", ""])
    with pytest.raises(RegardError, match="here"):
        Tokenizer.train(["abc"], "characters", special={"end": "a"})
    with pytest.raises(RegardError, match="no 'begin' token"):
        bpe.encode("a", begin=True)
    for wrong in (-1, bpe.vocab_size):
        with pytest.raises(RegardError, match="is no token of this vocabulary"):
            bpe.decode([0, wrong])
    with pytest.raises(RegardError, match=r"half a character \(U\+D800\) at 1"):
        bpe.encode("a\ud800")
    lost = Tokenizer(tokenizers.Tokenizer(tokenizers.models.Unigram([("a", -1.0)])).to_str())
    with pytest.raises(RegardError, match="cannot encode this text"):
        lost.encode("b")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(["Café", "cafe\u0301", "İst", "ẞ", "北京", "a", " ", "\u00ad", "!", "é", "\t", "n\u0303o"])
    )
)
def test_lowercased_words_without_accents_know_their_characters(parts: list[str]) -> None:
    """Answers are mapped back through these: all that is left of a token's characters is the token."""
    text = "".join(parts)
    letters = "acefinost!北京ß"
    vocabulary = ["[UNK]", *letters, *(f"##{char}" for char in letters)]
    words = tokenizers.models.WordPiece({token: n for n, token in enumerate(vocabulary)}, unk_token="[UNK]")
    library = tokenizers.Tokenizer(words)
    library.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    library.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    found = Tokenizer(library.to_str(), {"unknown": "[UNK]"}).tokens(text)
    at = 0
    for token in found:
        assert not text[at : token.start].strip(" \t\u00ad")  # between tokens stands nothing that is read
        plain = unicodedata.normalize("NFD", text[token.start : token.end]).lower()
        kept = "".join(char for char in plain if unicodedata.category(char) not in ("Mn", "Cf"))
        assert kept == vocabulary[token.id].removeprefix("##")
        at = token.end
    assert not text[at:].strip(" \t\u00ad")
