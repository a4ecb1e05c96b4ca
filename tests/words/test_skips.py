"""CI fails where a test is skipped that nobody allowed."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SILENT = """
import pytest

@pytest.mark.parametrize("n", [1, 2])
def test_one(n):
    if n == 2:
        pytest.skip("not here")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("allowed", "code"), [("# nothing", 1), ("*test_silent.py::test_one[2]  # why", 0), ("other", 1)]
)
def test_a_silent_skip_fails_the_run(tmp_path, allowed, code):
    (tmp_path / "test_silent.py").write_text(SILENT, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (tmp_path / "allowed.txt").write_text(allowed, encoding="utf-8")
    options = ["-p", "tests.conftest", "-c", str(tmp_path / "pytest.ini"), "--only-allowed-skips"]
    run = f"""
import pathlib, sys, pytest, tests.conftest
tests.conftest.ALLOWED_SKIPS = pathlib.Path({str(tmp_path / "allowed.txt")!r})
sys.exit(pytest.main(sys.argv[1:]))
"""
    done = subprocess.run(
        [sys.executable, "-c", run, str(tmp_path), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert ("skipped, and not in" in done.stdout) == bool(code)
