"""How letters are written as bytes: told by a mark at the start, else guessed where they are no UTF-8.

`charset-normalizer` says which encodings give text without oddities. Several of them often do, for those of Latin
letters differ in a few places only; then that one is taken whose letters are those of one language. Where that is not
clear either, nothing is guessed.
"""

from __future__ import annotations

import codecs
from collections import Counter
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as that of UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks, and what they stand for."""


def _between(low: int, high: int) -> str:
    return "".join(map(chr, range(low, high + 1)))


_WESTERN = (
    *("äöüß", "àâæçèéêëîïôœùûüÿ", "áéíñóúü", "àèéìíîòóùú", "àáâãçéêíóôõúü", "éèëïöüáóíúê", "åäöéšž", "æøåéòóôü"),
    *("áðéíóúýþæö", "ëçáéíóú", "àçèéíïòóúü", "áéíóú"),
)
_CENTRAL = ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "ăâîşţ", "čćđšž")
_RUSSIAN, _UKRAINIAN = "абвгдежзийклмнопрстуфхцчшщъыьэюяё", "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя"
_CHINESE = _between(0x3000, 0x303F) + _between(0x3400, 0x9FFF) + _between(0xFF01, 0xFF60)
_KOREAN = b"".join(bytes((row, cell)) for row in range(0xB0, 0xC9) for cell in range(0xA1, 0xFF)).decode("euc_kr")
_JAPANESE = _CHINESE + _between(0x3040, 0x30FF)

LETTERS: dict[str, tuple[str, ...]] = {
    "gb18030": (_CHINESE,),
    "cp950": (_CHINESE,),
    "big5hkscs": (_CHINESE,),
    "cp932": (_JAPANESE,),
    "euc_jp": (_JAPANESE,),
    "cp949": (_KOREAN + _between(0x3000, 0x303F) + _between(0xFF01, 0xFF60),),
    "cp1252": _WESTERN,
    "cp1250": _CENTRAL,
    "iso8859_2": _CENTRAL,
    "cp1254": ("çğıöşüâîû",),
    "cp1257": ("ąčęėįšųūž", "āčēģīķļņšūž", "äõöüšž"),
    "cp1251": (_RUSSIAN, _UKRAINIAN, "абвгдђежзијклљмнњопрстћуфхцчџшѓќѕ"),
    "koi8_r": (_RUSSIAN,),
    "koi8_u": (_UKRAINIAN,),
    "cp866": (_RUSSIAN,),
    "cp1253": ("αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰ",),
    "cp1255": (_between(0x0591, 0x05F4),),
    "cp1256": (_between(0x060C, 0x06FF),),
    "cp874": (_between(0x0E00, 0x0E7F),),
}
"""Encodings that people's files are in, and the letters beyond a to z of the languages that are written so, one by one.
Of encodings that give the same text the first is named."""

EAST_ASIAN = ("gb18030", "cp950", "big5hkscs", "cp932", "euc_jp", "cp949")
"""More than one byte a letter: what happens to be valid in them is seldom anything else."""

SIGNS = frozenset("¡¿«»°§£€©®™·•–—‘’‚“”„†…‹›×½¼¾²º\xa0№")

ODD = 0.04
"""By how much of charset-normalizer's measure of oddities an encoding must be behind to be out."""

LEAD = 0.06
"""By how much of the fitness the first must lead."""

SURE = 0.8
"""The fitness that the first must have."""

SAMPLE = 1 << 16
"""Bytes that are looked at."""

ENOUGH = 1 << 10
"""Bytes of which the last line may be spared."""


class Guess(NamedTuple):
    """Encodings that a text may be in, the likeliest first, and whether the first is as good as certain."""

    names: tuple[str, ...]
    certain: bool


NONE = Guess((), False)


def by_mark(data: bytes) -> str | None:
    """The encoding that the byte order mark at the start of a file stands for."""
    return next((name for mark, name in MARKS if data.startswith(mark)), None)


