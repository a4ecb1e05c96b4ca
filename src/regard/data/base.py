"""What a run learns from: text, pairs, recordings. `kinds.py` names every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import field_validator

from regard.settings import Part


class Data(Part, family="regard.data.kinds"):
    """Where a run's data come from, and how they are cut. Without a kind, they are text."""

    source: tuple[str, ...] = ()
    """Files, folders, `-`, `hf:…` or `builtin:…`."""
    validation: tuple[str, ...] = ()
    """The same for validation; where none is given, a part of `source` is kept apart."""

    @field_validator("source", "validation", "target", "validation_target", mode="before", check_fields=False)
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        one = isinstance(value, (str, Path))
        return (str(value),) if one else tuple(map(str, value)) if isinstance(value, (list, tuple)) else value

    @classmethod
    def resolve(cls, value: Any) -> Part:
        if isinstance(value, dict) and "kind" not in value:
            value = {"kind": "text", **value}
        return super().resolve(value)
