"""Where the larger data sets lie that some tests read: a folder `shared` beside the checkout."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "shared"


def shared(path: str) -> Path:
    """The file or folder `path` of the shared data; the test is skipped, by that name, where it is absent."""
    found = FOLDER / path
    if not found.exists():
        pytest.skip(f"shared/{path} is not here")
    return found
