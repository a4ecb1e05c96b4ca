"""Mask-predict: all words of a translation at once, then the least certain ones again, and again.

    t = 0            every word is masked; each becomes its likeliest word, p_i its probability
    t = 1 … T − 1    the ⌊n (T − t) / T⌋ words with the lowest p_i are masked and said anew, in sight of the others

    score = (λ log p(n) + Σ log p_i) / n

A sentence is written at each of its ℓ likeliest lengths n, and the text with the best score is taken. The decoder is
one that else writes from left to right, under a mask by which every word sees every other.

Source   Ghazvininejad et al. 2019, arXiv:1904.09324, §3 (the iterations), §3.3 (lengths).
Cost     T passes over ℓ texts a sentence, however long it is; logits are made for masked words alone.
Differs  The paper has λ = 0, by which a short text of sure words wins whatever p(n) is: a small model that reversed
         98 % of its strings right at their likeliest length did so for 87 % with the best of three, and with λ = 1 for
         98 % again. The mask token is never written. `single` drops words that repeat the one before when all is done;
         scores stay as they were.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from regard.attention import Padding, Prefix
from regard.generation.beam import Hypothesis
from regard.model import Encoded, Transformer
from regard.settings import RegardError, Settings


class Refinement(Settings):
    """How a text is written all at once, and refined."""

    iterations: int = Field(10, ge=1)
    """T: passes over a text."""
    candidates: int = Field(5, ge=1)
    """ℓ: lengths that are tried for each text."""
    length_weight: float = Field(1.0, ge=0, allow_inf_nan=False)
    """λ: how much the log-probability of a length counts beside that of its words."""
    single: bool = False
    """Whether a word that repeats the one before it is dropped at the end."""


def mask_predict(
    model: Transformer,
    encoded: Encoded,
    how: Refinement | None = None,
    *,
    mask: int,
    never: Collection[int] = (),
    limit: int | None = None,
    n_best: int = 1,
) -> list[list[Hypothesis]]:
    """The `n_best` best texts of each source, best first.

    mask: the id that stands for a word yet to be said. never: ids that are not words, such as the end token. limit: no
    text is longer. A hypothesis' `log_probability` is log p(n) + Σ log p_i, each word's when it was last said. What a
    row gives does not depend on the rows beside it.

    Raises `RegardError` where the model does not tell lengths, or there are fewer of them than texts are asked for.
    """
    how = how or Refinement()
    if model.length is None:
        raise RegardError(
            "this model does not tell how long its output will be: take beam search, or train one with "
            "training.objective=mask_predict."
        )
    candidates = min(how.candidates, model.length.limit, limit or model.length.limit)
    if not 1 <= n_best <= candidates:
        raise RegardError(
            f"{n_best} texts of {candidates} lengths cannot be given: n_best is at least 1, at most the candidates."
        )
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            scores = model.length(encoded.x, encoded.mask)
            exact = torch.float64 if scores.dtype == torch.float64 else torch.float32
            log_n, lengths = scores.to(exact).log_softmax(-1)[:, :limit].topk(candidates)
            lengths = lengths + 1
            ids, log_p = _refine(model, encoded, lengths.flatten(), mask, how.iterations, sorted({mask, *never}), exact)
    finally:
        model.train(training)
    total = log_p.sum(1).view_as(lengths)
    scores, order = ((how.length_weight * log_n + total) / lengths).sort(descending=True, stable=True)
    total = total + log_n
    found = []
    for row, places in enumerate(order[:, :n_best].tolist()):
        texts = []
        for score, place in zip(scores[row].tolist(), places, strict=False):
            text = ids[row * candidates + place, : int(lengths[row, place])].tolist()
            text = _without_repeats(text) if how.single else text
            texts.append(Hypothesis(text, score, total[row, place].item(), "end"))
        found.append(texts)
    return found


def _refine(
    model: Transformer,
    encoded: Encoded,
    lengths: Int[Tensor, "n"],
    mask: int,
    iterations: int,
    never: list[int],
    exact: torch.dtype,
) -> tuple[Int[Tensor, "n t"], Float[Tensor, "n t"]]:
    """Texts of these lengths and the log p of each word when it was last said; 0 past a text's end."""
    both_ways = Padding(lengths) & Prefix(lengths)
    hidden = torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]
    ids = torch.zeros_like(hidden, dtype=torch.long)
    log_p = torch.zeros(hidden.shape, dtype=exact, device=lengths.device)
    for t in range(iterations):
        if t:
            hidden = _least_certain(log_p, lengths * (iterations - t) // iterations)
        x = model.hidden(ids.masked_fill(hidden, mask), mask=both_ways, encoded=encoded)
        logits = model.head(x[hidden][None], model.last_stack.input.tokens)[0].to(exact)
        every = logits.logsumexp(-1)
        if not bool(every.isfinite().all()):
            raise RegardError("the model's logits are not finite: its weights are damaged, or its training diverged.")
        logits[:, never] = float("-inf")
        best, words = logits.max(-1)
        ids[hidden], log_p[hidden] = words, best - every
    return ids, log_p


def _least_certain(log_p: Float[Tensor, "n t"], count: Int[Tensor, "n"]) -> Bool[Tensor, "n t"]:
    """So many places of each row, those with the lowest log p; of equal ones the first. Padding has 0, the highest."""
    order = log_p.argsort(dim=1, stable=True)
    return torch.zeros_like(log_p, dtype=torch.bool).scatter_(
        1, order, torch.arange(log_p.shape[1], device=log_p.device) < count[:, None]
    )


def _without_repeats(text: list[int]) -> list[int]:
    return [word for place, word in enumerate(text) if place == 0 or word != text[place - 1]]
