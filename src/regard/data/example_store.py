"""Framed examples as ids in memory-mapped files, made once and reused.

A part is a row of ids, one example after the other, where each ends, its segments, and what is to be learnt of it:

    train-ids-….bin          uint16 where the vocabulary has at most 65,536, else uint32
    train-segments-….bin     uint8, one for each id
    train-ends-….bin         int64
    train-targets-….bin      int64 or float32: one or several a row, or one for each id
    validation-….jsonl       the validation examples as they were read, for ids may not tell a text whole

`examples.json` is written last and renamed into place: it is either absent, old and right, or new and right.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from regard.data.base import Data
from regard.data.encoding import PARTS, width
from regard.data.sources import identity
from regard.data.store import map_array, writing
from regard.settings import RegardError

VERSION = 1
MANIFEST = "examples.json"
EDGE = 1 << 19

Say = Callable[[str], None]


class Targets(NamedTuple):
    """What is learnt of a row: so many numbers, of this type; or one for each of its ids."""

    kind: Literal["int64", "float32"]
    width: int
    """0: one number a row; n: n numbers a row; −1: one for each id."""


class Row(NamedTuple):
    """A framed text, or a window of one: ids [t], segments [t], and what is to be learnt of it."""

    ids: np.ndarray
    segments: np.ndarray
    target: Any
    cut: int = 0
    """How many tokens of the text had to go."""


class Encoded(NamedTuple):
    """An example as rows (a question has several windows, a pair two texts), its part (0 train, 1 validation), and
    the example as it was read, which JSON can hold."""

    part: int
    rows: list[Row]
    read: Any


@dataclass(frozen=True)
class ExamplePart:
    """One part of a store: `row(n)`, `segments_of(n)` and `target(n)` belong together.

    starts: [examples + 1] the first row of each example, and past the last.
    """

    name: str
    ids: np.ndarray
    segments: np.ndarray
    ends: np.ndarray
    targets: np.ndarray
    starts: np.ndarray
    shape: Targets

    def __len__(self) -> int:
        """Rows."""
        return len(self.ends)

    @property
    def lengths(self) -> np.ndarray:
        """[rows] tokens of each."""
        return np.diff(self.ends, prepend=0)

    def _span(self, number: int) -> slice:
        return slice(self.ends[number - 1] if number else 0, self.ends[number])

    def row(self, number: int) -> np.ndarray:
        return self.ids[self._span(number)]

    def segments_of(self, number: int) -> np.ndarray:
        return self.segments[self._span(number)]

    def target(self, number: int) -> np.ndarray:
        """What is to be learnt of a row: a number, [width], or [t]."""
        if self.shape.width < 0:
            return self.targets[self._span(number)]
        if self.shape.width == 0:
            return np.asarray(self.targets[number])
        return self.targets[number * self.shape.width : (number + 1) * self.shape.width]


@dataclass(frozen=True)
class ExampleStore:
    folder: Path
    fingerprint: str
    train: ExamplePart
    validation: ExamplePart | None
    facts: dict[str, Any]
    """What was found of all examples: labels, counts."""
    notes: tuple[str, ...] = ()

    @property
    def contents(self) -> str:
        """A hash of the ids and targets themselves, by number and both ends: touched data stay the same."""
        digest = hashlib.sha256()
        for part in (self.train, self.validation):
            for array in () if part is None else (part.ids, part.targets):
                digest.update(f"{len(array)} ".encode() + array[:EDGE].tobytes() + array[-EDGE:].tobytes())
        return digest.hexdigest()[:32]

    def validation_read(self) -> list[Any]:
        """The validation examples as they were read."""
        place = self.folder / f"validation-{self.fingerprint[:16]}.jsonl"
        try:
            return [json.loads(line) for line in place.read_text(encoding="utf-8").split("\n") if line]
        except (ValueError, OSError) as error:
            raise RegardError(f"the validation examples in {place} are damaged ({error}); delete them.") from None

    @classmethod
    def open(cls, folder: str | Path) -> ExampleStore:
        """The store in a folder. Raises `RegardError` where there is none or it is damaged."""
        folder = Path(folder)
        try:
            made = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if made["version"] != VERSION:
                raise RegardError(f"the examples in {str(folder)!r} are kept in another version; make them again.")
            stem = made["fingerprint"][:16]
            if not stem.isalnum():
                raise ValueError("its fingerprint is no hash")
            shape = Targets(*made["targets"])
            parts = {name: _part(folder, stem, name, made, shape) for name in PARTS}
        except RegardError:
            raise
        except FileNotFoundError:
            raise RegardError(f"there are no examples in {str(folder)!r}.") from None
        except (KeyError, TypeError, ValueError, OSError, AttributeError) as error:
            raise RegardError(
                f"the examples in {str(folder)!r} are damaged ({error}); delete the folder and run again."
            ) from None
        validation = parts["validation"] if len(parts["validation"]) else None
        return cls(folder, made["fingerprint"], parts["train"], validation, made["facts"], tuple(made["notes"]))


def _part(folder: Path, stem: str, name: str, made: dict[str, Any], shape: Targets) -> ExamplePart:
    count = made["parts"][name]
    kinds = {
        "ids": ({"uint16": "<u2", "uint32": "<u4"}[made["ids"]], count["tokens"]),
        "segments": ("u1", count["tokens"]),
        "ends": ("<i8", count["rows"]),
        "targets": ({"int64": "<i8", "float32": "<f4"}[shape.kind], count["targets"]),
        "starts": ("<i8", count["examples"]),
    }
    arrays = {key: map_array(folder / f"{name}-{key}-{stem}.bin", *kind) for key, kind in kinds.items()}
    starts = np.concatenate([[0], arrays.pop("starts")])
    return ExamplePart(name, **arrays, starts=starts, shape=shape)


ARRAYS = ("ids", "segments", "ends", "targets", "starts")


def fingerprint_of(data: Data, **made_of: Any) -> str:
    """Of the settings, the sources as they lie there, and whatever else a store is made of."""
    named = [*data.source, *data.validation, *getattr(data, "target", ()), *getattr(data, "validation_target", ())]
    everything = {
        "version": VERSION,
        "settings": data.to_dict(),
        "sources": [[name] if name.startswith("builtin:") else identity(name) for name in named],
        **made_of,
    }
    return hashlib.sha256(json.dumps(everything, sort_keys=True, default=str).encode()).hexdigest()


def kept_examples(folder: str | Path, fingerprint: str, say: Say) -> ExampleStore | None:
    """The store in `folder` if it was made of the same, with what was said when it was made."""
    folder = Path(folder)
    if not (folder / MANIFEST).exists():
        return None
    try:
        store = ExampleStore.open(folder)
    except RegardError as error:
        say(f"{str(error).rstrip('.')}: they are made again.")
        return None
    if store.fingerprint != fingerprint:
        return None
    say(f"Using the {len(store.train.starts) - 1:,} examples kept in {folder}, as nothing has changed.")
    for note in store.notes:
        say(note)
    return store


def make_examples(
    examples: Iterable[Encoded],
    targets: Targets,
    vocab_size: int,
    folder: str | Path,
    fingerprint: str,
    facts: dict[str, Any],
    notes: list[str],
    say: Say,
) -> ExampleStore:
    """Writes a store. Raises `RegardError` where nothing is left to train on, or the folder cannot be written."""
    folder = Path(folder)
    with writing(folder):
        _make(examples, targets, width(vocab_size), folder, fingerprint, facts, notes, say)
    return ExampleStore.open(folder)


def _make(
    examples: Iterable[Encoded],
    targets: Targets,
    kind: str,
    folder: Path,
    fingerprint: str,
    facts: dict[str, Any],
    notes: list[str],
    say: Say,
) -> None:
    stem = fingerprint[:16]
    names = [f"{part}-{array}-{stem}.bin" for part in PARTS for array in ARRAYS] + [f"validation-{stem}.jsonl"]
    places = [folder / name for name in names]
    beside = [place.with_name(f".{place.name}.{os.getpid()}") for place in places]
    counts = [{"examples": 0, "rows": 0, "tokens": 0, "targets": 0} for _ in PARTS]
    shortened = cut = 0
    try:
        with ExitStack() as stack:
            opened = [stack.enter_context(path.open("wb")) for path in beside]
            for part, rows, read in examples:
                count, files = counts[part], opened[part * len(ARRAYS) :]
                for row in rows:
                    target = np.atleast_1d(np.asarray(row.target, targets.kind))
                    count["rows"] += 1
                    count["tokens"] += len(row.ids)
                    count["targets"] += len(target)
                    files[0].write(row.ids.astype(np.dtype(kind).newbyteorder("<")).tobytes())
                    files[1].write(row.segments.astype(np.uint8).tobytes())
                    files[2].write(np.int64(count["tokens"]).astype("<i8").tobytes())
                    files[3].write(target.astype(np.dtype(targets.kind).newbyteorder("<")).tobytes())
                    cut += row.cut
                count["examples"] += 1
                files[4].write(np.int64(count["rows"]).astype("<i8").tobytes())
                shortened += any(row.cut for row in rows)
                if part == 1:
                    opened[-1].write(f"{json.dumps(read, ensure_ascii=False)}\n".encode())
            if counts[0]["rows"] == 0:
                raise RegardError("no example is left to train on: give more of them, or a smaller validation part.")
            for file in opened:
                file.flush()
                os.fsync(file.fileno())
        for path, place in zip(beside, places, strict=True):
            os.replace(path, place)
    finally:
        for path in beside:
            path.unlink(missing_ok=True)
    if shortened:
        every = sum(count["examples"] for count in counts)
        notes.append(
            f"{shortened:,} of {every:,} examples were too long for the model and lost their ends, {cut:,} tokens in "
            "all; training.max_length sets how many tokens are read."
        )
        say(notes[-1])
    manifest = {
        "version": VERSION,
        "fingerprint": fingerprint,
        "ids": kind,
        "targets": list(targets),
        "parts": dict(zip(PARTS, counts, strict=True)),
        "facts": facts,
        "notes": notes,
    }
    waiting = folder / f".{MANIFEST}.{os.getpid()}"
    waiting.write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(waiting, folder / MANIFEST)
    for old in folder.glob("*-*"):  # of a store that this one replaces
        if old.suffix in (".bin", ".jsonl") and old.name not in names:
            old.unlink(missing_ok=True)


def chunks(stream: Iterable[Any], size: int = 1024) -> Iterator[list[Any]]:
    """The stream in lists, so that many texts are encoded at once."""
    iterator = iter(stream)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
