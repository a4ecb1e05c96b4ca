"""Span corruption: runs of words are cut out of a text, and a translator writes what they were.

    text      x1 x2 x3 x4 x5 x6 x7 x8 x9
    source    x1 x2 <a> x5 x6 x7 <b> end         a sentinel stands for each run
    target    <a> x3 x4 <b> x8 x9 end            and opens it in the answer

Of n words round(n · density) are cut out, in round(that / mean_length) runs; so source and target are exactly as long
for every text of n words. The runs' lengths, and those of what is kept between them, are drawn uniformly among all
ways to share out the words so that no run is empty. Sentinels count down from the first one's id.

Source   Raffel et al. 2019, arXiv:1910.10683, §3.1.4 and figure 2 (sentinels), §3.3.4 (spans); how runs are drawn: the
         authors' code.
Differs  The paper's figure ends the target with one more sentinel; the authors' code, and this file, with the end
         token. As there, a text begins with a kept word and ends with a run.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int


def counts(n: int, density: float, mean_length: float) -> tuple[int, int]:
    """How many of n words are cut out, and in how many runs; none of a text of less than two words."""
    if n < 2:
        return 0, 0
    cut = min(max(round(n * density), 1), n - 1)
    runs = max(round(cut / mean_length), 1)
    return cut, min(runs, cut, n - cut)


def sizes(n: int, density: float, mean_length: float) -> tuple[int, int]:
    """How long the source and the target of a text of n words are, their end tokens included."""
    cut, runs = counts(n, density, mean_length)
    return n - cut + runs + 1, cut + runs + 1


def draw(n: int, density: float, mean_length: float, random: np.random.Generator) -> Bool[np.ndarray, "n"]:
    """Which of n words are cut out."""
    cut, runs = counts(n, density, mean_length)
    if runs == 0:
        return np.zeros(n, dtype=bool)
    kept, gone = _shares(n - cut, runs, random), _shares(cut, runs, random)
    return np.repeat(np.tile([False, True], runs), np.stack([kept, gone], 1).ravel())


def corrupt(
    ids: Int[np.ndarray, "n"], cut: Bool[np.ndarray, "n"], sentinel: int
) -> tuple[Int[np.ndarray, "m"], Int[np.ndarray, "k"]]:
    """What is kept of a text and what was cut out, without end tokens. `sentinel`: the first run's id."""
    opens = cut & ~np.concatenate([[False], cut[:-1]])
    sentinels = sentinel + 1 - np.cumsum(opens)
    source = np.where(opens, sentinels, ids)[opens | ~cut]
    target = np.stack([sentinels, ids], 1)[np.stack([opens, cut], 1)]
    return source, target


def _shares(n: int, parts: int, random: np.random.Generator) -> Int[np.ndarray, "k"]:
    """n shared out into so many parts, none empty; all ways are equally likely."""
    borders = np.sort(random.choice(n - 1, parts - 1, replace=False)) + 1
    return np.diff(borders, prepend=0, append=n)
