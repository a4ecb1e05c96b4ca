"""Data sets of the Hugging Face hub, as streams of rows: hf:OWNER/NAME, hf:OWNER/NAME/CONFIG, …:SPLIT."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from regard.data.formats import extra
from regard.settings import RegardError


def hugging_face(source: str) -> Any:
    """The rows of a Hugging Face set as a stream. Raises `RegardError`."""
    name, config, split = hugging_face_name(source)
    datasets = extra("datasets", f"reading {source}")
    with reading_set(source):
        return datasets.load_dataset(name, config, split=split, streaming=True)


@contextmanager
def reading_set(source: str) -> Iterator[None]:
    """Turns whatever the network, the hub or a file in the set may raise into one sentence."""
    try:
        yield
    except (RegardError, GeneratorExit):
        raise
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise RegardError(f"the Hugging Face set {source!r} cannot be read: {first}.") from None


def hugging_face_name(source: str) -> tuple[str, str | None, str]:
    """hf:OWNER/NAME/CONFIG:SPLIT → name, config, split; what begins with / or . is a folder on this machine."""
    name, _, split = source.removeprefix("hf:").partition(":")
    if name.startswith(("/", ".")):
        return name, None, split or "train"
    owner, *rest = name.split("/")
    if not owner or len(rest) > 2 or not all(rest):
        raise RegardError(
            f"{source!r} names no Hugging Face set: write hf:OWNER/NAME, hf:OWNER/NAME/CONFIG or …:SPLIT."
        )
    return "/".join([owner, *rest[:1]]), rest[1] if len(rest) == 2 else None, split or "train"
