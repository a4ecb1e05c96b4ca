"""The verbs of `Model`: each model has one, and says which where another is asked for."""

import numpy as np
import pytest

from regard import heads
from regard.bundle import Model
from regard.prediction.verbs import HEADS, verb_of
from regard.settings import RegardError
from tests.generation.models import byte_tokenizer as plain_bytes
from tests.generation.models import decoder
from tests.prediction.models import byte_tokenizer, encoder


def model(head) -> Model:
    return Model(encoder(head, byte_tokenizer().vocab_size), byte_tokenizer(), "mine")


def test_one_text_gives_an_answer_and_a_list_a_list():
    mine = model(heads.Classify(labels=("a", "b")))
    assert [one.label for one in mine.predict(["x", "y"])] == [mine.predict("x").label, mine.predict("y").label]
    assert mine.predict(("x", "y")) == mine.predict([("x", "y")])[0]
    assert mine.predict(("x", "y")) != mine.predict("x")
    tags = model(heads.Tag(labels=("A", "B")))
    assert tags.predict(("two", "words")).words == ("two", "words")
    assert [found.words for found in tags.predict([("two", "words"), "a text"])] == [("two", "words"), ("a", "text")]
    vectors = model(heads.Embed())
    assert vectors.embed("x").shape == (24,)
    np.testing.assert_allclose(vectors.embed(["x", "y"])[0], vectors.embed("x"), atol=1e-6)
    assert vectors.search("x", ["y", "x"], 1)[0].text == "x"
    assert model(heads.Answer()).answer("x?", "a b c", 2).answers[1].text in "a b c"


@pytest.mark.parametrize("kind", HEADS)
def test_another_verb_is_refused_with_the_right_one(kind):
    labels = {"labels": ("O", "B-x")} if kind in ("classify", "multilabel", "tag") else {}
    mine = model(heads.Head.kinds()[kind](**labels))
    asked = {"predict": ("x",), "answer": ("x", "y"), "embed": ("x",), "search": ("x", ["y"])}
    for verb, arguments in asked.items():
        own = "embed" if verb == "search" else verb
        if own == HEADS[kind].name:
            getattr(mine, verb)(*arguments)
        else:
            with pytest.raises(RegardError, match=f"^mine {HEADS[kind].does}: use {HEADS[kind].name}, not {own}.$"):
                getattr(mine, verb)(*arguments)
    with pytest.raises(RegardError, match=f"only a decoder continues a text: use {HEADS[kind].name}.$"):
        mine.generate("x")


def test_models_of_words():
    lm = Model(decoder(vocab_size=257), plain_bytes(), "tales")
    assert verb_of(lm.config).name == "generate"
    with pytest.raises(RegardError, match=r"^tales continues a text: use generate, not embed.$"):
        lm.embed("x")
    assert verb_of(encoder(heads.LanguageHead(), 20).config).name == "fill"
