"""Files stay short, and say nothing about the machine they were written on."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Where links may lead.
HOSTS = {"arxiv.org", "github.com", "huggingface.co", "www.apache.org", "www.w3.org"}

# What every Unix has; other folders at the root are somebody's own.
EVERYWHERE = {"bin", "dev", "etc", "lib", "proc", "sys", "tmp", "usr", "var"}


def tracked() -> list[Path]:
    """All files of the project: those that git knows or would take."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail("this test runs in a git checkout")
    return [ROOT / line for line in done.stdout.splitlines() if (ROOT / line).is_file()]


def texts() -> list[tuple[Path, str]]:
    return [(file, file.read_text(encoding="utf-8")) for file in tracked() if file.suffix != ".png"]


def test_files_are_short():
    for file, text in texts():
        if file.suffix == ".py":
            assert text.count("\n") <= 400, f"{file.relative_to(ROOT)} has more than 400 lines"


def test_modules_say_what_they_are():
    for file, text in texts():
        if file.suffix == ".py" and "src" in file.parts:
            assert text.lstrip().startswith('"""'), f"{file.relative_to(ROOT)} has no docstring"


def test_links_lead_where_everybody_may_go():
    for file, text in texts():
        if file.name == "test_files.py":
            continue
        for host in re.findall(r"https?://([\w.:-]+)", text):
            assert host in HOSTS or host.endswith(".example") or host.split(":")[0] in ("localhost", "127.0.0.1"), (
                f"{file.relative_to(ROOT)} links to {host}"
            )


def test_no_paths_of_one_machine():
    own = {folder.name for folder in Path("/").iterdir() if folder.is_dir()} - EVERYWHERE
    pattern = re.compile(rf"(?<![\w.~$}}])/({'|'.join(map(re.escape, sorted(own)))})/[\w.]")
    for file, text in texts():
        found = pattern.search(text)
        assert not found, f"{file.relative_to(ROOT)} names {found and found[0]!r}, which exists on this machine only"