def guess(data: bytes) -> Guess:
    """What a text may be written in that is no UTF-8; the end of `data` may cut a character."""
    from charset_normalizer import from_bytes

    mostly = data.decode(errors="replace")
    broken = mostly.count("\ufffd")
    if sum(char > "\x7f" for char in mostly) - broken > broken:
        return NONE  # UTF-8, and damaged
    sample = _sample(data)
    texts = {name: text for name in LETTERS if (text := _decoded(sample, data, name)) is not None}
    if "cp950" in texts:  # its extension differs in signs alone
        texts.pop("big5hkscs", None)
    found = []  # how odd a text is, how well it fits, its encoding
    for match in from_bytes(sample, cp_isolation=list(LETTERS), preemptive_behaviour=False):
        text = next((texts[name] for name in match.could_be_from_charset if name in texts), None)
        same = {name: fitness(texts[name], name) for name in texts if texts[name] == text}
        if same:
            name = max(same, key=lambda name: same[name])
            found.append((match.chaos, same[name] + match.coherence / 4 - 2 * match.chaos, name))
    least = min((chaos for chaos, _, _ in found), default=0.0)
    rivals = sorted(((fits, name) for chaos, fits, name in found if chaos <= least + ODD), reverse=True)
    if any(name in EAST_ASIAN and fits >= SURE for fits, name in rivals):
        rivals = [(fits, name) for fits, name in rivals if name in EAST_ASIAN]
    if not rivals:
        return NONE
    lead = LEAD + 1 / max(1, sum(char > "\x7f" for char in texts[rivals[0][1]]))
    certain = rivals[0][0] >= SURE and (len(rivals) == 1 or rivals[0][0] - rivals[1][0] >= lead)
    return Guess(tuple(name for _, name in rivals), certain)


def _sample(data: bytes) -> bytes:
    """The lines that are not ASCII, so many of them as are looked at, and without half a character at the end."""
    lines = b"\n".join(line for line in data.splitlines() if not line.isascii())[:SAMPLE]
    if (end := lines.rfind(b"\n")) > len(lines) // 2 and len(lines) >= ENOUGH:
        return lines[:end]
    shorter = [lines[: len(lines) - less] for less in range(4)]
    return max(shorter, key=lambda cut: sum(_valid(cut, name) for name in EAST_ASIAN))


def _valid(data: bytes, name: str) -> bool:
    try:
        data.decode(name)
    except UnicodeDecodeError:
        return False
    return True


def _decoded(sample: bytes, data: bytes, name: str) -> str | None:
    """The sample's text, if all data are valid in this encoding."""
    try:
        codecs.getincrementaldecoder(name)().decode(data)
        return codecs.getincrementaldecoder(name)().decode(sample)
    except UnicodeDecodeError:
        return None


def fitness(text: str, encoding: str) -> float:
    """Which part of the characters beyond ASCII are, at best, letters of one language that is written so, or signs."""
    counts: Counter[str] = Counter()
    signs = 0
    for before, char, after in zip(" " + text, text, text[1:] + " ", strict=False):
        if char in SIGNS:
            signs += 1
        elif char > "\u036f" and any(one.isascii() and one.isalpha() for one in (before, after)):
            counts["mixed"] += 1  # such as Greek in one word with a to z
        elif not char.isascii():
            counts[char.lower()] += 1
    of_one = max(sum(number for char, number in counts.items() if char in letters) for letters in LETTERS[encoding])
    return (signs + of_one) / max(1, signs + counts.total())


def known(name: str) -> str:
    """An encoding's name. Raises `ValueError` for one that there is not."""
    if name != "auto":
        try:
            b"x".decode(name)
        except UnicodeError:
            pass
        except LookupError:
            raise ValueError(
                f"there is no encoding {name!r}; give one such as utf-8, gb18030, big5, shift_jis or cp1252"
            ) from None
    return name


Encoding = Annotated[str, AfterValidator(known)]
"""`auto` or the name of an encoding."""
