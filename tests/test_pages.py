"""Every mechanism has its page, and its page says what it must."""

import importlib
import re

import pytest

from regard import pages
from regard.pages import FAMILIES, SECTIONS
from regard.settings import Part

PAGES = pages.pages()


def test_every_kind_has_a_page():
    for family, path in FAMILIES.items():
        home = f"regard.{path.replace('/', '.')}"
        importlib.import_module(home)
        base = next(base for base in Part.__subclasses__() if base._family == home)
        assert base.kinds()
        for kind, part in base.kinds().items():
            found = next(page for page in PAGES if page.family == family and kind in page.kinds)
            assert found.text == importlib.import_module(part.__module__).__doc__.strip()
            assert pages.page(kind) is not None


@pytest.mark.parametrize("found", PAGES, ids=lambda page: page.file)
def test_a_page_has_five_parts(found):
    assert re.fullmatch(r"[A-Z].*[.]", found.sentence), "one plain sentence"
    assert re.search(r"[=←]", found.formula) or " | " in found.formula or "  " in found.formula, "a formula"
    for section in SECTIONS:
        assert found.section(section), f"{found.file} has no {section}"
    assert re.search(r"\b(19|20)\d\d\b", found.section("Source")), "a year"


def test_a_file_can_be_named_too():
    assert pages.page("norm") == pages.page("layer") == pages.page("rms")
    assert pages.page("rotary").section("Cost").startswith("no parameters")
    assert pages.page("nothing") is None
