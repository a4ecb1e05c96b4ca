"""Tokenizers: text to ids and back, learnt or loaded, kept in one `tokenizer.json` that other libraries read too."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tokenizers

from regard.settings import RegardError, Settings, SettingsError
from regard.text import fast, files, ranks, vocabularies
from regard.text.decoding import ByteTable, StreamDecoder
from regard.text.learning import Learnt, learn
from regard.text.segments import segments

SLOWLY = 1 << 18  # characters encoded before the faster engine is checked

Special = Iterable[str] | Mapping[str, str]


class TokenizerConfig(Settings):
    """How to learn a tokenizer: `Tokenizer.train(texts, **config.to_dict())`."""

    kind: Literal["bytes", "characters", "bpe", "wordpiece", "unigram"] = "bpe"
    vocab_size: int = 8000
    """Tokens in all, the special ones among them; fewer where the text has not enough to learn."""
    special: tuple[str, ...] | dict[str, str] = ("end",)
    """Roles among pad, begin, end, unknown, mask, separator, class; with their text, or written <|role|>."""
    pattern: Literal["gpt2", "cl100k", "o200k"] = "gpt2"
    """How BPE splits text before merging."""
    normalization: Literal["none", "nfc", "nfkc"] = "none"
    lowercase: bool = False
    max_bytes: int = 32 << 20
    """How much of the text BPE, WordPiece and Unigram learn from, evenly spread."""


class Token(NamedTuple):
    """A token in its text: its id, its bytes, these as text (� where they are part of a character), and the
    characters `text[start:end]` that it covers, wholly or in part."""

    id: int
    text: str
    bytes: bytes
    start: int
    end: int


class Tokenizer:
    """Text to ids and back. Made by `Tokenizer.train` or `Tokenizer.load`; may be pickled."""

    def __init__(self, spec: str, special: Mapping[str, str] | None = None, learnt_from: Learnt | None = None) -> None:
        """From the text of a `tokenizer.json`; `special` gives roles their token, else the file's own say counts."""
        own = files.read(spec)
        self._hf = files.parse(spec)
        self._hf.encode_special_tokens = True
        self._spec: dict[str, Any] = json.loads(self._hf.to_str())
        self._faster: fast.Engine | None = None
        self._faster_tried: bool | None = None
        self._slowly = 0
        self._lock = threading.Lock()
        self.learnt_from = learnt_from
        """The bytes that came by and those used, right after training; else None."""
        self.kind = fast.kind_of(self._spec)
        self.vocab_size = files.size(self._spec)
        """Ids are below this number."""
        self.special: dict[str, int] = {}
        """The id of each role that this tokenizer has."""
        self._boundary = fast.boundary_of(self._spec)
        self._take_roles(files.own_roles(own) if special is None else special)

    def _take_roles(self, roles: Mapping[str, str]) -> None:
        roles = {**files.unknown_of_model(self._spec["model"]), **roles}
        for role, content in roles.items():
            files.check_role(role)
            token = self._hf.token_to_id(content)
            if token is None:
                raise RegardError(
                    f"the special token {content!r} (role {role!r}) is not in this tokenizer's vocabulary."
                )
            self.special[role] = token
        added = {token["content"] for token in self._spec["added_tokens"]}
        if named := [content for content in dict.fromkeys(roles.values()) if content not in added]:
            self._hf.add_special_tokens([tokenizers.AddedToken(text, normalized=False) for text in named])
            self._spec = json.loads(self._hf.to_str())
        self._engine = fast.engine(self._hf, self._spec, self.unknown)

    # — made —

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        kind: str = "bpe",
        vocab_size: int = 8000,
        special: Special = ("end",),
        max_bytes: int = 32 << 20,
        **settings: Any,
    ) -> Tokenizer:
        """Learn a vocabulary from texts of any size, read once, in bounded memory. Settings: `TokenizerConfig`.

        Raises `RegardError` where there is nothing to learn from, or no room for the smallest vocabulary.
        """
        named = (
            dict(special) if isinstance(special, Mapping) else tuple([special] if isinstance(special, str) else special)
        )
        values = {"kind": kind, "vocab_size": vocab_size, "special": named, "max_bytes": max_bytes, **settings}
        config = TokenizerConfig.from_dict(values)
        roles = dict(config.special) if isinstance(config.special, dict) else {r: f"<|{r}|>" for r in config.special}
        if config.kind == "wordpiece":
            roles.setdefault("unknown", "<|unknown|>")
        for role, text in roles.items():
            files.check_role(role)
            if not text:
                raise SettingsError(
                    f"the special token of the role {role!r} is empty: give it a text such as '<|{role}|>'."
                )
        spec, learnt = learn(texts, config, roles)
        return cls(spec, roles, learnt)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], special: Mapping[str, str] | None = None, pattern: str | None = None
    ) -> Tokenizer:
        """A tokenizer from a `tokenizer.json`, a folder with one, a `*.tiktoken` rank file, or an encoding's name.

        In place of it the folder may have a vocab.txt, as BERT's, or a vocab.json with its merges.txt, as RoBERTa's.
        `special` gives roles their tokens where the file does not declare them. `pattern` (gpt2, cl100k, o200k, or a
        regular expression) says how a rank file that is no published one splits text. Raises `RegardError`.
        """
        place = Path(path)
        if not place.exists():
            if str(path) in ranks.ENCODINGS:
                return cls._of_ranks(ranks.fetch(str(path)), str(path), special, pattern)
            raise RegardError(
                f"there is no tokenizer {str(path)!r}: give a {files.FILE}, a folder that has one, a .tiktoken file, "
                f"or one of {', '.join(ranks.ENCODINGS)}."
            )
        if place.is_dir():
            place = place / files.FILE
            if not place.is_file():
                built = vocabularies.build(place.parent)
                if built is None:
                    raise RegardError(f"the folder {str(path)!r} has no {files.FILE}, and no vocab.txt in its place.")
                return cls(built[0], special or built[1])
        if place.stat().st_size > files.MOST_BYTES:
            raise RegardError(
                f"{place} has {place.stat().st_size:,} bytes, more than the {files.MOST_BYTES:,} a tokenizer may have."
            )
        if place.suffix == ".tiktoken":
            return cls._of_ranks(ranks.read_ranks(place), place.stem, special, pattern)
        try:
            tokenizer = cls(place.read_text(encoding="utf-8"), special)
            if special is None and not tokenizer.special.keys() - {"unknown"}:
                declared = files.declared_roles(place.parent)
                customary = files.customary_roles(tokenizer._spec)
                tokenizer._take_roles(declared if declared.keys() - {"unknown"} else customary)
            return tokenizer
        except UnicodeDecodeError:
            raise RegardError(f"{place} is no {files.FILE}: it is not text in UTF-8.") from None
        except RegardError as error:
            raise type(error)(f"{place}: {error}") from None

    @classmethod
    def _of_ranks(
        cls, table: dict[bytes, int], name: str, special: Mapping[str, str] | None, pattern: str | None
    ) -> Tokenizer:
        if pattern is not None:
            tokens = {content: len(table) + n for n, content in enumerate(dict.fromkeys((special or {}).values()))}
            return cls(ranks.to_json(table, ranks.PATTERNS.get(pattern, pattern), tokens), special)
        known = ranks.published(name, table)
        spec = ranks.to_json(table, ranks.PATTERNS[known.pattern], known.special)
        return cls(spec, special or {"end": "<|endoftext|>"})

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one `tokenizer.json` (into a folder, or as the file named); returns its path."""
        place = Path(path)
        place = place if place.suffix == ".json" else place / files.FILE
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_name(f".{place.name}.{os.getpid()}")
        try:
            with open(beside, "w", encoding="utf-8") as file:
                file.write(self.to_json())
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, place)
        finally:
            beside.unlink(missing_ok=True)
        return place

    def to_json(self) -> str:
        """The text of `tokenizer.json`; the roles stand with the added tokens, where other libraries pass them by."""
        spec = {**self._spec, "added_tokens": [dict(token) for token in self._spec["added_tokens"]]}
        for token in spec["added_tokens"]:
            if roles := [role for role, number in self.special.items() if number == token["id"]]:
                token["roles"] = roles
        return json.dumps(spec, ensure_ascii=False)

    def __reduce__(self) -> Any:
        return _unpickle, (self.to_json(), self._faster_tried, self.learnt_from)

    @cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits that two tokenizers share if they give the same ids and roles."""
        decisive = {key: self._spec[key] for key in ("model", "normalizer", "pre_tokenizer", "added_tokens")}
        text = json.dumps([decisive, self.special], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def __repr__(self) -> str:
        return f"Tokenizer(kind={self.kind!r}, vocab_size={self.vocab_size}, special={self.special})"

    # — special tokens by role —

    @property
    def pad(self) -> int | None:
        return self.special.get("pad")

    @property
    def begin(self) -> int | None:
        return self.special.get("begin")

    @property
    def end(self) -> int | None:
        return self.special.get("end")

    @property
    def opening(self) -> int | None:
        """What a document starts with: the begin token, else the end token of the document before it."""
        return self.end if self.begin is None else self.begin

    @property
    def unknown(self) -> int | None:
        return self.special.get("unknown")

    @property
    def mask(self) -> int | None:
        return self.special.get("mask")

    @property
    def separator(self) -> int | None:
        return self.special.get("separator")

    @property
    def class_(self) -> int | None:
        return self.special.get("class")

    @property
    def post_processor(self) -> dict[str, Any] | None:
        """What the file says to put around a text; `frame.py` reads it."""
        return self._spec.get("post_processor")

    def _around(self, begin: bool, end: bool) -> tuple[list[int], list[int]]:
        for role, wanted in (("begin", begin), ("end", end)):
            if wanted and role not in self.special:
                raise RegardError(
                    f"this tokenizer has no {role!r} token: train it with special=[{role!r}, …] or load it with "
                    f"special={{{role!r}: '<its text>'}}."
                )
        return [self.special["begin"]] if begin else [], [self.special["end"]] if end else []

    # — text to ids —

    def encode(self, text: str, *, begin: bool = False, end: bool = False, allow_special: bool = False) -> list[int]:
        """The ids of a text. `begin` and `end` put these tokens around them.

        Text that looks like a special token stays text, unless `allow_special`.
        """
        before, after = self._around(begin, end)
        if allow_special:
            self._check(text, (token["content"] for token in self._spec["added_tokens"]))
            return before + self._hf_with_special.encode(text, add_special_tokens=False).ids + after
        parts = self._choose(len(text))(list(self.segments((text,))))
        return before + [token for part in parts for token in part.tolist()] + after

    def prompt(self, text: str) -> list[int]:
        """The ids that a model goes on from: after the begin token where there is one. An empty text is the start of
        a document, `opening`; nothing where no token opens one.
        """
        ids = self.encode(text, begin=self.begin is not None)
        return ids if ids or self.opening is None else [self.opening]

    def encode_batch(self, texts: Iterable[str], *, begin: bool = False, end: bool = False) -> list[fast.Ids]:
        """The ids of each text, each an array of uint32 [t]."""
        before, after = (np.array(side, np.uint32) for side in self._around(begin, end))
        parts: list[str] = []
        counts: list[int] = []
        for text in texts:
            own = list(self.segments((text,)))
            parts += own
            counts.append(len(own))
        done = iter(self._choose(sum(map(len, parts)))(parts))
        return [np.concatenate([before, *(next(done) for _ in range(count)), after]) for count in counts]

    def segments(self, pieces: Iterable[str]) -> Iterator[str]:
        """One document, given in consecutive pieces, cut so that the ids of the segments join to those of the whole.

        A segment has 65 thousand characters or a little more, a million at most, where `bounded`; else it is the whole.
        """
        return segments(pieces, self._boundary)

    def encode_chunks(self, pieces: Iterable[str]) -> Iterator[fast.Ids]:
        """The ids of one document that arrives in consecutive pieces, as arrays of uint32 that join to `encode`.

        It holds one segment at a time.
        """
        for part in self.segments(pieces):
            yield self._choose(len(part))([part])[0]

    @property
    def bounded(self) -> bool:
        """Whether a document may be cut: not for a loaded tokenizer whose way of splitting is not known here."""
        return self._boundary is not None

    def _choose(self, size: int) -> fast.Engine:
        """The engine for so many characters: checking the fast one is repaid only after some text."""
        if self._faster_tried is None and isinstance(self._engine, fast.HuggingFace):
            with self._lock:
                self._slowly += size
                if self._faster_tried is None and self._slowly >= SLOWLY:
                    self._faster = fast.faster(self._hf, self._spec)
                    self._faster_tried = self._faster is not None
        return self._faster or self._engine

    def _check(self, text: str, special: Iterable[str] = ()) -> None:
        """Raise `RegardError` for text that the library would shorten without a word."""
        fast.utf8(text)
        if isinstance(self._engine, fast.Characters):
            known = "|".join(map(re.escape, special))
            self._engine(re.split(known, text) if known else [text])

    @cached_property
    def _hf_with_special(self) -> tokenizers.Tokenizer:
        hf = files.parse(json.dumps(self._spec))
        hf.encode_special_tokens = False
        return hf

    def tokens(self, text: str) -> list[Token]:
        """The tokens of a text with their bytes and the characters they cover."""
        self._check(text)
        found: list[Token] = []
        offset = 0
        for part in self.segments((text,)):
            encoding = self._hf.encode(part, add_special_tokens=False)
            for token, (start, stop) in zip(encoding.ids, encoding.offsets, strict=True):
                data = self.token_bytes(token)
                if found and found[-1].end < offset + start:
                    found[-1] = _with_marks(found[-1], text)
                found.append(Token(token, data.decode(errors="replace"), data, offset + start, offset + stop))
            offset += len(part)
        if found:
            found[-1] = _with_marks(found[-1], text)
        return found

    # — ids to text —

    @cached_property
    def byte_table(self) -> ByteTable:
        contents = {token["id"]: token["content"] for token in self._spec["added_tokens"] if token["special"]}
        contents |= {token: self._hf.id_to_token(token) for token in self.special.values()}
        return ByteTable(self._hf, self.vocab_size, contents, self.unknown)

    def decode(self, ids: Sequence[int] | np.ndarray, special: bool = False) -> str:
        """The text of the ids; special tokens are left out unless `special`; bytes that are no character become �."""
        return self.byte_table.decode(ids.tolist() if isinstance(ids, np.ndarray) else list(map(int, ids)), special)

    def token_bytes(self, token: int) -> bytes:
        """The bytes that the token adds after another one (so a WordPiece word has its space before it)."""
        self.byte_table.check((token,))
        return self.byte_table.rest[token]

    def stream(self, special: bool = False) -> StreamDecoder:
        """A decoder that takes one id at a time and never shows half a character."""
        return StreamDecoder(self, special)


def _with_marks(token: Token, text: str) -> Token:
    """With the accents that follow it in the text, and that a normalizer has taken away."""
    end = token.end
    while end < len(text) and unicodedata.combining(text[end]):
        end += 1
    return token._replace(end=end)


def _unpickle(spec: str, faster: bool | None, learnt: Learnt | None) -> Tokenizer:
    tokenizer = Tokenizer(spec, learnt_from=learnt)
    tokenizer._faster_tried = faster
    if faster:
        tokenizer._faster = fast.faster(tokenizer._hf, tokenizer._spec, trusted=True)
    return tokenizer
