"""Distillation: what a translator writes for the sources of its training becomes what another one learns.

A teacher chooses one way to say a thing where people have many. That is what decoding in parallel needs, for words that
are chosen apart from each other must come from the same way.

Source   Kim & Rush 2016, arXiv:1606.07947, §3.2; for decoding in parallel: Gu et al. 2017, arXiv:1711.02281.
Cost     one search for each source.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from regard.generation.beam import Beam
from regard.generation.translating import Translator


def distil(
    teacher: Translator, sources: Iterable[str], beam: Beam | None = None, *, limit: int = 128, chunk: int = 2048
) -> Iterator[tuple[str, str]]:
    """(source, the teacher's best text for it), in order; `limit` tokens at most.

    So many sources are held at a time, and share batches with those of about their length. A source that is longer than
    the teacher reads is taken in parts; a blank one stays blank.
    """
    rest = iter(sources)
    while texts := list(itertools.islice(rest, chunk)):
        for text, best in zip(texts, teacher.translate(texts, beam, limit=limit, overlong="split"), strict=True):
            yield text, best[0].text
