"""What a paper's file gives back: checks of what it claimed, a picture, and a verdict that follows from the checks."""

from __future__ import annotations

import importlib.util
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regard.settings import RegardError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 100


@dataclass(frozen=True)
class Check:
    """One claim of a paper beside what was measured here."""

    claim: str
    """In one sentence."""
    printed: str
    """What the paper printed, with its conventions and where it stands: "65 M (table 3, one shared vocabulary)"."""
    measured: str
    """What came out here, with its unit."""
    holds: bool
    """Whether what was measured bears the claim out: computed from the numbers, never written down."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "holds", bool(self.holds))  # a comparison of tensors or arrays is no bool

    @property
    def mark(self) -> str:
        return "✓" if self.holds else "✗"

    def __str__(self) -> str:
        lines = [_wrapped(f"{self.mark} ", self.claim)]
        lines += [_wrapped(f"    {name:<10}", getattr(self, name)) for name in ("printed", "measured")]
        return "\n".join(lines)


@dataclass(frozen=True)
class Reproduction:
    """A paper that was run. Its file gives checks, picture and notes; `regard.papers.run` adds the rest."""

    checks: tuple[Check, ...]
    picture: Figure
    notes: tuple[str, ...] = ()
    """What is a cheap proxy of what the paper did, and what came out otherwise than expected; a sentence each."""
    name: str = ""
    title: str = ""
    lesson: str = ""
    """The docstring of the paper's file."""
    seed: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if not self.checks:
            raise ValueError("a paper needs at least one check")

    @property
    def verdict(self) -> str:
        """`reproduced` if all checks hold, `not reproduced` if none does, else `reproduced in part`."""
        held = sum(check.holds for check in self.checks)
        if held == len(self.checks):
            return "reproduced"
        return "reproduced in part" if held else "not reproduced"

    def to_dict(self) -> dict[str, Any]:
        """All but the picture, as JSON holds it."""
        return {
            "name": self.name,
            "title": self.title,
            "verdict": self.verdict,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "lesson": self.lesson,
            "checks": [vars(check) for check in self.checks],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        parts = [f"{self.name}: {self.title}", self.lesson.strip(), *map(str, self.checks)]
        parts += ["\n".join(_wrapped("note  ", note) for note in self.notes)]
        held = sum(check.holds for check in self.checks)
        parts += [f"{self.verdict}: {held} of {len(self.checks)} checks hold, in {self.seconds:.1f} s"]
        return "\n\n".join(part for part in parts if part)


def check_matplotlib() -> None:
    """Raises `RegardError` if pictures cannot be drawn."""
    if importlib.util.find_spec("matplotlib") is None:
        raise RegardError("the pictures of the papers need matplotlib: pip install 'regard[pictures]'.")


def _wrapped(head: str, text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
