"""make docs: writes the pages that are made from the code, so that they cannot say anything else.

docs/mechanisms/   a page for each mechanism, from the docstring of its file
docs/commands.md   what each command's --help says
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path
from unittest.mock import patch

from regard.cli import VERBS, main
from regard.pages import FAMILIES, SECTIONS, Page, pages

DOCS = Path(__file__).parent


def mechanism(page: Page) -> str:
    """A mechanism's page in Markdown."""
    parts = [f"# {', '.join(page.kinds)}", page.sentence, f"```text\n{page.formula}\n```"]
    parts += [f"**{name}** {page.section(name)}" for name in SECTIONS]
    parts += [f"The code, with the formula beside the kernel: [`regard/{page.file}`](../../src/regard/{page.file})."]
    return "\n\n".join(parts) + "\n"


def index(found: list[Page]) -> str:
    """All mechanisms by family, in the order of a forward pass."""
    lines = ["# Mechanisms", "", "Made from the code by `make docs`; `regard show NAME` prints the same."]
    for family in FAMILIES:
        lines += ["", f"## {family.capitalize()}", ""]
        lines += [
            f"- [{', '.join(page.kinds)}]({file_of(page)}) — {page.sentence}" for page in found if page.family == family
        ]
    return "\n".join(lines) + "\n"


def file_of(page: Page) -> str:
    return f"{Path(page.file).stem}.md"


def commands() -> str:
    """The help of every command, 100 columns wide."""
    parts = ["# Commands\n\nMade from the code by `make docs`."]
    for tokens in ([], *([verb] for verb in VERBS)):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            main([*tokens, "--help"])
        text = "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())
        parts.append(f"## {' '.join(['regard', *tokens])}\n\n```text\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def everything() -> dict[Path, str]:
    """Path below docs/ → the text that belongs there."""
    found = pages()
    made = {Path("mechanisms") / file_of(page): mechanism(page) for page in found}
    with patch.dict(os.environ, {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}):
        return {**made, Path("mechanisms/README.md"): index(found), Path("commands.md"): commands()}


def write() -> None:
    made = everything()
    for path in (DOCS / "mechanisms").glob("*.md"):
        if path.relative_to(DOCS) not in made:
            path.unlink()
    for path, text in made.items():
        (DOCS / path).parent.mkdir(exist_ok=True)
        (DOCS / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(write())
