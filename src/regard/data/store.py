"""Ids on disk: memory-mapped files of a text's ids, made once, in bounded memory, and reused while nothing changes.

A store is a folder with `store.json` and, for each part (train, validation), two files of plain little-endian integers:

    train-….ids        the ids, uint16 where the vocabulary has at most 65,536, else uint32
    train-….starts     int64, where each document starts

With `<` for the tokenizer's end token, three documents stand as `<aaaa<bbb<cc<`: the token that ends one document
opens the next, so every token of a document has a token before it to be predicted from. A document starts at that
token. A tokenizer with a begin token `^` of its own gives `^aaaa<^bbb<^cc<`, as `regard.load(…).generate` starts a
prompt. Where it has neither, documents follow each other without one.

`store.json` is written last and renamed into place: it is either absent, old and right, or new and right.
"""

from __future__ import annotations

import errno
import filecmp
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from regard.data.base import Data
from regard.data.encoding import PARTS, Block, Encoder, blocks, width
from regard.data.formats import CHUNK
from regard.data.sources import identity
from regard.data.split import Say, TextData
from regard.settings import RegardError

VERSION = 1
STANDARD_INPUT = "standard-input"
"""The copy of it in a run's folder."""
D = TypeVar("D", bound=Data)


@dataclass(frozen=True)
class Part:
    """One part of a store, memory-mapped.

    ids: [n] uint16 or uint32. starts: [documents] int64, increasing.
    documents, bytes, characters: counts of the text behind it; ends of documents are not counted in the last two.
    """

    name: str
    ids: np.ndarray
    starts: np.ndarray
    documents: int
    bytes: int
    characters: int

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class TokenStore:
    """The ids of a source, by one tokenizer.

    validation is None where there is none, or too little to predict a single token.
    end: the id that ends a document, or None. notes: what was said while the text was read.
    """

    folder: Path
    fingerprint: str
    vocab_size: int
    end: int | None
    train: Part
    validation: Part | None
    notes: tuple[str, ...] = ()

    @classmethod
    def open(cls, folder: str | Path) -> TokenStore:
        """The store in a folder. Raises `RegardError` where there is none or it is damaged."""
        folder = Path(folder)
        try:
            made = json.loads((folder / "store.json").read_text(encoding="utf-8"))
        except OSError:
            raise RegardError(f"there is no token store in {str(folder)!r}.") from None
        except ValueError:
            raise RegardError(f"the token store in {str(folder)!r} is damaged: store.json is no JSON.") from None
        try:
            if made["version"] != VERSION:
                raise RegardError(f"the token store in {str(folder)!r} is of another version; make it again.")
            stem, ids = made["fingerprint"][:16], {"uint16": "<u2", "uint32": "<u4"}[made["ids"]]
            if not stem.isalnum():
                raise ValueError("its fingerprint is no hash")
            parts = {}
            for name in PARTS:
                counts = made["parts"][name]
                parts[name] = Part(
                    name,
                    map_array(folder / f"{name}-{stem}.ids", ids, counts["tokens"]),
                    map_array(folder / f"{name}-{stem}.starts", "<i8", counts["documents"]),
                    *(int(counts[key]) for key in ("documents", "bytes", "characters")),
                )
            validation = parts["validation"] if len(parts["validation"]) > 1 else None
            head = made["fingerprint"], int(made["vocab_size"]), made["end"]
            return cls(folder, *head, parts["train"], validation, tuple(made["notes"]))
        except (KeyError, TypeError, ValueError, OSError, AttributeError) as error:
            if isinstance(error, RegardError):
                raise
            raise RegardError(
                f"the token store in {str(folder)!r} is damaged ({error}); delete it and run again."
            ) from None


