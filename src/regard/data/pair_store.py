"""The ids of pairs in memory-mapped files, made once and reused.

A side of a part is a row of ids, one sentence after the other, and where each ends:

    train-source-….ids        uint16 where the vocabulary has at most 65,536, else uint32
    train-source-….ends       int64

A source ends with its tokenizer's end token, where it has one; begin and end of a target are added by the batches.
`pairs.json` is written last and renamed into place: it is either absent, old and right, or new and right.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regard.data.encoding import PARTS, Encoder, width
from regard.data.pairs import Pair, PairsData, pairs
from regard.data.sources import identity
from regard.data.store import map_array, writing
from regard.settings import RegardError

VERSION = 1
MANIFEST = "pairs.json"
CHUNK = 4096
"""Pairs that are encoded at once."""


@dataclass(frozen=True)
class Side:
    """The sentences of one side: `ids` [tokens], and `ends` [sentences], where each ends in them."""

    ids: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def lengths(self) -> np.ndarray:
        """[sentences] tokens of each."""
        return np.diff(self.ends, prepend=0)

    def row(self, number: int) -> np.ndarray:
        return self.ids[self.ends[number - 1] if number else 0 : self.ends[number]]


@dataclass(frozen=True)
class PairPart:
    """One part of a store: row n of `source` and of `target` are a pair."""

    name: str
    source: Side
    target: Side

    def __len__(self) -> int:
        return len(self.source)


@dataclass(frozen=True)
class PairStore:
    folder: Path
    fingerprint: str
    train: PairPart
    validation: PairPart | None
    notes: tuple[str, ...] = ()

    def validation_texts(self) -> list[tuple[str, str]] | None:
        """The validation part as it was read, for ids may not tell a text whole; None where it was not kept."""
        place = self.folder / f"{TEXTS}-{self.fingerprint[:16]}.jsonl"
        if not place.is_file():
            return None
        try:
            rows = [json.loads(line) for line in place.read_text(encoding="utf-8").splitlines()]
            return [(str(source), str(target)) for source, target in rows]
        except (ValueError, TypeError, OSError) as error:
            raise RegardError(f"the validation pairs in {place} are damaged ({error}); name pairs instead.") from None

    @classmethod
    def open(cls, folder: str | Path) -> PairStore:
        """The store in a folder. Raises `RegardError` where there is none or it is damaged."""
        folder = Path(folder)
        try:
            made = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if made["version"] != VERSION:
                raise RegardError(f"the pairs in {str(folder)!r} are kept in another version; make them again.")
            stem = made["fingerprint"][:16]
            if not stem.isalnum():
                raise ValueError("its fingerprint is no hash")
            parts = {}
            for name in PARTS:
                sides = []
                for side, kind in zip(SIDES, made["ids"], strict=True):
                    beginning = folder / f"{name}-{side}-{stem}"
                    ids = {"uint16": "<u2", "uint32": "<u4"}[kind]
                    count = made["parts"][name]
                    sides.append(
                        Side(
                            map_array(beginning.with_name(beginning.name + ".ids"), ids, count[f"{side}_tokens"]),
                            map_array(beginning.with_name(beginning.name + ".ends"), "<i8", count["pairs"]),
                        )
                    )
                parts[name] = PairPart(name, *sides)
        except RegardError:
            raise
        except FileNotFoundError:
            raise RegardError(f"there are no pairs in {str(folder)!r}.") from None
        except (KeyError, TypeError, ValueError, OSError, AttributeError) as error:
            raise RegardError(
                f"the pairs in {str(folder)!r} are damaged ({error}); delete the folder and run again."
            ) from None
        validation = parts["validation"] if len(parts["validation"]) else None
        return cls(folder, made["fingerprint"], parts["train"], validation, tuple(made["notes"]))


SIDES = ("source", "target")
TEXTS = "validation-texts"
"""The file with the validation part as it was read begins so."""


def prepare_pairs(
    config: PairsData,
    source: Encoder,
    target: Encoder,
    folder: str | Path,
    say: Callable[[str], None] = lambda message: None,
    longest: int | None = None,
) -> PairStore:
    """The store of these pairs by these tokenizers: the one in `folder` if nothing has changed, else made anew.

    say: receives what was done and met, and how many pairs were left out, and why. longest: tokens of a side
    that the model knows positions for, where that is less than `max_length`. Raises `RegardError`.
    """
    folder = Path(folder)
    if longest is not None and longest < config.max_length:
        config = config.replace(max_length=longest)
    fingerprint = _fingerprint(config, source, target)
    if (folder / MANIFEST).exists():
        try:
            store = PairStore.open(folder)
        except RegardError as error:
            say(f"{str(error).rstrip('.')}: they are made again.")
        else:
            if store.fingerprint == fingerprint:
                say(f"Using the {len(store.train):,} pairs kept in {folder}, as nothing has changed.")
                for note in store.notes:
                    say(note)
                return store
    with writing(folder):
        _make(config, (source, target), folder, fingerprint, say)
    return PairStore.open(folder)


class Filter:
    """Which pairs are left out, and how many for which reason."""

    def __init__(self, config: PairsData) -> None:
        self.longest, self.ratio = config.max_length, config.max_ratio
        self.blank = self.long = self.uneven = 0

    def keeps(self, source: int, target: int, blank: bool) -> bool:
        """Whether a pair of so many tokens stays; counts it where not."""
        if blank:
            self.blank += 1
        elif max(source, target) > self.longest:
            self.long += 1
        elif self.ratio is not None and max(source, target) > self.ratio * min(source, target):
            self.uneven += 1
        else:
            return True
        return False

    def __str__(self) -> str:
        reasons = [
            f"{self.blank:,} with a blank side" if self.blank else "",
            f"{self.long:,} longer than {self.longest} tokens" if self.long else "",
            f"{self.uneven:,} with sides in a ratio above {self.ratio:g}" if self.uneven else "",
        ]
        total = self.blank + self.long + self.uneven
        return f"Left out {total:,} pair(s): {', '.join(filter(None, reasons))}." if total else ""


def _make(
    config: PairsData,
    tokenizers: tuple[Encoder, Encoder],
    folder: Path,
    fingerprint: str,
    say: Callable[[str], None],
) -> None:
    notes: list[str] = []

    def note(message: str) -> None:
        notes.append(message)
        say(message)

    kinds = [width(tokenizer.vocab_size) for tokenizer in tokenizers]
    names = [f"{part}-{side}-{fingerprint[:16]}" for part in PARTS for side in SIDES]
    places = [folder / f"{name}.{suffix}" for name in names for suffix in ("ids", "ends")]
    names.append(f"{TEXTS}-{fingerprint[:16]}")
    places.append(folder / f"{names[-1]}.jsonl")
    beside = [place.with_name(f".{place.name}.{os.getpid()}") for place in places]
    left_out = Filter(config)
    counts = [[0, 0, 0] for _ in PARTS]  # pairs, tokens of the source, tokens of the target
    try:
        with ExitStack() as stack:
            opened = [stack.enter_context(path.open("wb")) for path in beside]
            for chunk in _chunks(pairs(config, note)):
                encoded = [
                    tokenizer.encode_batch([getattr(pair, side).strip() for pair in chunk])
                    for tokenizer, side in zip(tokenizers, SIDES, strict=True)
                ]
                for pair, *sides in zip(chunk, *encoded, strict=True):
                    blank = not (pair.source.strip() and pair.target.strip())
                    if not left_out.keeps(len(sides[0]), len(sides[1]), blank):
                        continue
                    if tokenizers[0].end is not None:
                        sides[0] = np.append(sides[0], np.uint32(tokenizers[0].end))
                    if pair.part == 1:
                        row = json.dumps([pair.source, pair.target], ensure_ascii=False)
                        opened[-1].write(f"{row}\n".encode())
                    count = counts[pair.part]
                    count[0] += 1
                    for side, ids in enumerate(sides):
                        count[1 + side] += len(ids)
                        files = opened[4 * pair.part + 2 * side :][:2]
                        files[0].write(ids.astype(np.dtype(kinds[side]).newbyteorder("<")).tobytes())
                        files[1].write(np.int64(count[1 + side]).astype("<i8").tobytes())
            if str(left_out):
                note(str(left_out))
            if counts[0][0] == 0:
                raise RegardError(f"{', '.join(config.source)}: no pair is left to train on. {left_out}".strip())
            for file in opened:
                file.flush()
                os.fsync(file.fileno())
        for path, place in zip(beside, places, strict=True):
            os.replace(path, place)
    finally:
        for path in beside:
            path.unlink(missing_ok=True)
    manifest = {
        "version": VERSION,
        "fingerprint": fingerprint,
        "ids": kinds,
        "parts": {
            part: dict(zip(("pairs", "source_tokens", "target_tokens"), count, strict=True))
            for part, count in zip(PARTS, counts, strict=True)
        },
        "notes": notes,
        "settings": config.to_dict(),
    }
    waiting = folder / f".{MANIFEST}.{os.getpid()}"
    waiting.write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(waiting, folder / MANIFEST)
    for old in folder.glob("*-*-*.*"):  # of a store that this one replaces
        if old.suffix in (".ids", ".ends", ".jsonl") and old.stem not in names:
            old.unlink(missing_ok=True)


def _chunks(stream: Iterator[Pair]) -> Iterator[list[Pair]]:
    while chunk := list(itertools.islice(stream, CHUNK)):
        yield chunk


def _fingerprint(config: PairsData, source: Encoder, target: Encoder) -> str:
    named = [*config.source, *config.target, *config.validation, *config.validation_target]
    made_of = {
        "version": VERSION,
        "tokenizers": [[one.fingerprint, one.end] for one in (source, target)],
        "settings": config.to_dict(),
        "sources": [[name] if name.startswith("builtin:") else identity(name) for name in named],
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
