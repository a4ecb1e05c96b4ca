"""How well vectors of sentences keep what sentences mean.

    similarity  Spearman's ρ of the cosines and of what people said of the pairs
    retrieval   share of queries whose own text is among the k nearest; MRR = mean 1 / rank of it

Source   Reimers & Gurevych 2019, arXiv:1908.10084, §4 (Spearman); Voorhees 1999 (mean reciprocal rank).
Differs  A text as near as the query's own counts before it, so equal vectors for all score nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from regard.evaluation.bootstrap import Bootstrap
from regard.evaluation.measures import DRAWS, Measure, lines, measured, plain
from regard.evaluation.regression import pearson, spearman

CONVENTIONS = {
    "spearman": "cosines and given similarities; ties share their mean rank",
    "pearson": "the same, without ranks",
    "mrr": "mean of 1 / rank of the right text; ties count against it",
}


@dataclass(frozen=True)
class EmbeddingScores:
    """How well vectors keep meaning."""

    measures: dict[str, Measure]
    candidates: int | None = None
    """How many texts each query had to choose from."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {"measures": plain(self.measures), "candidates": self.candidates}

    def __str__(self) -> str:
        among = [] if self.candidates is None else [f"  among {self.candidates:,} texts"]
        return "\n".join([*lines(self.measures), *among])


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of rows [n d] and [n d]: [n]."""
    return np.einsum("nd,nd->n", unit(first), unit(second))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length one; zeros stay."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))


def similarity_scores(
    first: np.ndarray, second: np.ndarray, similarity: np.ndarray, bootstrap: Bootstrap | None = DRAWS
) -> EmbeddingScores:
    """Of pairs of vectors [n d] and what people said of them [n]."""
    near = cosines(first, second)

    def scores(rows: np.ndarray) -> dict[str, float]:
        drawn, said = near[rows], similarity[rows]
        return {"spearman": spearman(drawn, said), "pearson": pearson(drawn, said)}

    found = measured(len(near), scores, CONVENTIONS, bootstrap, numbers=("spearman", "pearson"))
    return EmbeddingScores(found)


def right_ranks(queries: np.ndarray, texts: np.ndarray, right: np.ndarray, rows: int = 1024) -> np.ndarray:
    """The rank, from 1, of each query's own text among all by cosine. queries [n d], texts [m d], right [n]."""
    queries, texts = unit(queries), unit(texts)
    found = np.empty(len(queries), dtype=np.int64)
    for start in range(0, len(queries), rows):
        near = queries[start : start + rows] @ texts.T
        own = near[np.arange(len(near)), right[start : start + rows]]
        found[start : start + rows] = (near >= own[:, None]).sum(axis=1)
    return found


def retrieval_scores(
    queries: np.ndarray,
    texts: np.ndarray,
    right: np.ndarray | None = None,
    at: tuple[int, ...] = (1, 5, 10),
    bootstrap: Bootstrap | None = DRAWS,
) -> EmbeddingScores:
    """Of queries [n d] that look for their own among texts [m d]. right [n]: its row; None: the query's own row."""
    ranks = right_ranks(queries, texts, np.arange(len(queries)) if right is None else right)
    ks = [k for k in at if k == 1 or k < len(texts)]

    def scores(rows: np.ndarray) -> dict[str, float]:
        drawn = ranks[rows]
        return {f"accuracy@{k}": float((drawn <= k).mean()) for k in ks} | {"mrr": float((1 / drawn).mean())}

    conventions = CONVENTIONS | {f"accuracy@{k}": f"the right text is among the {k} nearest" for k in ks}
    conventions["accuracy@1"] = "the right text is the nearest"
    return EmbeddingScores(measured(len(ranks), scores, conventions, bootstrap), len(texts))