def keep_standard_input(config: D, folder: str | Path, going_on: bool = False) -> D:
    """The same settings with `-` replaced by a file in `folder` that standard input was copied to.

    A pipe can be read only once, but a tokenizer and a store each need to read the text. `going_on`: with what was
    copied before; what comes in now is the same, or nothing.
    """
    named = (config.source + config.validation).count("-")
    if named == 0:
        return config
    if named > 1:
        raise RegardError("standard input ('-') can be read once only, and it is named twice.")
    kept = Path(folder) / STANDARD_INPUT
    beside = kept.with_suffix(".partial")
    with writing(kept.parent):
        with open(beside, "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file, CHUNK)
        empty = beside.stat().st_size == 0
        if empty or (going_on and kept.exists()):
            same = empty or filecmp.cmp(beside, kept, shallow=False)
            beside.unlink()
            if not same:
                raise RegardError(
                    f"{str(folder)!r} was begun with another text on standard input: give that one, or none."
                )
            if not (going_on and kept.exists()):
                raise RegardError("nothing came in on standard input.")
        else:
            beside.replace(kept)
    return config.replace(
        source=tuple(str(kept) if name == "-" else name for name in config.source),
        validation=tuple(str(kept) if name == "-" else name for name in config.validation),
    )


def prepare(
    config: TextData,
    tokenizer: Encoder,
    folder: str | Path,
    *,
    workers: int | None = None,
    say: Say = lambda message: None,
) -> TokenStore:
    """The store of this text by this tokenizer: the one in `folder` if nothing has changed, else made anew.

    workers: threads that encode (tokenizers release Python's lock); the result is the same for any number.
    say: receives what was done and met, and how far it is every ten seconds. Raises `RegardError`.
    """
    folder = Path(folder)
    fingerprint = _fingerprint(config, tokenizer)
    if (folder / "store.json").exists():
        try:
            store = TokenStore.open(folder)
        except RegardError as error:
            say(f"{str(error).rstrip('.')}: it is made again.")
        else:
            if store.fingerprint == fingerprint:
                say(f"Using the {len(store.train):,} tokens kept in {folder}, as nothing has changed.")
                for note in store.notes:
                    say(note)
                return store
    with writing(folder):
        _make(config, tokenizer, folder, fingerprint, workers or os.cpu_count() or 1, say)
    return TokenStore.open(folder)


# ---- making a store ----


def _make(
    config: TextData,
    tokenizer: Encoder,
    folder: Path,
    fingerprint: str,
    workers: int,
    say: Say,
) -> None:
    notes: list[str] = []

    def note(message: str) -> None:
        notes.append(message)
        say(message)

    ids = width(tokenizer.vocab_size)
    shared = tokenizer.end if tokenizer.opening == tokenizer.end else None
    writers = [_Writer(folder, name, fingerprint[:16], ids, shared) for name in PARTS]
    try:
        done, begun = 0, time.monotonic()
        said = begun
        for made in blocks(config, tokenizer, workers, note):
            for writer, block in zip(writers, made, strict=True):
                writer.append(block)
                done += block.characters
            if (now := time.monotonic()) > said + 10:
                millions = done / 1e6
                say(f"Tokenised {millions:,.0f} million characters, {millions / (now - begun):.1f} million a second.")
                said = now
        counts = {writer.name: writer.finish() for writer in writers}
    finally:
        for writer in writers:
            writer.discard()
    manifest = {
        "version": VERSION,
        "fingerprint": fingerprint,
        "tokenizer": tokenizer.fingerprint,
        "vocab_size": tokenizer.vocab_size,
        "ids": ids,
        "end": tokenizer.end,
        "parts": counts,
        "notes": notes,
        "settings": config.to_dict(),
    }
    beside = folder / f".store.json.{os.getpid()}"
    beside.write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")
    _flush(beside)
    os.replace(beside, folder / "store.json")
    for name in PARTS:  # of a store that this one replaces
        for old in folder.glob(f"{name}-*.*"):
            if old.suffix in (".ids", ".starts") and old.stem != f"{name}-{fingerprint[:16]}":
                old.unlink(missing_ok=True)


class _Writer:
    """Writes the two files of one part beside their places, and moves them there when finished.

    shared: the token that ends a document and opens the next, or None where documents have a begin token or neither.
    """

    def __init__(self, folder: Path, name: str, stem: str, ids: str, shared: int | None) -> None:
        self.name, self.shared = name, shared
        self.kind = np.dtype(ids).newbyteorder("<")
        self.places = [folder / f"{name}-{stem}.{suffix}" for suffix in ("ids", "starts")]
        self.beside = [place.with_name(f".{place.name}.{os.getpid()}") for place in self.places]
        self.ids, self.starts = (path.open("wb") for path in self.beside)
        self.tokens = self.documents = self.bytes = self.characters = 0

    def append(self, block: Block) -> None:
        if not block.ids:
            return
        opens = bool(block.openings) and block.openings[0] == 0
        if self.tokens == 0 and self.shared is not None and opens:
            self._write(np.array([self.shared], dtype=self.kind))
        before = 0 if self.shared is None else 1  # a document starts at the end token before it
        starts = [max(0, self.tokens + opening - before) for opening in block.openings]
        if self.documents == 0 and (not starts or starts[0] > 0):  # the part starts within a document
            starts.insert(0, 0)
        self.starts.write(np.array(starts, dtype="<i8").tobytes())
        self.documents += len(starts)
        self._write(block.ids[0])
        self.bytes += block.bytes
        self.characters += block.characters

    def _write(self, ids: np.ndarray) -> None:
        self.ids.write(ids.data)
        self.tokens += len(ids)

    def finish(self) -> dict[str, int]:
        for file, beside, place in zip((self.ids, self.starts), self.beside, self.places, strict=True):
            file.close()
            _flush(beside)
            os.replace(beside, place)
        return {key: getattr(self, key) for key in ("tokens", "documents", "bytes", "characters")}

    def discard(self) -> None:
        """Removes what was not finished."""
        for file, beside in zip((self.ids, self.starts), self.beside, strict=True):
            with suppress(OSError):  # a full disk may refuse the last bytes once more
                file.close()
            beside.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def map_array(path: Path, kind: str, count: int) -> np.ndarray:
    size = path.stat().st_size
    if size != count * np.dtype(kind).itemsize:
        raise ValueError(f"{path.name} has {size} bytes and {count * np.dtype(kind).itemsize} were expected")
    if count == 0:
        return np.zeros(0, dtype=kind)
    return np.asarray(np.memmap(path, dtype=kind, mode="r"))


def _fingerprint(config: TextData, tokenizer: Encoder) -> str:
    made_of = {
        "version": VERSION,
        "tokenizer": tokenizer.fingerprint,
        "opening": tokenizer.opening,
        "end": tokenizer.end,
        "settings": {key: value for key, value in config.to_dict().items() if key != "separate_documents"},
        "source": [identity(source) for source in config.source],
        "validation": [identity(source) for source in config.validation],
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns what the operating system says about a folder into one sentence."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            why = "there is no room left; free some or choose another folder"
        else:
            why = f"{error.strerror or error}; choose another folder"
        raise RegardError(f"{str(folder)!r} cannot be written: {why}.") from None
