"""A Hugging Face folder becomes a model: its config.json, its safetensors, and what stands beside them.

Everything is compared before anything is allocated: a weight that is missing, unexpected or misshapen is an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from regard.heads import Embed
from regard.interop.architectures import ARCHITECTURES
from regard.interop.base import Architecture, Values
from regard.interop.weights import Weights, read_json
from regard.model import ModelConfig, Transformer
from regard.settings import RegardError, SettingsError, nearest
from regard.store import CONFIG, check_shapes, fill, tensors_of
from regard.text import Tokenizer

MODULES, SENTENCES = "modules.json", "sentence_bert_config.json"
POOLINGS = {"cls": "first", "mean": "mean", "max": "max"}


class Foreign(NamedTuple):
    """What was read from others: a model on the CPU, ready to run, and its tokenizer (None: it was not asked for)."""

    transformer: Transformer
    tokenizer: Tokenizer | None


def is_foreign(folder: Path) -> bool:
    """Whether a folder is as others write it: its config.json names an architecture."""
    path = folder / CONFIG
    return path.is_file() and "model_type" in read_json(path)


def read(folder: Path, tokenizer: bool = True) -> Foreign:
    """The model in a Hugging Face folder, and its tokenizer.

    Raises `RegardError`: the architecture is not known, a setting cannot be expressed, or weights do not fit.
    """
    architecture, config = _settings(folder)
    return Foreign(_model(architecture, config, Weights(folder)), Tokenizer.load(folder) if tokenizer else None)


def config_of(folder: Path) -> ModelConfig:
    """The settings of the model in a Hugging Face folder, its weights unread. Raises `RegardError`."""
    return _settings(folder)[1]


def _settings(folder: Path) -> tuple[Architecture, ModelConfig]:
    values = Values(read_json(folder / CONFIG), str(folder / CONFIG))
    architecture = ARCHITECTURES.get(kind := values.text("model_type"))
    if architecture is None:
        raise RegardError(f"{values.where}: a {kind[:60]!r} cannot be read yet{nearest(kind, ARCHITECTURES)}")
    try:
        config = architecture.config(values)
        return architecture, config.replace(head=_sentence_head(folder)) if (folder / MODULES).is_file() else config
    except SettingsError as error:
        raise SettingsError(f"{values.where}: {error}") from None


def _model(architecture: Architecture, config: ModelConfig, weights: Weights) -> Transformer:
    n_layers = max(stack.n_layers for stack in config.stacks.values())
    if n_layers > len(weights.shapes):
        raise RegardError(f"{weights.folder} has {len(weights.shapes)} weights, and {CONFIG} says {n_layers} layers.")
    with torch.device("meta"):
        model = Transformer(config)
    ours = tensors_of(model)
    sources = architecture.sources(config, ours)
    theirs: dict[str, str] = {}
    for name in weights.shapes:
        plain = architecture.plain(name)
        if theirs.setdefault(plain, name) != name:
            raise RegardError(f"{weights.folder} has both {theirs[plain]} and {name}, which are the same weight.")
    copies = {copy: of for copy, of in architecture.tied(config).items() if copy in theirs}
    n_stacked = sum({cut.name: cut.stacked or 0 for cut in sources.values()}.values())
    if n_stacked > len(weights.shapes):
        raise RegardError(
            f"{weights.folder} has {len(weights.shapes)} weights, and {CONFIG} says {n_stacked} of experts."
        )
    expected = {one: cut.whole(tuple(ours[name].shape)) for name, cut in sources.items() for one in cut.names}
    expected |= {copy: expected[of] for copy, of in copies.items()}
    found = {plain: weights.shapes[name] for plain, name in theirs.items()}
    found = {
        name: shape for name, shape in found.items() if name in expected or not architecture.is_unused(config, name)
    }
    check_shapes(weights.folder, expected, found)

    tensors = weights.load([theirs[name] for name in expected])
    for copy, of in copies.items():
        if not torch.equal(tensors[theirs[copy]], tensors[theirs[of]]):
            raise RegardError(
                f"{weights.folder}: {copy} differs from {of}, which it must equal: the weights are damaged."
            )
    types = {tensor.dtype for tensor in tensors.values()}
    dtype = types.pop() if len(types) == 1 else torch.float32
    named = {plain: tensors[name] for plain, name in theirs.items() if name in tensors}
    taken = {name: cut.taken(named).to(dtype).contiguous() for name, cut in sources.items()}
    fill(model, taken)
    return model.eval()


def _sentence_head(folder: Path) -> Embed:
    """What sentence-transformers puts behind a model, as its modules.json lists it: pooling, and perhaps a norm."""
    modules = read_json(folder / MODULES, list)
    named = [module for module in modules if isinstance(module, dict)]
    types = [str(module.get("type")).rpartition(".")[2] for module in named]
    if types not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise RegardError(
            f"{folder / MODULES} lists {', '.join(types)[:200] or 'nothing'}, and what can be expressed is "
            "Transformer, Pooling, and Normalize."
        )
    place = str(named[1].get("path"))
    if named[0].get("path") not in ("", None) or Path(place).name != place or place == ".." or "\\" in place:
        raise RegardError(f"{folder / MODULES} names {place[:80]!r}, which is no folder within this one.")
    pooling = read_json(folder / place / CONFIG)
    modes = {
        name.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
        for name, on in pooling.items()
        if name.startswith("pooling_mode_") and on is True
    }
    modes = modes or {str(pooling.get("pooling_mode"))}
    if len(modes) != 1 or not modes <= POOLINGS.keys():
        raise RegardError(
            f"{folder / place / CONFIG}: pooling by {' and '.join(sorted(modes))[:80]} is not known here; known are "
            f"{', '.join(POOLINGS)}."
        )
    path = folder / SENTENCES
    how = Values(read_json(path), str(path)) if path.is_file() else None
    length = how.whole("max_seq_length") if how is not None and how.values.get("max_seq_length") is not None else None
    return Embed(pooling=POOLINGS[modes.pop()], normalise="Normalize" in types, length=length)
