"""Imports run downwards only, and what is light stays light."""

import ast
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "src" / "regard"

# From the ground up: a part may import those before it, and itself.
ORDER = [
    "settings",
    "seeds",
    "pages",
    "features",
    "text",
    "data",
    "layers",
    "positions",
    "inputs",
    "attention",
    "residual",
    "feedforward",
    "heads",
    "model",
    "planning",
    "store",
    "generation",
    "prediction",
    "interop",
    "bundle",
    "evaluation",
    "training",
    "papers",
    "cli",
]

# The model knows tensors; never text, files or devices.
BARRED = {part: {"text", "data"} for part in ORDER[ORDER.index("layers") : ORDER.index("store")]}

# Every name of the package's front is imported when it is first used.
LAZY = {"__init__", "__main__"}


def part_of(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(file: Path) -> set[str]:
    """The parts of regard that a file imports, at its top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: write imports in full"
            names = [f"regard.{alias.name}" for alias in node.names] if node.module == "regard" else [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("regard.")}
    return found - {"__version__"}


def test_imports_run_downwards():
    files = [file for file in ROOT.rglob("*.py") if part_of(file) not in LAZY]
    parts = {part_of(file) for file in files}
    assert parts <= set(ORDER), f"say where {parts - set(ORDER)} stand in ORDER"
    for file in files:
        part = part_of(file)
        allowed = set(ORDER[: ORDER.index(part) + 1]) - BARRED.get(part, set())
        upwards = imported(file) - allowed
        assert not upwards, f"{file.relative_to(ROOT)} imports {', '.join(sorted(upwards))}, which stands above it"


def run(code: str) -> tuple[str, float]:
    """What a fresh Python prints, and the seconds of processor time it took: those of a busy machine are the same."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def seconds(code: str) -> float:
    """The median of three, without what Python itself takes to start."""
    run(code)  # writes the .pyc files
    bare = sorted(run("pass")[1] for _ in range(3))[1]
    return sorted(run(code)[1] for _ in range(3))[1] - bare


@pytest.mark.parametrize(
    "code",
    [
        "import regard",
        "import regard.settings, regard.seeds, regard.pages",
        "import regard.text",
        "import regard.data.sources, regard.data.store, regard.data.builtin",
        "import regard.papers.run",
        "import regard.cli; regard.cli.main(['reproduce'])",
        "import regard.cli; regard.cli.main(['--help'])",
        "import regard.cli; regard.cli.main(['show', 'rotary'])",
        *(f"import regard.cli; regard.cli.main([{verb!r}, '--help'])" for verb in ("train", "generate", "evaluate")),
        "import regard.cli; assert regard.cli.main(['tran']) == 2",
    ],
)
def test_without_torch(code):
    out, _ = run(f"{code}\nimport sys; print('torch' in sys.modules)")
    assert out.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("code", "limit"),
    [("import regard", 0.3), ("import regard.cli; regard.cli.main(['--help'])", 0.5)],
)
def test_starts_at_once(code, limit):
    took = seconds(code)
    print(f"{code}: {took:.2f} s")
    assert took <= limit
