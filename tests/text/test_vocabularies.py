"""Tokenizers from vocab.txt, and from vocab.json with merges.txt: the ids of `transformers` on texts that are hard."""

import json

import pytest
import tokenizers
import transformers

from regard import RegardError, Tokenizer
from regard.text.frame import Frame
from tests.shared import minilm
from tests.text.hard import PIECES, hard_texts

TEXT = ["The quick brown fox jumps over the lazy dog, doesn't it?", "naive cafe 中文 русский world hello 3.14"] * 3
OTHERS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


@pytest.fixture
def words(tmp_path):
    """A folder with a vocab.txt: of words, pieces, and every other character of the hard texts."""
    model = tokenizers.BertWordPieceTokenizer(lowercase=True)
    model.train_from_iterator(TEXT, vocab_size=150, special_tokens=OTHERS)
    known = sorted(model.get_vocab(), key=model.get_vocab().get)
    points = sorted({char for text in PIECES for char in text if not char.isspace()} - set(known))[::2]
    extra = [*points, *(f"##{char}" for char in points[::2]), "Hello", "naïve", "##\u0301", "İ", "i\u0307"]
    (tmp_path / "vocab.txt").write_text("\n".join([*known, *extra]) + "\n", encoding="utf-8", newline="\n")
    return tmp_path


@pytest.fixture
def pairs(tmp_path):
    """A folder with a vocab.json and a merges.txt."""
    model = tokenizers.ByteLevelBPETokenizer()
    model.train_from_iterator([*TEXT, *PIECES], vocab_size=400, special_tokens=ROBERTA)
    model.save_model(str(tmp_path))
    return tmp_path


def declare(folder, **settings):
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def check_same(ours, theirs):
    """The ids of each text, and of frames around one and two."""
    texts = hard_texts()
    expected = [theirs.encode(text, add_special_tokens=False, split_special_tokens=True) for text in texts]
    assert [ours.encode(text) for text in texts] == expected
    assert [ids.tolist() for ids in ours.encode_batch(texts)] == expected
    special = [f"a {theirs.mask_token} b{theirs.sep_token}{text}" for text in texts[:100]]
    assert [ours.encode(text, allow_special=True) for text in special] == [
        theirs.encode(text, add_special_tokens=False) for text in special
    ]
    frame, a, b = Frame.of(ours), "a cat", "the dog, too"
    for pair in ((a,), (a, b)):
        framed = frame.join(*(ours.encode(text) for text in pair))
        encoded = theirs(*pair)
        assert framed.ids.tolist() == encoded["input_ids"]
        if "token_type_ids" in encoded:
            assert framed.segments.tolist() == encoded["token_type_ids"]
    names = {"pad": "pad", "begin": "bos", "end": "eos", "unknown": "unk", "mask": "mask"}
    names |= {"separator": "sep", "class": "cls"}
    for role, name in names.items():
        assert ours.special.get(role) == getattr(theirs, f"{name}_token_id")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_lower_case": False},
        {"do_lower_case": False, "strip_accents": True},
        {"do_lower_case": True, "strip_accents": False},
        {"tokenize_chinese_chars": False},
    ],
)
def test_words(words, settings):
    declare(words, tokenizer_class="BertTokenizer", **settings)
    check_same(Tokenizer.load(words), transformers.BertTokenizer.from_pretrained(words))


def test_the_settings_matter(words):
    """So that equal ids say something."""
    texts = hard_texts()
    ids = []
    for settings in ({}, {"do_lower_case": False}, {"strip_accents": False}, {"tokenize_chinese_chars": False}):
        declare(words, **settings)
        ids.append(tuple(map(tuple, map(Tokenizer.load(words).encode, texts))))
    assert len(set(ids)) == len(ids)


def test_words_without_any_settings(words):
    check_same(Tokenizer.load(words), transformers.BertTokenizer(vocab=str(words / "vocab.txt")))


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize("spaced", [False, True])
def test_pairs(pairs, prefix, spaced):
    mask = {"__type": "AddedToken", "content": "<mask>", "lstrip": spaced, "special": True}
    mask |= {"rstrip": False, "single_word": False, "normalized": False}
    declare(pairs, tokenizer_class="RobertaTokenizer", add_prefix_space=prefix, mask_token=mask)
    ours = Tokenizer.load(pairs)
    check_same(ours, transformers.RobertaTokenizer.from_pretrained(pairs, add_prefix_space=prefix))
    assert ours.special["begin"] == ours.special["class"] == 0
    assert ours.special["end"] == ours.special["separator"] == 2
    assert all(ours.decode(ours.encode(text)).lstrip() == text.lstrip() for text in hard_texts())


def test_saved_it_is_one_file(words, tmp_path):
    ours = Tokenizer.load(words)
    again = Tokenizer.load(ours.save(tmp_path / "saved"))
    assert again.special == ours.special
    assert again.fingerprint == ours.fingerprint
    assert Frame.of(again) == Frame.of(ours)


def test_added_tokens(words):
    size = len((words / "vocab.txt").read_text(encoding="utf-8").split("\n")) - 1
    (words / "added_tokens.json").write_text(json.dumps({"qqq": size}))
    assert Tokenizer.load(words).encode("the qqq")[-1] == size


def test_minilm():
    folder = minilm()
    ours = Tokenizer.load(folder)
    check_same(ours, transformers.BertTokenizer.from_pretrained(folder))


def test_customary_roles(words, tmp_path):
    """A tokenizer.json beside which nothing is declared."""
    spec = json.loads(Tokenizer.load(words).to_json())
    for token in spec["added_tokens"]:
        token.pop("roles", None)
    (tmp_path / "bare.json").write_text(json.dumps(spec))
    assert Tokenizer.load(tmp_path / "bare.json").special == Tokenizer.load(words).special


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ({"vocab.txt": b"[PAD]\nword\n"}, r"no '\[UNK\]'"),
        ({"vocab.txt": b"\xff\xfe"}, "not text in UTF-8"),
        ({"vocab.txt": b""}, "no '"),
        ({"tokenizer_config.json": b"{"}, "is not JSON"),
        ({"added_tokens.json": b'{"x": "y"}'}, "no whole numbers"),
        ({"added_tokens.json": b'{"x": 4000000000}'}, "ids must be below"),
    ],
)
def test_damaged_words(words, damage, says):
    for name, data in damage.items():
        (words / name).write_bytes(data)
    with pytest.raises(RegardError, match=says):
        Tokenizer.load(words)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ({"vocab.json": b"[]"}, "each token its number"),
        ({"vocab.json": b'{"<s>": 0, "</s>": 1}'}, "no '<unk>'"),
        ({"merges.txt": b"a b c\n"}, "two pieces"),
        ({"merges.txt": b"q\xc3\xa9 zz\n"}, "tokenizers"),
    ],
)
def test_damaged_pairs(pairs, damage, says):
    for name, data in damage.items():
        (pairs / name).write_bytes(data)
    with pytest.raises(RegardError, match=says):
        Tokenizer.load(pairs)
