"""Which words of a text are hidden from an encoder, and what stands in their place.

    of the pieces of a row     rate are hidden: single pieces, whole words, or runs of words
    of the hidden              masked become the mask token, random another piece, the others stay as they are

The number that is hidden is rate · n on average, exactly: the last unit that would pass it is taken by lot.

Source   Devlin et al. 2018, arXiv:1810.04805, §3.1 (15 %; 80, 10 and 10 of it); whole words: the authors' code, 2019;
         Joshi et al. 2019, arXiv:1907.10529, §3.1 (runs: lengths in words geometric, p = 0.2, at most 10).
Differs  In a run all pieces share one fate, as in Joshi et al.; elsewhere each has its own.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from regard.text import Tokenizer

Unit = Literal["token", "word", "span"]
LENGTHS = np.arange(1, 11)
SHARES = 0.8 ** (LENGTHS - 1) / (0.8 ** (LENGTHS - 1)).sum()
"""How often a run has 1 … 10 words; 3.8 on average."""


class Pieces(NamedTuple):
    """What the pieces of a vocabulary are, each an array [v] of bool."""

    mask: int
    special: np.ndarray
    goes_on: np.ndarray
    """It begins inside a word, if the piece before it ends in one."""
    in_word: np.ndarray
    """It ends in a word, which the next piece may go on with."""
    ends: np.ndarray
    """A sentence or a line ends with it."""

    @classmethod
    def of(cls, tokenizer: Tokenizer, mask: int) -> Pieces:
        """A word ends where a space, a mark or a Chinese or Japanese character stands; as pieces carry the space before
        them, or are marked ## where they have none, the bytes of a piece tell."""
        special = np.zeros(tokenizer.vocab_size, bool)
        special[list(tokenizer.special.values())] = True
        special |= [not tokenizer.decode([number]) for number in range(tokenizer.vocab_size)]
        texts = [b"" if special[number] else tokenizer.token_bytes(number) for number in range(len(special))]
        goes_on = np.array([bool(text) and _inside(text[0]) for text in texts])
        in_word = np.array([bool(text) and _inside(text[-1]) for text in texts])
        ends = [text.rstrip(b" \"')").endswith((b".", b"!", b"?", *_ENDS)) or b"\n" in text for text in texts]
        return cls(mask, special, goes_on, in_word, np.array(ends))

    def starts(self, ids: np.ndarray) -> np.ndarray:
        """[n] bool: where a word begins."""
        starts = ~self.goes_on[ids]
        starts[0] = True
        starts[1:] |= ~self.in_word[ids[:-1]]
        return starts


_ENDS = tuple(mark.encode() for mark in "。！？")


def _inside(byte: int) -> bool:
    """Whether a byte of UTF-8 is of a letter or a digit, but for the first of a character of U+3000 … U+9FFF."""
    return chr(byte).isalnum() if byte < 0x80 else not 0xE3 <= byte <= 0xE9


def draw(ids: np.ndarray, pieces: Pieces, rate: float, unit: Unit, random: np.random.Generator) -> np.ndarray:
    """[n] int: −1 where a piece stays in sight, else the number of the draw that hid it. Special ones always stay."""
    drawn = np.full(len(ids), -1)
    places = np.flatnonzero(~pieces.special[ids])
    if not len(places):
        return drawn
    if unit == "token":
        first = np.arange(len(places))
    else:  # a word is over where a special piece stands
        first = np.flatnonzero(pieces.starts(ids)[places] | np.append(True, np.diff(places) > 1))
    sizes = np.diff(np.append(first, len(places)))
    budget = rate * len(places)
    if unit == "span":
        return _spans(drawn, places, first, sizes, budget, random)
    order = random.permutation(len(first))
    before = np.cumsum(sizes[order]) - sizes[order]
    taken = random.random() * sizes[order] < budget - before
    taken[0] = True  # a row always has something to learn
    for number, word in enumerate(order[taken]):
        drawn[places[first[word] : first[word] + sizes[word]]] = number
    return drawn


def _spans(
    drawn: np.ndarray,
    places: np.ndarray,
    first: np.ndarray,
    sizes: np.ndarray,
    budget: float,
    random: np.random.Generator,
) -> np.ndarray:
    hidden = number = 0
    while hidden < budget:
        length = random.choice(LENGTHS, p=SHARES)
        start = int(random.integers(len(first)))
        for word in range(start, min(start + length, len(first))):
            own = places[first[word] : first[word] + sizes[word]]
            if word > start and own[0] != places[first[word] - 1] + 1:
                break  # runs do not pass over special pieces
            if drawn[own[0]] >= 0:
                continue
            if hidden and random.random() * len(own) >= budget - hidden:
                return drawn
            drawn[own], hidden = number, hidden + len(own)
        number += 1
    return drawn


def hide(
    ids: np.ndarray, drawn: np.ndarray, pieces: Pieces, masked: float, other: float, together: bool,
    random: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """The ids [n] as the encoder reads them. together: pieces of one draw share one fate."""
    at = np.flatnonzero(drawn >= 0)
    fate = random.random(len(ids))[drawn[at] if together else at]
    ordinary = np.flatnonzero(~pieces.special)
    seen = ids.copy()
    seen[at[fate < masked]] = pieces.mask
    swapped = at[(fate >= masked) & (fate < masked + other)]
    seen[swapped] = random.choice(ordinary, len(swapped))
    return seen
