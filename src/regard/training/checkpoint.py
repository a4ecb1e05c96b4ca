"""Checkpoints: a folder a step, which is there whole or not at all.

A checkpoint is written beside its place, flushed to the disk, and renamed. Its `checkpoint.json` holds the
state that is not tensors and a checksum of every file. The newest two are kept, so that a damaged one has a
good one behind it. There is no pickle: files are safetensors and JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from regard.settings import RegardError
from regard.store import save_tensors as save_tensors

PREFIX = "step-"
PARTIAL = ".partial-"
MANIFEST = "checkpoint.json"


class CheckpointError(RegardError):
    """A checkpoint that could not be written or read."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on the disk whose every file has the checksum that it was written with."""

    path: Path
    step: int
    state: dict[str, Any]


def load_tensors(path: Path) -> dict[str, Tensor]:
    return load_file(path)


def save(folder: Path, step: int, write: Callable[[Path], object], state: dict[str, Any], keep: int = 2) -> Path:
    """Writes the checkpoint of a step below `folder` and removes all but the newest `keep`.

    `write` is called with an empty folder and puts the files there; `state` is what JSON can hold. If anything
    fails on the way (a full disk, a limit on files), what was begun is removed and `CheckpointError` names the
    last good checkpoint, which is untouched.
    """
    final, partial = folder / f"{PREFIX}{step:09d}", folder / f"{PARTIAL}{step:09d}"
    try:
        for leftover in folder.glob(f"{PARTIAL}*"):
            shutil.rmtree(leftover)
        partial.mkdir(parents=True)
        write(partial)
        files = {file.name: checksum(file) for file in sorted(partial.iterdir())}
        content = {"step": step, "files": files, "state": state}
        text = json.dumps({"sha256": _checksum_of(content), **content}, indent=1, allow_nan=False)
        (partial / MANIFEST).write_text(text, encoding="utf-8")
        for file in partial.iterdir():
            flush(file)
        flush(partial)
        if final.exists():
            shutil.rmtree(final)
        os.replace(partial, final)
        flush(folder)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        cause = _cause(error)
        if isinstance(cause, (OSError, SafetensorError)):
            raise CheckpointError(_why_not_written(cause, f"the checkpoint of step {step}", folder, folder)) from error
        raise
    newer, older = [[p for p in _steps(folder) if (p > final) is after] for after in (True, False)]
    for path in newer + older[keep:]:  # a newer one is of a future that a fall-back to an older one undid
        shutil.rmtree(path, ignore_errors=True)
    return final


def replace_files(folder: Path, write: Callable[[Path], object], what: str = "the model") -> None:
    """Puts the files that `write` makes into `folder`, each whole or not at all, over those that are there."""
    partial = folder / f"{PARTIAL}files"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write(partial)
        for file in sorted(partial.iterdir()):
            flush(file)
            os.replace(file, folder / file.name)
        flush(folder)
    except (OSError, SafetensorError, RegardError) as error:
        reason = _why_not_written(_cause(error), what, folder, folder / "checkpoints")
        raise CheckpointError(reason) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def recording(folder: Path) -> Iterator[None]:
    """Turns what the disk says while the record of the run in `folder` is written into `CheckpointError`."""
    try:
        yield
    except OSError as error:
        reason = _why_not_written(error, "the record of the run", folder, folder / "checkpoints")
        raise CheckpointError(reason) from error


def load_newest(folder: Path, tell: Callable[[str], object] = print) -> Checkpoint | None:
    """The newest checkpoint below `folder` that is undamaged, or None where there is none.

    Each damaged one on the way is told. Raises `CheckpointError` if there are checkpoints and none is good.
    """
    steps = _steps(folder)
    for path in steps:
        try:
            return _read(path)
        except CheckpointError as error:
            tell(f"{error} The one before it is used.")
    if steps:
        raise CheckpointError(
            f"every checkpoint in {folder} is damaged; train into another folder, or again from the start."
        )
    return None


def newest_step(folder: Path) -> int | None:
    """The step of the newest checkpoint below `folder`, good or not; None where there is none."""
    return next((int(path.name.removeprefix(PREFIX)) for path in _steps(folder)), None)


def prepare(folder: Path) -> None:
    """Makes the folder and proves that it can be written. Raises `RegardError` before any work is done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f"{PARTIAL}probe-{os.getpid()}"
        probe.write_bytes(b"\0")
        probe.unlink()
    except OSError as error:
        raise RegardError(
            f"nothing can be written to {folder} ({_reason(error)}); give another folder to write to."
        ) from None


def checksum(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name != "posix":
        return  # Windows cannot open a folder
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _steps(folder: Path) -> list[Path]:
    """The checkpoints below a folder, newest first."""
    return sorted(folder.glob(f"{PREFIX}*"), reverse=True)


def _read(path: Path) -> Checkpoint:
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if manifest.pop("sha256") != _checksum_of(manifest):
            raise CheckpointError(f"the checkpoint {path} is damaged: {MANIFEST} was changed.")
        for name, expected in manifest["files"].items():
            if Path(name).name != name or checksum(path / name) != expected:
                raise CheckpointError(f"the checkpoint {path} is damaged: {name} was changed or cut.")
        return Checkpoint(path, manifest["step"], manifest["state"])
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        if isinstance(error, CheckpointError):
            raise
        reason = _reason(error) if isinstance(error, OSError) else f"{MANIFEST} cannot be read"
        raise CheckpointError(f"the checkpoint {path} is damaged: {reason}.") from None


def _checksum_of(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _why_not_written(error: BaseException, what: str, folder: Path, checkpoints: Path) -> str:
    good = newest_step(checkpoints)
    if good is None:
        rest = "no earlier checkpoint exists; make room and start again"
    else:
        rest = f"the last good checkpoint, of step {good}, is kept; make room and run again to go on from it"
    return f"{what} could not be written to {folder} ({_reason(error)}); {rest}."


def _cause(error: BaseException) -> BaseException:
    """What the disk said, beneath a sentence for the user."""
    return error.__context__ if isinstance(error, RegardError) and error.__context__ else error


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error).rstrip(".")
