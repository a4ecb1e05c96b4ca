"""Recordings with their words: from a folder, an archive, or a list.

    list.tsv, list.jsonl      rows with `path` and `text`, and if there are, `speaker` and `part`; paths are those of
                              files beside the list
    a folder, a .tar(.gz)     with such a list in it; or named as spoken digits are, {digit}_{speaker}_{number}.wav

Where no `part` is given, one recording in twenty is kept apart for validation, by its name. Spoken digits have the
published parts: numbers 0 to 4 of each digit and speaker are the test; of the others, 5 and 6 are for validation.

Source   the names and parts of spoken digits: Jackson et al., github.com/Jakobovski/free-spoken-digit-dataset.
"""

from __future__ import annotations

import csv
import json
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from regard.data.audio import SUFFIXES, read_sound
from regard.data.sources import existing, files
from regard.seeds import derive_seed
from regard.settings import RegardError

PARTS = ("train", "validation", "test")

MOST_SECONDS = 12 * 3600.0
"""Of all recordings together: they are held in memory (2.8 GB at 16 kHz)."""

MOST_BYTES = 1 << 30
"""Of one file in an archive."""

LISTS = (".tsv", ".jsonl")
NAMES = {"path": ("path", "file", "audio", "audio_filepath"), "text": ("text", "sentence", "transcript")}
DIGIT = re.compile(r"(\d)_([^_/]+)_(\d+)\.\w+")


class Recording(NamedTuple):
    """A sound and what is said in it."""

    name: str
    samples: np.ndarray
    """[n] float32."""
    text: str
    speaker: str = ""
    part: str = "train"


def read_recordings(source: str, rate: int, longest: float = 60.0) -> list[Recording]:
    """The recordings of a source, at `rate` samples a second, in the order of their names; each of at most `longest`
    seconds. Raises `RegardError`.
    """
    path = existing(source)
    rows: Iterable[dict[str, str]] | None = None
    if path.is_file() and path.suffix in LISTS:
        rows = list(_rows(path.read_bytes(), source, path.suffix))
        wanted = {str(row["path"]): path.parent / row["path"] for row in rows}
        missing = next((name for name, file in wanted.items() if not file.is_file()), None)
        if missing is not None:
            raise RegardError(f"{source} names {missing!r}, and there is no such file beside it.")
        every: Iterable[tuple[str, Path | bytes]] = wanted.items()
    elif path.is_file():
        every = _archive(path)
    else:
        every = ((file.relative_to(path).as_posix(), file) for file in files(path))

    sounds: dict[str, np.ndarray] = {}
    lists: dict[str, bytes] = {}
    seconds = 0.0
    for name, content in every:
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in LISTS:
            lists[name] = content if isinstance(content, bytes) else content.read_bytes()
        elif suffix in SUFFIXES or rows is not None:
            sound = read_sound(content, rate, name=f"{source}: {name}", longest=longest)
            seconds += sound.seconds
            if seconds > MOST_SECONDS:
                raise RegardError(
                    f"{source} holds more than {MOST_SECONDS / 3600:.0f} hours of sound, which is read into memory: "
                    "give less."
                )
            sounds[name] = sound.samples
    if not sounds:
        raise RegardError(f"{source} holds no recordings: files such as .wav or .flac were expected.")
    if rows is None and lists:
        name = min(lists, key=lambda name: (name.count("/"), name))
        base = PurePosixPath(name).parent
        rows = [{**row, "path": (base / row["path"]).as_posix()} for row in _rows(lists[name], name, name[-6:])]
    found = list(_listed(rows, sounds, source) if rows is not None else _digits(sounds, source))
    return sorted(found, key=lambda recording: recording.name)


def _archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """The files in a tar, by name, read in memory: nothing of it is ever written."""
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                wanted = name.suffix.lower() in (*SUFFIXES, *LISTS) and not name.name.startswith(".")
                if not member.isfile() or not wanted:
                    continue
                if member.size > MOST_BYTES:
                    raise RegardError(
                        f"{path}: {member.name} has {member.size:,} bytes, more than the {MOST_BYTES:,} that are read."
                    )
                content = archive.extractfile(member)
                assert content is not None
                yield name.as_posix(), content.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise RegardError(f"{path} is damaged or no archive: {str(error) or type(error).__name__}.") from None


def _rows(content: bytes, name: str, suffix: str) -> Iterator[dict[str, str]]:
    """The rows of a list: path, text, and what else there is."""
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise RegardError(f"{name} is not UTF-8: convert it first.") from None
    every: Iterable[dict[str, object]]
    if suffix.endswith(".tsv"):
        every = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        every = (_json(line, f"{name}, line {number},") for number, line in enumerate(lines, 1) if line.strip())
    for number, row in enumerate(every, start=1):
        found = {key: next((row[name] for name in names if name in row), None) for key, names in NAMES.items()}
        if not isinstance(found["path"], str) or not isinstance(found["text"], str):
            raise RegardError(f"{name}, row {number}, needs a `path` and a `text`; it has {', '.join(map(str, row))}.")
        for key in ("speaker", "part"):
            if row.get(key) is not None:
                found[key] = str(row[key])
        if found.get("part", "train") not in PARTS:
            raise RegardError(f"{name}, row {number}: the part is one of {', '.join(PARTS)}, not {found['part']!r}.")
        yield {key: str(value) for key, value in found.items()}


def _json(line: str, where: str) -> dict[str, object]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise RegardError(f'{where} is no JSON object, such as {{"path": "a.wav", "text": "…"}}.')
    return row


def _listed(rows: Iterable[dict[str, str]], sounds: dict[str, np.ndarray], source: str) -> Iterator[Recording]:
    for row in rows:
        name = row["path"]
        if name not in sounds:
            raise RegardError(f"{source} lists {name!r}, and holds no such recording.")
        drawn = "validation" if derive_seed("part", name) % 20 == 0 else "train"
        yield Recording(name, sounds[name], row["text"], row.get("speaker", ""), row.get("part", drawn))


def _digits(sounds: dict[str, np.ndarray], source: str) -> Iterator[Recording]:
    for name, samples in sounds.items():
        found = DIGIT.fullmatch(PurePosixPath(name).name)
        if not found:
            raise RegardError(
                f"{source} does not say what is spoken in {name}: put a list.tsv beside it, with the columns path and "
                "text."
            )
        digit, speaker, number = found[1], found[2], int(found[3])
        yield Recording(
            name, samples, digit, speaker, "test" if number < 5 else "validation" if number < 7 else "train"
        )
