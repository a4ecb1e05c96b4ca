"""The page of each mechanism: the docstring of its file, found by its kind. Nothing is imported, so it takes no time.

A family is a folder or a file; the page of a kind is the docstring of the file with its class.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent


class Family(NamedTuple):
    """Mechanisms of which a model chooses one."""

    path: str
    """Its folder or file."""
    asks: str
    """The question that each of its kinds answers."""
    setting: str
    """Where a run's settings choose one."""


# In the order of a forward pass.
FAMILIES = {
    "input": Family("inputs", "what stands for each token", "model.input"),
    "positions": Family("positions", "where a token stands", "model.decoder.position"),
    "scaling": Family("positions/scaling", "how rotary positions reach further", "model.decoder.position.scaling"),
    "attention": Family("attention", "who looks at whom", "model.decoder.attention"),
    "pattern": Family("attention/pattern", "which tokens a layer may look at", "model.decoder.pattern"),
    "norm": Family("layers/norm", "how features keep a common size", "model.decoder.norm"),
    "residual": Family("residual", "how a layer's steps join the stream", "model.decoder.residual"),
    "feed-forward": Family("feedforward", "what is done to each token alone", "model.decoder.feedforward"),
    "stack": Family("model/recurrent", "what stands in place of a Transformer's layers", "model.decoder"),
    "cell": Family("model/cells", "how a recurrent layer goes from token to token", "model.decoder.cell"),
    "head": Family("heads", "what the last layer's output becomes", "model.head"),
    "initialisation": Family("model/initialisation", "how weights start", "model.initialisation"),
}

SECTIONS = ("Source", "Cost", "Differs")


class Page(NamedTuple):
    """A mechanism's page. Several kinds share one where they share a file."""

    family: str
    file: str
    """Below the package, such as positions/rotary.py."""
    kinds: tuple[str, ...]
    text: str

    @property
    def sentence(self) -> str:
        """What it is, in one sentence."""
        return " ".join(self.text.split("\n\n")[0].split())

    def short(self, width: int) -> str:
        """The sentence in `width` letters, cut where a part of it ends if that leaves enough, else at a word."""
        whole = self.sentence.rstrip(".")
        if len(whole) <= width:
            return whole
        part = re.match(rf"(.{{{3 * width // 5},{width - 2}}})[,;:.] ", whole)
        return f"{part[1] if part else whole[: width - 1].rpartition(' ')[0]} …"

    @property
    def formula(self) -> str:
        """What stands between the sentence and the sections."""
        return re.split(rf"^(?:{'|'.join(SECTIONS)}) ", self.text.partition("\n\n")[2], flags=re.MULTILINE)[0].strip(
            "\n"
        )

    def section(self, name: str) -> str:
        """The text of one of `SECTIONS`, or nothing."""
        found = re.search(rf"^{name} +(.*(?:\n +.*)*)", self.text, flags=re.MULTILINE)
        return " ".join(found[1].split()) if found else ""


def pages() -> list[Page]:
    """All pages, by family."""
    found = []
    for family, (path, _, _) in FAMILIES.items():
        kinds_of: dict[Path, list[str]] = {}
        for kind, file in _kinds(path).items():
            kinds_of.setdefault(file, []).append(kind)
        for file, kinds in kinds_of.items():
            text = ast.get_docstring(_parse(file)) or ""
            found.append(Page(family, file.relative_to(ROOT).as_posix(), tuple(kinds), text))
    return found


def find(name: str) -> list[Page]:
    """The pages of a kind (`rotary`), else of a file (`norm`), else of a family (`attention`)."""
    every = pages()
    by_kind = [found for found in every if name in found.kinds]
    by_file = [found for found in every if Path(found.file).stem == name]
    return by_kind or by_file or [found for found in every if name in _names_of(found.family)]


def names() -> list[str]:
    """What `find` knows."""
    known = [name for found in pages() for name in (*found.kinds, Path(found.file).stem)]
    return list(dict.fromkeys([*known, *(name for family in FAMILIES for name in _names_of(family))]))


def _names_of(family: str) -> tuple[str, ...]:
    """What a family is called here, in the folders, and in settings."""
    path, _, setting = FAMILIES[family]
    return family, Path(path).name, setting.rpartition(".")[2]


def _kinds(path: str) -> dict[str, Path]:
    """kind → the file that defines it: the file itself, or those that the folder's `__init__` names, in its order."""
    files = [ROOT / f"{path}.py"]
    if (ROOT / path).is_dir():
        imports = [node.module for node in _parse(ROOT / path / "__init__.py").body if isinstance(node, ast.ImportFrom)]
        named = [ROOT.joinpath(*module.split(".")[1:]).with_suffix(".py") for module in imports if module]
        others = {ROOT / f"{other.path}.py" for other in FAMILIES.values()}
        files = [file for file in dict.fromkeys(named) if file not in others]
    return {
        ast.literal_eval(word.value): file
        for file in files
        for node in _parse(file).body
        if isinstance(node, ast.ClassDef)
        for word in node.keywords
        if word.arg == "kind"
    }


def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))
