"""What all tests share: one thread a process, fixed seeds, shapes checked, and a guard against silent skips."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded: workers share the cores
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch

from tests.shapes import check_shapes

ALLOWED_SKIPS = Path(__file__).parent / "allowed_skips.txt"

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
check_shapes()


@pytest.fixture(autouse=True)
def seeds() -> None:
    torch.manual_seed(0)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--only-allowed-skips",
        action="store_true",
        help=f"fail if a test is skipped that {ALLOWED_SKIPS.name} does not name",
    )


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With --only-allowed-skips, a skip outside the committed list fails the run."""
    config = session.config
    if not config.getoption("--only-allowed-skips") or hasattr(config, "workerinput"):
        return
    lines = ALLOWED_SKIPS.read_text(encoding="utf-8").splitlines()
    patterns = [line.split("#")[0].strip().replace("[", "[[]") for line in lines]  # a bracket stands for itself
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    assert reporter is not None
    skipped = sorted({report.nodeid for report in reporter.stats.get("skipped", [])})
    surprises = [test for test in skipped if not any(fnmatch(test, pattern) for pattern in patterns)]
    for test in surprises:
        reporter.write_line(f"skipped, and not in {ALLOWED_SKIPS.name}: {test}", red=True)
    if surprises:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
