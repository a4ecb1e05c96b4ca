"""Texts on which tokenizers differ: spaces of all kinds, scripts, marks, emoji, control characters."""

import random

PIECES = [
    "Hello", "world", "naïve", "café", "cafe\u0301", "ÅNGSTRÖM", "straße", "İstanbul",
    "ﬁne", "don't", "I'LL", "e.g.", "3.14159", "1,000", "²³", "½", "½½", "Ⅷ", "中文",
    "漢字かな", "カタカナ", "ｶﾀｶﾅ", "한국어", "\u1112\u1161\u11ab", "עִבְרִית", "العَرَبِيَّة",
    "हिन्दी", "ไทยไม่มีวรรค", "русский", "Ελληνικά", "Ǆ", "ǆ", "ſ", "ß", "ẞ", "👩‍👩‍👧",
    "🇩🇪🇫🇷", "👍🏽", "🙂", "\u200d", "\u200b", "\ufeff", "\u00ad", "\u2028", "\u2029",
    "\u0085", "\xa0", "\u3000", "\u2003", "\t", "\n", "\r\n", "\r", "\x00", "\x07",
    "\x1b[0m", "\x7f", "\ufffd", "\U000e0041", "\U0001d504", "\U00020000", "\U0002f81a",
    "豈", "a\u0323\u0302\u0301", "\u0301", "…", "—", "„“”‚‘’«»", "¿", "$", "€", "+", "<",
    "=", ">", "^", "`", "|", "~", "@", "#", "_", "__init__", "a_b-c/d\\e",
    "http://a.example/c?d=e&f#g", "##ing", "##", "[X]", "<s", "s>", "x" * 101, "x" * 100,
    "中" * 60, " ", "  ", "   ", ".", "...", "!?", "(", ")", "a", "I", "", "the",
]  # fmt: skip


def hard_texts(count: int = 400) -> list[str]:
    """The pieces themselves, then draws of a few of them, joined by nothing or a space; always the same."""
    draw = random.Random(0)
    made = list(PIECES)
    while len(made) < count:
        made.append(draw.choice(("", " ", "  ")).join(draw.choices(PIECES, k=draw.randrange(2, 9))))
    return made
