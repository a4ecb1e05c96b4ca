"""Texts that are on every machine: the prose of Python's own documentation, and tasks that a model must learn.

builtin:python-docs          the running interpreter's help topics, in English: one document a topic
builtin:copy|reverse|sort    10,000 rows such as `qbd=dbq`, one document each (see `synthetic.py`)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial

from regard.data.formats import Piece, whole
from regard.settings import RegardError, nearest


def python_docs() -> Iterator[str]:
    """The topics of `pydoc_data.topics`, in the order of their names.

    Topics hold one another in part or as a whole; of those the larger one is kept, and each longer paragraph once,
    so that nothing stands on both sides of a split.
    """
    from pydoc_data.topics import topics

    kept: dict[str, str] = {}
    seen: set[str] = set()
    for name in sorted(topics, key=lambda name: (-len(topics[name]), name)):
        paragraphs = [paragraph.strip("\n").rstrip() for paragraph in topics[name].split("\n\n")]
        fresh = [paragraph for paragraph in paragraphs if len(paragraph) < 80 or paragraph not in seen]
        seen.update(fresh)
        text = "\n\n".join(fresh) + "\n"
        if 2 * len(text) > len(topics[name]):
            kept[name] = text
    for name in sorted(kept):
        yield kept[name]


def _task(name: str) -> Iterator[str]:
    from regard.data.synthetic import rows

    return rows(name, 10_000)


BUILTIN: dict[str, Callable[[], Iterator[str]]] = {
    "python-docs": python_docs,
    **{name: partial(_task, name) for name in ("copy", "reverse", "sort")},
}
"""Name → the documents."""


def pieces(name: str) -> Iterator[Piece]:
    """The documents of a built-in text. Raises `RegardError` for a name that there is not."""
    for text in _documents(name):
        yield from whole(text)


def identity(name: str) -> str:
    """A hash of the text, which differs between versions of Python."""
    digest = hashlib.sha256()
    for text in _documents(name):
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


def _documents(name: str) -> Iterator[str]:
    if name not in BUILTIN:
        raise RegardError(f"there is no built-in text {name!r}{nearest(name, BUILTIN)}")
    return BUILTIN[name]()
