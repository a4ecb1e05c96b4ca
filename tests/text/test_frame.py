"""What stands around texts, against the post-processing of the `tokenizers` library."""

import json

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import processors

from regard.settings import RegardError
from regard.text import Tokenizer
from regard.text.frame import Frame

WORDS = ["[UNK]", "[CLS]", "[SEP]", "<s>", "</s>", *"abcdefgh"]
CLS, SEP, BEGIN, END = 1, 2, 3, 4

TEMPLATE = processors.TemplateProcessing(
    single="[CLS] $A:0 [SEP] [SEP]",
    pair="$B:1 [SEP]:1 [CLS] $A:0 </s>:2",
    special_tokens=[("[CLS]", CLS), ("[SEP]", SEP), ("</s>", END)],
)
PROCESSORS = {
    "bert": processors.BertProcessing(("[SEP]", SEP), ("[CLS]", CLS)),
    "roberta": processors.RobertaProcessing(("</s>", END), ("<s>", BEGIN)),
    "template": TEMPLATE,
    "sequence": processors.Sequence([processors.ByteLevel(trim_offsets=False), TEMPLATE]),
}


def library(processor: object) -> tokenizers.Tokenizer:
    words = tokenizers.models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(words)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(WORDS[1:5])
    if processor is not None:
        tokenizer.post_processor = processor
    return tokenizer


texts = st.lists(st.sampled_from(WORDS[5:]), max_size=9).map(" ".join)


@pytest.mark.parametrize("name", PROCESSORS)
@settings(max_examples=80, deadline=None)
@given(first=texts, second=st.none() | texts, length=st.none() | st.integers(6, 20))
def test_it_is_what_the_tokenizers_own_file_declares(
    name: str, first: str, second: str | None, length: int | None
) -> None:
    theirs = library(PROCESSORS[name])
    ours = Tokenizer(theirs.to_str())
    if length:
        theirs.enable_truncation(length, strategy="longest_first")
    expected = theirs.encode(first, second, add_special_tokens=True)
    ids = ours.encode(first)
    got = Frame.of(ours).join(ids, None if second is None else ours.encode(second), length)
    assert got.ids.tolist() == expected.ids
    assert got.segments.tolist() == expected.type_ids
    assert got.ids.dtype == got.segments.dtype == np.int64
    kept = got.ids[got.first.start : got.first.stop].tolist()
    assert kept == ids[: len(kept)]
    assert len(got.ids) == Frame.of(ours).added(second is not None) + len(got.first) + len(got.second or ())
    whole = len(ids) + len(ours.encode(second or ""))
    assert got.cut == whole - len(got.first) - len(got.second or ())
    if second is not None:
        assert [WORDS[i] for i in got.ids[got.second.start : got.second.stop]] == second.split()[: len(got.second)]


def test_without_a_declared_one_it_is_made_of_the_special_tokens() -> None:
    spec = library(None).to_str()

    def rows(**roles: str) -> list[list[str]]:
        frame = Frame.of(Tokenizer(spec, roles))
        return [[WORDS[i] for i in frame.join(*ids).ids] for ids in ([[5, 6]], [[5, 6], [7]])]

    assert rows(**{"class": "[CLS]"}, separator="[SEP]", begin="<s>", end="</s>") == [
        ["[CLS]", "a", "b", "[SEP]"],
        ["[CLS]", "a", "b", "[SEP]", "c", "[SEP]"],
    ]
    assert rows(begin="<s>", end="</s>") == [["<s>", "a", "b", "</s>"], ["<s>", "a", "b", "</s>", "c", "</s>"]]
    assert rows(end="</s>") == [["a", "b", "</s>"], ["a", "b", "</s>", "c", "</s>"]]
    assert rows(unknown="[UNK]") == [["a", "b"], ["a", "b", "c"]]
    joined = Frame.of(Tokenizer(spec, {"class": "[CLS]", "separator": "[SEP]"})).join([5], [6, 7])
    assert joined.segments.tolist() == [0, 0, 0, 1, 1, 1]
    assert (joined.first, joined.second) == (
        range(1, 2),
        range(3, 5),
    )


def test_a_length_that_only_the_frame_fits_leaves_nothing_and_less_is_refused() -> None:
    frame = Frame.of(Tokenizer(library(PROCESSORS["bert"]).to_str()))
    assert frame.join([5, 6], [7], 3).ids.tolist() == [CLS, SEP, SEP]
    assert frame.join([5, 6], [7], 3).cut == 3
    with pytest.raises(RegardError, match=r"a length of 2 is too small: 3 special tokens"):
        frame.join([5], [6], 2)


def test_it_stands_in_the_file_that_is_saved() -> None:
    first = Tokenizer(library(PROCESSORS["roberta"]).to_str())
    assert Frame.of(Tokenizer(first.to_json())) == Frame.of(first)
    assert json.loads(first.to_json())["post_processor"]["type"] == "RobertaProcessing"
