"""Dates as people write them, in English, Chinese and German, and what they mean: endless pairs for a translator.

    Wednesday the 5th of March, 2014     2014-03-05
    二〇一四年三月五日                     2014-03-05
    5. märz 2014                         2014-03-05

Pair number n is a function of (seed, n), of the part, and of the edition of CLDR that the installed Babel carries. All
days from 1900 to 2099 are equally likely. One day of ten, the same whatever the seed, is kept for validation: no
training pair has its answer.

No text has two answers. Numbers alone are written one way in each language: 3/5/2014 is the 5th of March (English),
5.3.2014 too (German), 2014/3/5 too (Chinese), whatever other regions of a language do. Two digits of a year stand for
1969 to 2068, as POSIX reads them; other years are written in full.

Source   Unicode CLDR through Babel: patterns, names of months and days, ordinals. Variants that are not in it are ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date
from functools import lru_cache
from random import Random
from typing import Any, Literal

from regard.data.formats import extra
from regard.seeds import derive_seed
from regard.settings import RegardError, nearest

LOCALES = {"en": ("en", "en_GB"), "zh": ("zh", "zh_Hant"), "de": ("de", "de_AT")}
"""Language → its locales; numbers alone are written as the first one does."""

LANGUAGES = tuple(LOCALES)

SKELETONS = ("yMd", "yMEd", "yMMMd", "yMMMEd", "yMEEEEd")
"""CLDR's patterns beside full, long, medium and short; a locale may lack some."""

PATTERNS = {
    "en": ("MMMM o, y", "o MMMM y", "'the' o 'of' MMMM y", "EEEE 'the' o 'of' MMMM, y", "MMM d y"),
    "zh": ("y 年 M 月 d 日", "y年M月d号", "yy年M月d日"),
    "de": ("'den' d. MMMM y", "EEEE, 'den' d. MMMM y", "EEEE, 'der' d. MMMM y", "d.M.yy"),
}
"""What people write beside that, in CLDR's letters; o is the day as an ordinal number (5th), which CLDR has no letter
for."""

LATIN = "0123456789"
DIGITS = {
    "en": (LATIN,),
    "zh": (LATIN, LATIN, "０１２３４５６７８９", "〇一二三四五六七八九", "零一二三四五六七八九"),
    "de": (LATIN,),
}
"""CLDR's numbering systems latn, fullwide, and hanidec with both its zeros; each as often as it stands here."""

FIRST, LAST = date(1900, 1, 1), date(2099, 12, 31)
SHORT_YEARS = range(1969, 2069)
HELD_OUT = 10
"""One day of so many is kept for validation."""

NAMES = {"dates": LANGUAGES, **{f"dates-{language}": (language,) for language in LANGUAGES}}
"""What follows `builtin:` → its languages."""

Part = Literal["train", "validation"]
Piece = str | tuple[int, dict[int, str]]
"""A text, or which of (year, month, day, weekday) stands here, and how its values are written."""


def pair(seed: int, n: int, part: Part = "train", languages: Sequence[str] = LANGUAGES) -> tuple[str, str]:
    """Pair number n: a date as somebody writes it, and as ISO 8601 does.

    languages: of `LANGUAGES`, each equally likely. Raises `RegardError` for others, and where Babel is not installed.
    """
    unknown = next((language for language in languages if language not in LOCALES), None if languages else "")
    if unknown is not None:
        raise RegardError(f"there are no dates in the language {unknown!r}{nearest(unknown, LOCALES)}")
    draws = Random(derive_seed(seed, "dates", part, n)).random  # of all its methods the one that never changes

    def one_of(choices: Sequence[Any]) -> Any:
        return choices[int(draws() * len(choices))]

    day = date.fromordinal(one_of(_days(part)))
    language = one_of(languages)
    numbers = (day.year, day.month, day.day, day.weekday())
    style = one_of(_styles(language))
    text = "".join([piece if isinstance(piece, str) else piece[1][numbers[piece[0]]] for piece in style])
    if language != "zh":
        text = one_of((str, str, str.lower, str.upper))(text)
        text = one_of((str, str, str, _without_marks))(text)
    return text, day.isoformat()


def pairs(
    count: int, seed: int = 0, start: int = 0, part: Part = "train", languages: Sequence[str] = LANGUAGES
) -> Iterator[tuple[str, str]]:
    """The pairs number start … start + count − 1."""
    return (pair(seed, n, part, languages) for n in range(start, start + count))


