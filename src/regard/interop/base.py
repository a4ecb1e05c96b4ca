"""The contract of an architecture: one table, which reads a published config.json and says where each weight lies.

    config(values)   the settings with the same arithmetic
    names(config)    our weights → theirs, `*` for the number of a layer, without .weight and .bias:
                     {"encoder.layers.*.attention.q": "encoder.layer.*.attention.self.query"}

Names, transposes and fused projections are matters of the table; arithmetic is one of the settings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor

from regard.model import ModelConfig
from regard.settings import RegardError, nearest

T = TypeVar("T")

MOST = 1e30

Shape = tuple[int, ...]


class Values:
    """A config.json, which anybody may have written: asked for one value at a time, each of the type that it must have.

    Raises `RegardError` that names the file, the setting and what was expected.
    """

    def __init__(self, values: dict[str, Any], where: str) -> None:
        self.values, self.where = values, where

    def has(self, name: str) -> bool:
        """Whether it is there, and not null."""
        return self.values.get(name) is not None

    def first(self, *names: str) -> str:
        """The first of these names that is there; the last, if none is."""
        return next((name for name in names if self.has(name)), names[-1])

    def part(self, name: str) -> Values:
        """The settings within a setting; none where it is missing."""
        return Values(self._of(name, {}, dict, "an object"), f"{self.where}: {name}")

    def whole(self, name: str, default: int | None = None) -> int:
        return self._of(name, default, int, "a whole number")

    def number(self, name: str, default: float | None = None) -> float:
        value = self.values.get(name)
        value = value if type(value) is int else self._of(name, default, float, "a number")
        if not -MOST < value < MOST:
            raise RegardError(f"{self.where}: {name} is {str(value)[:40]}, which is no number of a model.")
        return float(value)

    def text(self, name: str, default: str | None = None) -> str:
        return self._of(name, default, str, "a text")

    def flag(self, name: str, default: bool) -> bool:
        return self._of(name, default, bool, "true or false")

    def choice(self, name: str, known: Mapping[str, T], default: str | None = None) -> T:
        """What stands for the value, which must be one of the known ones."""
        value = self.text(name, default)
        if value not in known:
            raise RegardError(f"{self.where}: {name} {value!r} is not known here{nearest(value, known)}")
        return known[value]

    def only(self, **expected: Any) -> None:
        """Refuse what is not yet known: each of these settings is missing, null, or has this value."""
        for name, value in expected.items():
            found = self.values.get(name)
            if found is not None and found != value:
                raise RegardError(f"{self.where}: {name} {found!r} cannot be expressed here; only {value!r} can.")

    def _of(self, name: str, default: T | None, kind: type[T], what: str) -> T:
        value = self.values.get(name)
        value = default if value is None else value
        if type(value) is not kind:
            found = "is missing" if value is None else f"is {str(value)[:40]!r}"
            raise RegardError(f"{self.where}: {name} {found} and must be {what}.")
        return value


class Cut(NamedTuple):
    """Where a weight lies that is not a tensor of its own: a part of one, turned, or many that are stacked here.

    name         theirs; `*` is the number of the layer, and `#`, where they are stacked, that of the tensor
    part, of     part number `part` of so many equal ones, or of parts that have such shares of the rows
    groups       the rows are in so many groups (heads), each of which has all of these parts
    transposed   theirs is [in out]
    stacked      ours is so many of theirs, one behind the other
    """

    name: str
    part: int = 0
    of: int | tuple[int, ...] = 1
    groups: int = 1
    transposed: bool = False
    stacked: int | None = None

    @property
    def names(self) -> list[str]:
        """Of their tensors."""
        return [self.name] if self.stacked is None else [self.name.replace("#", str(n)) for n in range(self.stacked)]

    @property
    def shares(self) -> tuple[int, ...]:
        return (1,) * self.of if isinstance(self.of, int) else self.of

    def whole(self, shape: Shape) -> Shape:
        """The shape of each of their tensors, for one of ours."""
        rows, *rest = shape if self.stacked is None else shape[1:]
        shape = (rows * sum(self.shares) // self.shares[self.part], *rest)
        return shape[::-1] if self.transposed else shape

    def taken(self, theirs: Mapping[str, Tensor]) -> Tensor:
        """Ours, of theirs."""
        parts = [self._part(theirs[name]).flatten(0, 1) for name in self.names]
        return parts[0] if self.stacked is None else torch.stack(parts)

    def put(self, ours: Tensor, theirs: dict[str, Tensor]) -> None:
        """Theirs, of ours: the way back. Tensors that are not there yet are made."""
        for name, tensor in zip(self.names, [ours] if self.stacked is None else ours, strict=True):
            if name not in theirs:
                theirs[name] = ours.new_empty(self.whole(tuple(ours.shape)))
            self._part(theirs[name]).copy_(tensor.unflatten(0, (self.groups, -1)))

    def _part(self, tensor: Tensor) -> Tensor:
        """The part in their tensor, group by group [groups rows …], as a view."""
        tensor = tensor.t() if self.transposed and tensor.dim() == 2 else tensor
        share = tensor.shape[0] // (self.groups * sum(self.shares))
        first = share * sum(self.shares[: self.part])
        return tensor.unflatten(0, (self.groups, -1)).narrow(1, first, share * self.shares[self.part])


class Architecture:
    """A published architecture. One instance a table, in `regard.interop.architectures`."""

    model_types: ClassVar[tuple[str, ...]]
    """What `model_type` in config.json says."""

    prefix: ClassVar[str] = ""
    """What their names begin with where a head stands beside the model, `bert.`; tables leave it out."""

    renamed: ClassVar[dict[str, str]] = {"gamma": "weight", "beta": "bias"}
    """Last parts of names as old files have them."""

    def config(self, values: Values) -> ModelConfig:
        raise NotImplementedError

    def names(self, config: ModelConfig) -> dict[str, str | Cut]:
        raise NotImplementedError

    def tied(self, config: ModelConfig) -> dict[str, str]:
        """Their names of tensors that may be written a second time: copy → original."""
        return {}

    def unused(self, config: ModelConfig) -> tuple[str, ...]:
        """Their tensors, `*` for anything, that may be there although the model has no use for them."""
        return ()

    # — the engine, the same for all —

    def plain(self, name: str) -> str:
        """Their name as tables write it."""
        front, _, last = name.removeprefix(self.prefix).rpartition(".")
        return f"{front}.{self.renamed.get(last, last)}" if front else last

    def sources(self, config: ModelConfig, ours: Mapping[str, Tensor]) -> dict[str, Cut]:
        """Where each of our tensors lies in theirs."""
        table = self.names(config)
        return {name: _source(name, table) for name in ours}

    def theirs(self, config: ModelConfig, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our tensors as they name and lay them, copies left out; without the prefix."""
        tensors: dict[str, Tensor] = {}
        for name, cut in self.sources(config, ours).items():
            cut.put(ours[name], tensors)
        return tensors

    def is_unused(self, config: ModelConfig, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.unused(config))


def _source(name: str, table: Mapping[str, str | Cut]) -> Cut:
    layer = re.search(r"(?<=\.layers\.)\d+(?=\.)", name)
    pattern = name if layer is None else f"{name[: layer.start()]}*{name[layer.end() :]}"
    front, _, last = pattern.rpartition(".")
    found, last = (table[pattern], "") if pattern in table else (table[front], f".{last}")
    cut = Cut(found) if isinstance(found, str) else found
    return cut._replace(name=cut.name.replace("*", layer.group() if layer else "*") + last)
