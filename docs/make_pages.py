"""make docs: writes the pages that are made from the code, so that they cannot say anything else.

docs/mechanisms/   a page for each mechanism, from the docstring of its file, and its figure, from running it
docs/commands.md   what each command's --help says

Figures are drawn where they are missing: FIGURES=all draws all again, FIGURES="rotary alibi" these.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tomllib
from pathlib import Path
from unittest.mock import patch

from regard.cli import VERBS, main
from regard.pages import FAMILIES, SECTIONS, Page, pages

DOCS = Path(__file__).parent
MECHANISMS = DOCS / "mechanisms"

# What the figures of a family show.
CAPTIONS = {
    "input": (
        "The vectors of words, with random values where they are learnt: the first 24, how alike they are, and how "
        "many directions 256 of them take."
    ),
    "positions": (
        "What the encoding does, with random values where it learns; and the weights of an attention layer "
        "that reads one word again and again, so that nothing but positions tells its tokens apart."
    ),
    "scaling": (
        "How far each pair of features turns from one position to the next, for a text four times as long as in "
        "training: in radians, and beside what it was."
    ),
    "attention": (
        "A layer with heads of 8 features after it has learnt to answer with the mean message of all tokens "
        "that say the same word: rows look, columns are seen. The error is what is left of the answers' "
        "variance. Where there is no softmax, the right panel shows what dot attention makes of the same "
        "queries and keys."
    ),
    "pattern": "Blue may be seen: each pattern in an encoder, in a decoder, and the masks that patterns narrow.",
    "norm": (
        "The features of three tokens before and after (equal curves cover each other), and one feature's way "
        "through while the others stay."
    ),
    "residual": (
        "A stack of 16 layers before training: the size of the stream after each layer, and of the gradient "
        "that reaches the layer's parameters, beside Post-LN and Pre-LN."
    ),
    "feed-forward": (
        "The activations to choose from, what a small random net of this kind makes of two numbers, and, where there "
        "are experts, how many of the choices each gets."
    ),
    "stack": (
        "How strongly each vector of an encoder depends on each token, by its gradient and before anything is learnt: "
        "forwards, in both directions, and in a pyramid, which halves the row twice. The largest of a row is 1."
    ),
    "cell": "How much of a change of the first token is left in the state, token after token, before training.",
    "head": (
        "Of the language head: what a soft-cap does to logits, and the probabilities that follow from random vectors. "
        "Of a task's: how strongly its loss, of four texts of 12, 9, 6 and 4 tokens, pulls at each token's vector."
    ),
    "initialisation": "The first values of a small model's matrices.",
}


def mechanism(page: Page) -> str:
    """A mechanism's page in Markdown."""
    parts = [f"# {', '.join(page.kinds)}", page.sentence, f"```text\n{page.formula}\n```"]
    parts += [f"![{', '.join(page.kinds)}]({name_of(page)}.png)", f"*{CAPTIONS[page.family]}*"]
    parts += [f"**{name}** {page.section(name)}" for name in SECTIONS]
    parts += [f"The code, with the formula beside the kernel: [`regard/{page.file}`](../../src/regard/{page.file})."]
    return "\n\n".join(parts) + "\n"


def index(found: list[Page]) -> str:
    """All mechanisms by family, in the order of a forward pass."""
    lines = ["# Mechanisms", "", "Made from the code by `make docs`; `regard show NAME` prints the same."]
    lines += ["", "[中文](README.zh-CN.md)"]
    for family, (_, asks, _) in FAMILIES.items():
        lines += ["", f"## {family.capitalize()}: {asks}", ""]
        lines += [
            f"- [{', '.join(page.kinds)}]({name_of(page)}.md) — {page.sentence}"
            for page in found
            if page.family == family
        ]
    return "\n".join(lines) + "\n"


def chinese(found: list[Page]) -> str:
    """The same in Chinese, a line a kind, in the words of mechanisms.zh.toml."""
    words = tomllib.loads((DOCS / "mechanisms.zh.toml").read_text(encoding="utf-8"))
    lines = [
        "# 机制",
        "",
        "由 `make docs` 从代码生成；每页为英文，`regard show NAME` 显示同样的内容。",
        "",
        "[English](README.md)",
    ]
    for family in FAMILIES:
        lines += ["", f"## {words['families'].get(family, family)}", ""]
        lines += [
            f"- [{kind}]({name_of(page)}.md) — {words.get(family, {}).get(kind, page.sentence)}"
            for page in found
            if page.family == family
            for kind in page.kinds
        ]
    return "\n".join(lines) + "\n"


def name_of(page: Page) -> str:
    """Of the page's files."""
    return Path(page.file).stem


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
    made = {Path("mechanisms") / f"{name_of(page)}.md": mechanism(page) for page in found}
    made[Path("mechanisms/README.md")] = index(found)
    made[Path("mechanisms/README.zh-CN.md")] = chinese(found)
    with patch.dict(os.environ, {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}):
        made[Path("commands.md")] = commands()
    return made


def write(*again: str) -> None:
    """All pages, and the figures that are missing or whose kinds are named (`all`: all)."""
    made = everything()
    figures = {MECHANISMS / f"{name_of(page)}.png": page for page in pages()}
    MECHANISMS.mkdir(exist_ok=True)
    for path in MECHANISMS.iterdir():
        if path not in figures and path.relative_to(DOCS) not in made:
            path.unlink()
    for path, text in made.items():
        (DOCS / path).write_text(text, encoding="utf-8")
    for path, page in figures.items():
        if not path.exists() or {"all", *page.kinds} & set(again):
            from figures import draw, save

            save(draw(page), path)


if __name__ == "__main__":
    write(*sys.argv[1:])