def held_out(day: date) -> bool:
    """Whether a day is kept for validation."""
    return derive_seed("dates held out", day.toordinal()) % HELD_OUT == 0


@lru_cache
def _days(part: Part) -> list[int]:
    """The days of a part, as ordinal numbers."""
    if part not in ("train", "validation"):
        raise RegardError(f"dates have no part {part!r}{nearest(part, ('train', 'validation'))}")
    days = range(FIRST.toordinal(), LAST.toordinal() + 1)
    return [day for day in days if held_out(date.fromordinal(day)) == (part == "validation")]


def _without_marks(text: str) -> str:
    """Mi., 5. März 2014 → Mi 5 März 2014. A point between numbers has no space behind it, and stays."""
    return text.replace(",", "").replace(". ", " ")


@lru_cache
def _styles(language: str) -> list[tuple[Piece, ...]]:
    """All ways to write a date, in an order that is fixed."""
    babel = extra("babel", "builtin:dates")
    styles = []
    for name in LOCALES[language]:
        locale = babel.Locale.parse(name)
        patterns = [locale.date_formats[width].pattern for width in ("full", "long", "medium", "short")]
        patterns += [locale.datetime_skeletons[each].pattern for each in SKELETONS if each in locale.datetime_skeletons]
        written = [(digits, _tables(locale, digits)) for digits in DIGITS[language]]
        for pattern in dict.fromkeys([*patterns, *PATTERNS[language]]):
            if "/" in pattern and name != LOCALES[language][0]:
                continue
            for digits, tables in written:
                if digits.endswith("九"):
                    styles += [] if "/" in pattern else [_compile(pattern, tables)]
                else:
                    styles += [_compile(pattern, tables, padded) for padded in (False, True)]
    return styles


def _compile(pattern: str, tables: dict[str, tuple[int, dict[int, str]]], padded: bool = False) -> tuple[Piece, ...]:
    """CLDR's pattern as pieces: letters in a row are a field, except in quotes. padded: 05 for 5."""
    pieces: list[Piece] = []
    for found in re.finditer(r"'(?P<quoted>[^']*)'|(?P<field>([A-Za-z])\3*)|[^A-Za-z']+", pattern):
        field = found["field"]
        if field:
            pieces.append(tables[2 * field if padded and field in ("d", "M") else field])
        else:
            pieces.append(found["quoted"] or found[0])
    return tuple(pieces)


def _tables(locale: Any, digits: str) -> dict[str, tuple[int, dict[int, str]]]:
    """CLDR's field → which of (year, month, day, weekday) it writes, and how each value is written."""
    ordinal = {"one": "st", "two": "nd", "few": "rd", "other": "th"}
    arabic = str.maketrans(LATIN, digits)
    years, months, days = range(FIRST.year, LAST.year + 1), range(1, 13), range(1, 32)
    names, weekdays = locale.months["format"], locale.days["format"]

    def number(n: int, width: int) -> str:
        return _spoken(n, digits) if digits.endswith("九") else f"{n:0{width}}".translate(arabic)

    return {
        "y": (0, {n: str(n).translate(arabic) for n in years}),
        "yy": (0, {n: str(n)[2 if n in SHORT_YEARS else 0 :].translate(arabic) for n in years}),
        "M": (1, {n: number(n, 1) for n in months}),
        "MM": (1, {n: number(n, 2) for n in months}),
        "MMM": (1, {n: names["abbreviated"][n] for n in months}),
        "MMMM": (1, {n: names["wide"][n] for n in months}),
        "d": (2, {n: number(n, 1) for n in days}),
        "dd": (2, {n: number(n, 2) for n in days}),
        "o": (2, {n: f"{n}{ordinal[locale.ordinal_form(n)]}" for n in days}),
        "E": (3, {n: weekdays["abbreviated"][n] for n in range(7)}),
        "EEEE": (3, {n: weekdays["wide"][n] for n in range(7)}),
    }


def _spoken(n: int, digits: str) -> str:
    """A number below 100 as Chinese says it: 5 五, 12 十二, 20 二十, 31 三十一."""
    tens, ones = divmod(n, 10)
    return (digits[tens] if tens > 1 else "") + ("十" if tens else "") + (digits[ones] if ones else "")
