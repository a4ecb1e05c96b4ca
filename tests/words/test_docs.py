"""What the docs show runs, and what they repeat is current."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from regard.cli import VERBS, app
from regard.pages import pages

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
READMES = ["README.md", "README.zh-CN.md"]

TALE = "Once upon a time there was a word, and it looked at all the words before it. So it knew what came next.\n"


def blocks(name: str, language: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_readme_python_runs(tmp_path):
    """As it stands, on a small text and with few steps."""
    (tmp_path / "tales.txt").write_text(TALE * 200, encoding="utf-8")
    code = "\n".join(blocks(READMES[0], "python"))
    assert "steps=2_000" in code
    code = code.replace("steps=2_000", "steps=2").replace("steps=600", "steps=2")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "bits per byte" in done.stdout


def commands(name: str) -> list[list[str]]:
    lines = [line for block in blocks(name, "console") for line in block.splitlines() if "regard " in line]
    calls = [line.split("regard ", 1)[1] for line in lines if re.search(r"(\$|\|) regard ", line)]
    return [re.findall(r'"[^"]*"|\S+', call.split("  #")[0]) for call in calls]


@pytest.mark.parametrize("name", READMES)
def test_readme_commands_are_understood(name):
    assert len(commands(name)) >= 5
    for tokens in commands(name):
        assert tokens[0] in VERBS
        app().parse_args([token.strip('"') for token in tokens])  # raises what it does not understand


def test_readmes_say_the_same():
    """Both languages show the same code and commands, and have the same sections."""
    english, chinese = READMES

    def without_comments(code: list[str]) -> list[str]:
        return [re.sub(r"\s*#.*", "", block) for block in code]

    for language in ("python", "console", "text"):
        assert without_comments(blocks(english, language)) == without_comments(blocks(chinese, language))
    counts = [
        [
            len(re.findall(mark, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))
            for mark in (r"^## ", r"^- ", r"^\| ", r"\]\(")
        ]
        for name in READMES
    ]
    assert counts[0] == counts[1]


def test_links_inside_lead_somewhere():
    for file in [*(ROOT / name for name in READMES), *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", file.read_text(encoding="utf-8")):
            assert (file.parent / target).exists(), f"{file.relative_to(ROOT)} links to {target}"


def test_pages_made_from_the_code_are_current(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    made = importlib.import_module("make_pages").everything()
    for path, text in made.items():
        assert (DOCS / path).exists(), f"docs/{path} is missing: run make docs"
        assert (DOCS / path).read_text(encoding="utf-8") == text, f"docs/{path} is old: run make docs"
    assert {file.relative_to(DOCS) for file in (DOCS / "mechanisms").glob("*.md")} <= set(made)
    assert len(made) == len(pages()) + 3


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("01_tokens.py", "bytes a token"),
        ("02_attention_by_hand.py", "who looks at whom"),
        ("04_the_ladder.py", "rung 5, dot"),
        pytest.param("03_train_and_generate.py", "went on to step", marks=pytest.mark.slow),
        pytest.param("05_translation.py", "of the dates are exactly right", marks=pytest.mark.slow),
        ("06_encoders.py", "the likeliest label is the true one"),
    ],
)
def test_tutorial_runs(script, says, tmp_path):
    command = [
        sys.executable,
        "-W",
        "error",
        str(DOCS / "tutorial" / script),
        *(["4"] if script.startswith(("03", "05", "06")) else []),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
