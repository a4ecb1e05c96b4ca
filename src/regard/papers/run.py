"""Running a paper, and what is kept of it: NAME.png, NAME.json, and README.md, a page of all of a folder's results."""

from __future__ import annotations

import dataclasses
import importlib
import io
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regard.papers import PAPERS
from regard.papers.base import Reproduction, check_matplotlib
from regard.seeds import derive_seed
from regard.settings import RegardError, nearest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "README.md"


def reproduce(name: str, seed: int = 0) -> Reproduction:
    """Run one paper. The same seed gives the same numbers, but for times, whatever ran before."""
    if name not in PAPERS:
        raise RegardError(f"there is no paper {name!r}{nearest(name, PAPERS)}")
    check_matplotlib()
    import torch

    paper = importlib.import_module(f"regard.papers.{name.replace('-', '_')}")
    begun = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "paper", name))
        found = paper.reproduce(seed)
    return dataclasses.replace(
        found,
        name=name,
        title=PAPERS[name],
        lesson=(paper.__doc__ or "").strip(),
        seed=seed,
        seconds=time.perf_counter() - begun,
    )


def save(found: Reproduction, folder: Path) -> None:
    """Write a paper's picture and result into a folder, and its page anew."""
    text = json.dumps(found.to_dict(), ensure_ascii=False, indent=1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draw(found.picture, folder / f"{found.name}.png")
        (folder / f"{found.name}.json").write_text(text + "\n", encoding="utf-8")
        (folder / PAGE).write_text(page(folder), encoding="utf-8")
    except OSError as error:
        raise RegardError(
            f"the result cannot be written to {folder} ({error.strerror}): give another folder with --out."
        ) from None


def draw(picture: Figure, file: Path) -> None:
    """Write a picture as PNG of 100 dots an inch and at most 64 colours, a third of the bytes of all colours."""
    from PIL import Image  # matplotlib stands on it

    full = io.BytesIO()
    picture.savefig(full, format="png", dpi=100)
    Image.open(full).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(file, optimize=True)


def page(folder: Path) -> str:
    """Every verdict that the folder holds, with its checks and its picture, as Markdown."""
    results = [result for name in PAPERS if (result := _result(folder / f"{name}.json")) is not None]
    lines = [
        "# Papers",
        "",
        "Each claim, the number that was printed, and what a run of minutes on a CPU measures. Made by",
        "`regard reproduce all`; `regard reproduce NAME` runs one. A verdict is computed from the checks: `reproduced`",
        "if all hold, `not reproduced` if none does.",
        "",
        "| | | verdict | checks | seconds |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        held = sum(check["holds"] for check in result["checks"])
        lines.append(
            f"| [{result['name']}](#{result['name']}) | {_cell(result['title'])} | {result['verdict']} "
            f"| {held} of {len(result['checks'])} | {result['seconds']:.0f} |"
        )
    return "\n".join([*lines, *(line for result in results for line in _section(result))]) + "\n"


def _result(file: Path) -> dict[str, Any] | None:
    """What `save` wrote there; None where it wrote nothing, or something has damaged it since."""
    try:
        result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        _section(result)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return result


def _section(result: dict[str, Any]) -> list[str]:
    name = result["name"]
    code = f"`regard/papers/{name.replace('-', '_')}.py`"
    lines = ["", f"## {name}", "", f"**{result['title']}**: {result['verdict']}. The code is {code}.", ""]
    lines += ["```text", result["lesson"], "```", "", "| | claim | printed | measured |", "|---|---|---|---|"]
    for check in result["checks"]:
        mark = "✓" if check["holds"] else "✗"
        lines.append(f"| {mark} | {_cell(check['claim'])} | {_cell(check['printed'])} | {_cell(check['measured'])} |")
    if result["notes"]:
        lines += ["", *(f"- {note}" for note in result["notes"])]
    return [*lines, "", f"![{name}]({name}.png)"]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
