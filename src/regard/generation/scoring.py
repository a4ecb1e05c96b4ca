"""Scoring: how likely a model finds a text that is there already, each token predicted exactly once.

A text longer than the context is read in windows: window w starts w · stride after the first, and counts only targets
that no window before it counted. With stride = context_length the windows do not overlap and each token is read once;
a smaller stride lets each token see at least context_length − stride tokens before it, and costs as much more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from regard.generation.streaming import Alternative
from regard.model import Transformer
from regard.settings import RegardError


@dataclass(frozen=True)
class ScoredToken:
    """A token of a text and how likely the model found it after those before it; None for a first token that has
    nothing before it. `candidates` are the likeliest tokens there, best first."""

    token: str
    id: int
    log_probability: float | None
    candidates: tuple[Alternative, ...] = ()


@dataclass(frozen=True)
class Score:
    """How likely a model finds a text. Log-probabilities are in nats, of the model's own distribution."""

    tokens: tuple[ScoredToken, ...]

    @property
    def log_probability(self) -> float:
        return sum(token.log_probability for token in self.tokens if token.log_probability is not None)

    @property
    def predicted(self) -> int:
        """How many tokens were predicted."""
        return sum(token.log_probability is not None for token in self.tokens)

    @property
    def perplexity(self) -> float:
        """exp of the mean negative log-probability of a token."""
        return float(torch.tensor(-self.log_probability / self.predicted).exp()) if self.predicted else float("nan")

    def __str__(self) -> str:
        lines = [
            f"{token.log_probability:9.3f}  {token.token!r}" if token.log_probability is not None
            else f"{'–':>9}  {token.token!r}"
            for token in self.tokens
        ]  # fmt: skip
        total = f"ln p = {self.log_probability:.3f}, perplexity {self.perplexity:.2f} over {self.predicted} tokens"
        return "\n".join([*lines, total])


class Window(NamedTuple):
    """Pairs (token, next token) `start` … `end` − 1 are read; those from `first` on are counted."""

    start: int
    first: int
    end: int


def windows(pairs: int, context: int, stride: int) -> Iterator[Window]:
    """Windows over a text of `pairs` pairs (token, next token), such that each is counted exactly once."""
    if not 1 <= stride <= context:
        raise RegardError(f"stride is {stride}, and must lie between 1 and the context of {context} tokens.")
    counted = start = 0
    while counted < pairs:
        end = min(start + context, pairs)
        yield Window(start, counted, end)
        counted, start = end, start + stride


@torch.inference_mode()
def log_probabilities(
    model: Transformer, ids: Sequence[int], stride: int | None = None, candidates: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """ln p(id | those before it) of each id but the first, and the likeliest words there with theirs.

    Shapes [n − 1], [n − 1, candidates] (ids) and [n − 1, candidates] (ln p). The model must be in eval mode.
    """
    context = model.config.sizes("decoder").context_length
    device = next(model.parameters()).device
    text = torch.tensor(ids, dtype=torch.long, device=device)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for start, first, end in windows(len(ids) - 1, context, stride or context):
        logits = model(text[None, start:end])
        assert isinstance(logits, Tensor)
        own = logits[0, first - start :]
        own = (own if own.dtype == torch.float64 else own.float()).log_softmax(-1)
        best, words = own.topk(min(candidates, own.shape[-1]))
        parts.append((own.gather(-1, text[first + 1 : end + 1, None])[:, 0], words, best))
    if not parts:
        return torch.empty(0), torch.empty(0, candidates, dtype=torch.long), torch.empty(0, candidates)
    one, two, three = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
    return one, two, three
