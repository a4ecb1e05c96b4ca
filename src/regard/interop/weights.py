"""The weights of a folder that others wrote: safetensors, in one file or several. No pickle, ever.

Names and shapes are known from the files' headers, and compared, before any number is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from regard.settings import RegardError

ONE, INDEX = "model.safetensors", "model.safetensors.index.json"
FLOATS = ("F64", "F32", "F16", "BF16")
MOST_JSON = 64 << 20  # bytes of a JSON file
MOST_FILES = 1024

CONVERT = (
    'python -c "import torch, safetensors.torch as s; s.save_file({n: t.clone() for n, t in '
    "torch.load('pytorch_model.bin', weights_only=True).items()}, 'model.safetensors')\""
)


def read_json(path: Path, what: type = dict) -> Any:
    """A JSON file of bounded size that holds a dict, or `what`. Raises `RegardError`."""
    try:
        if path.stat().st_size > MOST_JSON:
            raise RegardError(f"{path} has {path.stat().st_size:,} bytes, and {MOST_JSON:,} are the most it may have.")
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RegardError(f"{path} is missing.") from None
    except OSError as error:
        raise RegardError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError):
        raise RegardError(f"{path} is not JSON: copy it again.") from None
    if not isinstance(values, what):
        raise RegardError(f"{path} must hold a JSON {'object' if what is dict else 'array'}, and does not.")
    return values


class Weights:
    """Their tensors by name: `shapes` at once, the numbers when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.types: dict[str, str] = {}
        self._files: dict[str, Path] = {}
        for path, known in _files(folder).items():
            self._note(path, known)

    def _note(self, path: Path, known: set[str] | None) -> None:
        with ExitStack() as stack:
            file = _open(path, stack)
            for name in file.keys():  # noqa: SIM118
                if known is None or name in known:
                    tensor = file.get_slice(name)
                    self.shapes[name], self.types[name] = tuple(tensor.get_shape()), tensor.get_dtype()
                    self._files[name] = path

    def load(self, names: Iterable[str]) -> dict[str, Tensor]:
        """These tensors, a file at a time. Raises `RegardError` for one that holds no floating-point numbers."""
        wanted: dict[Path, list[str]] = {}
        for name in names:
            if self.types[name] not in FLOATS:
                raise RegardError(
                    f"{self.folder}: {name} is of type {self.types[name]}, and only {', '.join(FLOATS)} are read: "
                    "take weights that are not quantised."
                )
            wanted.setdefault(self._files[name], []).append(name)
        tensors: dict[str, Tensor] = {}
        for path, here in wanted.items():
            with ExitStack() as stack:
                file = _open(path, stack)
                # Copied to where torch aligns memory: the last bits of products of few rows depend on that.
                tensors |= {name: file.get_tensor(name).clone() for name in here}
        return tensors


def _open(path: Path, stack: ExitStack) -> Any:
    try:
        return stack.enter_context(safe_open(path, framework="pt"))
    except FileNotFoundError:
        raise RegardError(f"{path} is missing: copy all files of the model.") from None
    except (SafetensorError, OSError) as error:
        raise RegardError(f"{path} is damaged ({error}): copy it again.") from None


def _files(folder: Path) -> dict[Path, set[str] | None]:
    """The files of the weights, and which of their tensors count (None: all)."""
    if (folder / ONE).is_file():
        return {folder / ONE: None}
    if not (folder / INDEX).is_file():
        raise RegardError(_without(folder))
    names = read_json(folder / INDEX).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(file, str) for file in names.values()):
        raise RegardError(f"{folder / INDEX} does not say which file holds which weight: copy it again.")
    files: dict[Path, set[str] | None] = {}
    for name, file in names.items():
        if Path(file).name != file or not file.endswith(".safetensors") or "\\" in file:
            raise RegardError(f"{folder / INDEX} names {file[:80]!r}, which is no safetensors file of this folder.")
        known = files.setdefault(folder / file, set())
        assert known is not None
        known.add(name)
    if len(files) > MOST_FILES:
        raise RegardError(f"{folder / INDEX} names {len(files):,} files, and {MOST_FILES:,} are the most.")
    return files


def _without(folder: Path) -> str:
    pickles = [*folder.glob("pytorch_model*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth"), *folder.glob("*.ckpt")]
    if not pickles:
        return f"{folder} has no {ONE}: a model needs its weights beside its settings."
    return (
        f"{folder} has its weights in {pickles[0].name}, a pickle, which can run any program when it is opened, so it "
        f"is not read: take {ONE} from where the model came from, or make it there with {CONVERT}"
    )
