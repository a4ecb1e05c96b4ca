"""Ids to text: each token is a few bytes, and bytes are shown only when they complete a character."""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import tokenizers

from regard.settings import RegardError

if TYPE_CHECKING:
    from regard.text.tokenizer import Tokenizer


@cache
def byte_alphabet() -> dict[str, int]:
    """GPT-2's printable character for each byte, as byte-level vocabularies are written: character → byte.

    Printable Latin-1 stands for itself; the other 68 bytes take the characters from U+0100 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in set(printable))
    return alphabet | {chr(0x100 + n): byte for n, byte in enumerate(others)}


def byte_of_fallback(token: str) -> int | None:
    """0xE4 for the token `<0xE4>`, by which some vocabularies spell what they have no piece for."""
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        try:
            return int(token[3:5], 16)
        except ValueError:
            return None
    return None


class ByteTable:
    """What each id adds to the text, in bytes: at its start (`first`) and after another token (`rest`).

    The two differ where a decoder joins words by a space (WordPiece) or takes the leading one away (Metaspace).
    """

    def __init__(self, hf: tokenizers.Tokenizer, size: int, special: dict[int, str], unknown: int | None) -> None:
        self.special = frozenset(special) - {unknown}
        names = [hf.id_to_token(token) for token in range(size)]
        decoder = json.loads(hf.to_str())["decoder"]
        kinds = _kinds(decoder)
        if "ByteLevel" in kinds:
            alphabet = byte_alphabet()
            self.rest = [
                b"" if name is None
                else bytes(map(alphabet.__getitem__, name)) if all(c in alphabet for c in name)
                else name.encode()
                for name in names
            ]  # fmt: skip
            self.first = list(self.rest)
        else:
            fallback = "ByteFallback" in kinds

            def piece(name: str | None, before: list[str]) -> bytes:
                if name is None:
                    return b""
                if fallback and (byte := byte_of_fallback(name)) is not None:
                    return bytes([byte])
                if hf.decoder is None:
                    return (" " * len(before) + name).encode()
                return hf.decoder.decode([*before, name])[len(before) :].encode()

            self.first = [piece(name, []) for name in names]
            self.rest = [piece(name, ["x"]) for name in names]
        for token, content in special.items():
            if "ByteLevel" in kinds:
                self.first[token] = self.rest[token] = content.encode()
            if token == unknown:  # lost text is shown, not dropped
                lost = "\N{REPLACEMENT CHARACTER}"
                joined = self.rest[token].startswith(b" ")
                self.first[token], self.rest[token] = lost.encode(), (" " * joined + lost).encode()

    def check(self, ids: Sequence[int]) -> None:
        if len(ids) and (min(ids) < 0 or max(ids) >= len(self.rest)):
            wrong = next(token for token in ids if not 0 <= token < len(self.rest))
            raise RegardError(
                f"id {wrong} is no token of this vocabulary of {len(self.rest)}: was it made by another tokenizer?"
            )

    def decode(self, ids: Sequence[int], special: bool) -> str:
        self.check(ids)
        shown = ids if special or not self.special else [token for token in ids if token not in self.special]
        if not len(shown):
            return ""
        joined = self.first[shown[0]] + b"".join(map(self.rest.__getitem__, shown[1:]))
        return joined.decode("utf-8", errors="replace")


class StreamDecoder:
    """Decoding one id at a time: what `push` and `flush` return, joined, is `decode` of all the ids.

    A character whose bytes are still to come is held back; bytes that can no longer become one are shown as �.
    """

    def __init__(self, tokenizer: Tokenizer, special: bool = False) -> None:
        self._table = tokenizer.byte_table
        self._special = special
        self._started = False
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The text that became certain by this id: often a word, sometimes nothing. Raises `RegardError`."""
        self._table.check((token,))
        if not self._special and token in self._table.special:
            return ""
        piece = (self._table.rest if self._started else self._table.first)[token]
        self._started = True
        return self._utf8.decode(piece)

    def flush(self) -> str:
        """What is left at the end: � for an unfinished character, else nothing. Then it can start anew."""
        self._started = False
        rest = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return rest


def _kinds(part: dict | None) -> set[str]:
    """The types in a part of a tokenizer.json, sequences unfolded."""
    if part is None:
        return set()
    inner = [value for key in ("decoders", "pretokenizers", "normalizers") for value in part.get(key, ())]
    return {part["type"]}.union(*map(_kinds, inner))
