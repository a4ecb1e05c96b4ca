"""Names of countries, languages, currencies and scripts in twelve languages: a set to classify, on every machine.

    Südafrika                German
    Etelä-Afrikka            Finnish
    südafrikanischer Rand    German

A text is a name as CLDR writes it, its label the language that it is written in. Names that two of the languages share
are left out, so each has one right answer. One name of ten is kept for validation, chosen by the name alone.

Source   Unicode CLDR through Babel; the edition is that of the installed Babel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from regard.data.formats import extra
from regard.seeds import derive_seed

LANGUAGES = {
    "German": "de",
    "English": "en",
    "French": "fr",
    "Spanish": "es",
    "Italian": "it",
    "Portuguese": "pt",
    "Dutch": "nl",
    "Swedish": "sv",
    "Finnish": "fi",
    "Hungarian": "hu",
    "Polish": "pl",
    "Turkish": "tr",
}

HELD_OUT = 10
"""One name of so many is kept for validation."""


def names(part: Literal["train", "validation"]) -> Iterator[tuple[str, str]]:
    """Names and their languages, in an order drawn once and for all, in which the languages are mixed.

    Raises `RegardError` where Babel is not installed.
    """
    extra("babel", "the built-in set of names")
    from babel import Locale

    languages: dict[str, set[str]] = {}
    for language, code in LANGUAGES.items():
        locale = Locale.parse(code)
        for table in (locale.territories, locale.languages, locale.currencies, locale.scripts):
            for name in table.values():
                languages.setdefault(name, set()).add(language)
    alone = {name: found.pop() for name, found in languages.items() if len(found) == 1}
    for name in sorted(alone, key=lambda name: derive_seed(0, "names", name)):
        if (derive_seed(0, "held out", name) % HELD_OUT == 0) == (part == "validation"):
            yield name, alone[name]
