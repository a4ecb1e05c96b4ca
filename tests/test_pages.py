"""Every mechanism has its page, and its page says what it must."""

import importlib
import re

import pytest

from regard import pages
from regard.model import AnyStack, StackConfig
from regard.pages import FAMILIES, SECTIONS
from regard.settings import Part

PAGES = pages.pages()


def test_every_kind_has_a_page():
    for family, (path, _, _) in FAMILIES.items():
        home = f"regard.{path.replace('/', '.')}"
        importlib.import_module(home)
        base = next((base for base in Part.__subclasses__() if base._family == home), AnyStack)
        kinds = {kind: part for kind, part in base.kinds().items() if part is not StackConfig}  # its parts have pages
        assert kinds
        for kind, part in kinds.items():
            found = next(page for page in PAGES if page.family == family and kind in page.kinds)
            assert found.text == importlib.import_module(part.__module__).__doc__.strip()
            assert found in pages.find(kind)


@pytest.mark.parametrize("found", PAGES, ids=lambda page: page.file)
def test_a_page_has_five_parts(found):
    assert re.fullmatch(r"[a-z]?[A-Z].*[.]", found.sentence), "one plain sentence"
    assert re.search(r"[=←]", found.formula) or " | " in found.formula or "  " in found.formula, "a formula"
    for section in SECTIONS:
        assert found.section(section), f"{found.file} has no {section}"
    assert re.search(r"\b(19|20)\d\d\b", found.section("Source")), "a year"


def test_a_file_can_be_named_too():
    assert pages.find("norm") == pages.find("layer") == pages.find("rms")
    assert pages.find("rotary")[0].section("Cost").startswith("no parameters")
    assert pages.find("nothing") == []


@pytest.mark.parametrize("name", ["position", "positions", "feed-forward", "feedforward", "attention", "residual"])
def test_a_family_can_be_named_as_everywhere(name):
    found = pages.find(name)
    assert len(found) > 1 or name == "attention"
    assert len({page.family for page in found}) == 1
    assert name in pages.names()


@pytest.mark.parametrize(
    ("sentence", "short"),
    [
        ("All of it.", "All of it"),
        ("Rotary positions: turn each, so that it tells distance.", "Rotary positions: turn each …"),
        ("One word after the other and no end of it in sight.", "One word after the other and no …"),
        ("A, and then nothing more for a long time to come.", "A, and then nothing more for a …"),
    ],
)
def test_a_long_sentence_is_cut_where_a_part_ends(sentence, short):
    page = pages.Page("positions", "positions/some.py", ("some",), sentence)
    assert page.short(35) == short
