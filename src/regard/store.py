"""A model on disk: a folder of the parameters and the few settings that say what code to run on them. No pickle.

config.json         the settings of the model
model.safetensors   the parameters, each tensor once
tokenizer.json      text ⇄ ids
target_tokenizer.json
                    the same for what a model writes, where that has a vocabulary of its own
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from regard.model import ModelConfig, Transformer
from regard.settings import RegardError, SettingsError
from regard.text import Tokenizer

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
TARGET_TOKENIZER = "target_tokenizer.json"
FORMAT = 1


def tensors_of(model: torch.nn.Module) -> dict[str, Tensor]:
    """The model's tensors by name, each once: a shared table has the first of its names."""
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[name] = tensor.detach()
    return tensors


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file that others may read as the umask says; the library keeps it to its owner."""
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(whole, path, metadata={"format": "pt"})
    path.chmod(mode)


def save_model(
    folder: str | os.PathLike[str],
    model: Transformer,
    tokenizer: Tokenizer | None = None,
    tensors: dict[str, Tensor] | None = None,
    target_tokenizer: Tokenizer | None = None,
) -> Path:
    """Write the model's folder; each file is written beside and renamed, so that none is ever half a file.

    `tensors` are written in place of the model's own: an average of its weights, or parts gathered from processes.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tensors = tensors_of(model) if tensors is None else tensors
        _replace(folder / WEIGHTS, lambda path: save_tensors(path, tensors))
        if tokenizer is not None:
            tokenizer.save(folder / TOKENIZER)
        if target_tokenizer is not None:
            target_tokenizer.save(folder / TARGET_TOKENIZER)
        config = {"regard": FORMAT, "model": model.config.to_dict()}
        _replace(folder / CONFIG, lambda path: path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n"))
    except OSError as error:
        raise RegardError(f"cannot write the model to {folder}: {error.strerror or error}.") from None
    except SafetensorError as error:
        raise RegardError(f"cannot write the model to {folder}: {error}.") from None
    return folder


def load_config(folder: str | os.PathLike[str]) -> ModelConfig:
    """The settings of the model in a folder. Raises `RegardError` if there is none."""
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise RegardError(f"{folder} is no model: it has no {CONFIG}.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise RegardError(f"{path} cannot be read: {error}.") from None
    if not isinstance(values, dict) or "regard" not in values or "model" not in values:
        raise RegardError(f"{path} was not written by regard: it has no settings of a model.")
    if values["regard"] != FORMAT:
        raise RegardError(
            f"{path} has format {values['regard']}, and this version of regard reads {FORMAT}: update it."
        )
    try:
        return ModelConfig.from_dict(values["model"])
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None


def load_model(folder: str | os.PathLike[str]) -> Transformer:
    """The model in a folder, ready to run on the CPU. The weights must fit the settings exactly.

    Nothing is allocated before the file's own list of shapes has been compared with the settings, so that a
    damaged or hostile folder costs no more memory than its files.
    """
    folder = Path(folder)
    with torch.device("meta"):
        model = Transformer(load_config(folder))
    load_tensors(model, folder / WEIGHTS)
    return model.eval()


def load_tensors(model: Transformer, path: Path) -> None:
    """Fill a model, which may stand on the meta device, from a safetensors file."""
    expected = tensors_of(model)
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            check_shapes(path, {name: tuple(tensor.shape) for name, tensor in expected.items()}, shapes)
            # Copied to where torch aligns memory: the last bits of products of few rows depend on that.
            tensors = {name: file.get_tensor(name).clone() for name in shapes}
    except FileNotFoundError:
        raise RegardError(f"{path} is missing: a model needs its parameters beside its settings.") from None
    except (SafetensorError, OSError) as error:
        raise RegardError(
            f"{path} is damaged ({error}): copy it again, or take one from the run's checkpoints."
        ) from None
    fill(model, tensors)


def fill(model: Transformer, tensors: dict[str, Tensor]) -> None:
    """Give a model, which may stand on the meta device, its tensors: those that `tensors_of` names."""
    firsts = {id(tensor): name for name, tensor in model.state_dict(keep_vars=True).items() if name in tensors}
    whole = dict(tensors)
    for name, tensor in model.state_dict(keep_vars=True).items():
        whole.setdefault(name, tensors[firsts[id(tensor)]] if id(tensor) in firsts else tensor)
    model.load_state_dict(whole, assign=True)


def check_shapes(path: Path, expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> None:
    """Raises `RegardError` with a short list of differences unless both have the same names and shapes."""
    differences = [f"{name} is missing" for name in expected if name not in found]
    differences += [f"{name} is not expected" for name in found if name not in expected]
    differences += [
        f"{name} has shape {list(found[name])} where the settings say {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    if differences:
        more = f", and {len(differences) - 4} more" if len(differences) > 4 else ""
        raise RegardError(f"{path} does not fit the model's settings: {'; '.join(differences[:4])}{more}.")


def load_tokenizer(folder: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer in a model's folder."""
    path = Path(folder) / TOKENIZER
    if not path.is_file():
        raise RegardError(f"{folder} has no {TOKENIZER}: name one with --tokenizer FILE.")
    return Tokenizer.load(path)


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(beside)
        with open(beside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
