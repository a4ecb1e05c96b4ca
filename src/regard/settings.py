"""Settings: frozen, typed values that nest, are written as JSON or TOML, and answer a typo with its nearest name.

A `Settings` is a bag of named values. A `Part` is a `Settings` that stands for one choice among several
(a position encoding, an attention mechanism) and is written with its `kind`:

    {"kind": "rotary", "base": 500000.0}

A kind is written at its class, `class Rotary(Position, kind="rotary")`, and exists where its family's folder or file
names the class: one line in `__init__.py`.
"""

from __future__ import annotations

import difflib
import importlib
import tomllib
import types
import typing
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, TypeVar

import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError, model_serializer, model_validator
from pydantic_core import core_schema

T = TypeVar("T")
S = TypeVar("S", bound="Settings")
P = TypeVar("P", bound="Part")


class RegardError(ValueError):
    """Something the user can mend: the message is one sentence that says what was wrong and what to do.

    The command line prints it without a traceback and ends with exit code 2.
    """


class SettingsError(RegardError):
    """A setting that does not exist, has the wrong type, or goes with another badly."""


def nearest(word: str, words: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` where a known word is close, else a list of the known ones."""
    known = sorted(words)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}."


class Settings(BaseModel):
    """Frozen, typed values. An unknown key or a wrong type is one `SettingsError`."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, protected_namespaces=())

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(_one_line(error, type(self))) from None

    # Nested settings are validated by pydantic itself, so that an error knows its whole path.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        for key in values:
            if key not in cls.model_fields and not (key == "kind" and issubclass(cls, Part)):
                raise ValueError(f"{cls.__name__} has no setting {key!r}{cls._instead_of(key)}")
        # TOML has no null, so "none" stands for it wherever a field may be None (and is no text or part).
        return {
            key: None if value == "none" and _may_be_none(cls.model_fields[key].annotation) else value
            for key, value in values.items()
            if key in cls.model_fields
        }

    @classmethod
    def _instead_of(cls, key: str) -> str:
        """What to write in place of a setting that there is not."""
        return nearest(key, cls.model_fields) if cls.model_fields else ", for it has none."

    @classmethod
    def from_dict(cls: type[S], values: dict[str, Any]) -> S:
        """Settings from plain values, as JSON or TOML hold them. Raises `SettingsError`."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError(_one_line(error, cls)) from None

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold; `from_dict` gives the same settings back."""
        return self.model_dump(mode="json")

    @classmethod
    def from_toml(cls: type[S], text: str) -> S:
        try:
            return cls.from_dict(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"this is not TOML: {error}.") from None

    def to_toml(self) -> str:
        return tomli_w.dumps(_without_none(self.to_dict()))

    def replace(self: S, **changes: Any) -> S:
        """A copy with some values changed, checked again."""
        return type(self)(**{**{name: getattr(self, name) for name in type(self).model_fields}, **changes})


class Part(Settings):
    """One choice among several of a family, known by its `kind`.

    A family is a direct subclass and names the module where its kinds are; a kind is a leaf below it:

        class Position(Part, family="regard.positions"): ...
        class Rotary(Position, kind="rotary"): ...
    """

    kind: ClassVar[str] = ""
    _family: ClassVar[str]

    def __init_subclass__(cls, family: str | None = None, kind: str | None = None, **more: Any) -> None:
        super().__init_subclass__(**more)
        if family is not None:
            cls._family = family
        if kind is not None:
            cls.kind = kind

    @classmethod
    def __pydantic_init_subclass__(cls, family: str | None = None, kind: str | None = None, **more: Any) -> None:
        super().__pydantic_init_subclass__(**more)

    @classmethod
    def kinds(cls: type[P]) -> dict[str, type[P]]:
        """The kinds of this family by name, in the order in which its folder or file names them."""
        every = vars(importlib.import_module(cls._family)).values()
        return {part.kind: part for part in every if isinstance(part, type) and issubclass(part, cls) and part.kind}

    @classmethod
    def _instead_of(cls, key: str) -> str:
        family: Any = next(base for base in cls.__mro__ if "_family" in vars(base))
        having = [kind for kind, part in family.kinds().items() if key in part.model_fields]
        if not having or difflib.get_close_matches(key, cls.model_fields, n=1, cutoff=0.5):
            return super()._instead_of(key)
        return f"; a kind that has it is {having[0]!r}."

    @classmethod
    def resolve(cls, value: Any) -> Part:
        """A part from a part, from `"rotary"`, or from `{"kind": "rotary", …}`."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, dict) or "kind" not in value:
            raise ValueError(
                f"expected the kind of a {cls.__name__}, such as {next(iter(cls.kinds()))!r}, got {value!r}"
            )
        kinds = cls.kinds()
        if value["kind"] not in kinds:
            raise ValueError(f"no {cls.__name__} is called {value['kind']!r}{nearest(str(value['kind']), kinds)}")
        return kinds[value["kind"]].model_validate({key: v for key, v in value.items() if key != "kind"})

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        if "_family" in cls.__dict__:  # the family itself: any of its kinds
            return core_schema.no_info_plain_validator_function(
                cls.resolve,
                serialization=core_schema.plain_serializer_function_ser_schema(lambda part: part.to_dict()),
            )
        return handler(source)

    @model_serializer(mode="wrap")
    def _with_kind(self, handler: Any) -> dict[str, Any]:
        return {"kind": self.kind, **handler(self)}


class _OneOrMany:
    """Pydantic's schema of `PerLayer`: tells one from many by hand, so that a typo gives one error."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        part = typing.get_args(source)[0]

        def validate(value: Any) -> Any:
            if isinstance(value, (list, tuple)):
                if not value:
                    raise ValueError(f"expected at least one {part.__name__}, got none")
                return tuple(part.resolve(item) for item in value)
            return part.resolve(value)

        def serialise(value: Any) -> Any:
            return [item.to_dict() for item in value] if isinstance(value, tuple) else value.to_dict()

        return core_schema.no_info_plain_validator_function(
            validate, serialization=core_schema.plain_serializer_function_ser_schema(serialise)
        )


PerLayer = Annotated[T | tuple[T, ...], _OneOrMany()]
"""One part for all layers, or a tuple of parts that repeats down the stack."""


def of_layer(value: Any, layer: int) -> Any:
    """What a `PerLayer` setting holds for layer number `layer`, counted from 0."""
    return value[layer % len(value)] if isinstance(value, tuple) else value


def override(values: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Plain values with `a.b.c=value` assignments applied; the values are read as TOML, else as text.

    A new `kind` drops the keys of the old one. Errors are left to the settings that read the result.
    """
    result = _copy(values)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path.strip():
            raise SettingsError(f"{assignment!r} is no setting: write key=value, such as model.decoder.n_layers=4.")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        *outer, last = path.strip().split(".")
        place = result
        for name in outer:
            inner = place.get(name) if isinstance(place, dict) else None
            if isinstance(inner, str) and inner != "none":
                inner = {"kind": inner}
            if isinstance(inner, list):
                raise SettingsError(f"{path!r}: {name!r} differs from layer to layer; give the whole list instead.")
            if not isinstance(inner, dict):
                inner = {}
            place[name] = inner
            place = inner
        if last == "kind" and place.get("kind") != value:
            place.clear()
        place[last] = value
    return result


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _may_be_none(annotation: Any) -> bool:
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return False
    options = typing.get_args(annotation)
    return type(None) in options and str not in options


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: "none" if inner is None else _without_none(inner) for key, inner in value.items()}
    return [_without_none(inner) for inner in value] if isinstance(value, list) else value


def _one_line(error: ValidationError, cls: type) -> str:
    """The first of pydantic's errors as one sentence, with the path to the setting."""
    first = error.errors(include_url=False)[0]
    path = ".".join(str(step) for step in first["loc"])
    text = first["msg"].removeprefix("Value error, ").removesuffix(".")
    if first["type"] == "missing":
        text = "is needed and was not given"
    elif not first["type"].startswith("value_error"):
        text = f"{text[0].lower()}{text[1:]}, got {first['input']!r}"
    return f"{cls.__name__}{'.' if path else ''}{path}: {text}{'' if text.endswith('?') else '.'}"
