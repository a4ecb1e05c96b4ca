"""The built-in set of names: one language each, no name on both sides, the same on each run."""

from collections import Counter

from regard.data.names import LANGUAGES, names


def test_each_name_has_one_language_and_stands_on_one_side() -> None:
    train, validation = list(names("train")), list(names("validation"))
    texts = [text for text, _ in train + validation]
    assert len(texts) == len(set(texts))
    assert 0.08 < len(validation) / len(texts) < 0.12
    assert {label for _, label in train} == {label for _, label in validation} == set(LANGUAGES)


def test_what_people_call_things() -> None:
    known = dict([*names("train"), *names("validation")])
    assert known["Südafrika"] == "German"
    assert known["Etelä-Afrikka"] == "Finnish"
    assert "Peru" not in known  # so it is called in most of them


def test_the_order_is_mixed_and_always_the_same() -> None:
    first = [label for _, label in list(names("train"))[:200]]
    assert len(Counter(first)) == len(LANGUAGES)
    assert list(names("train"))[:50] == list(names("train"))[:50]
