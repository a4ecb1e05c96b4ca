"""Mask-predict: all words of a translation at once, then the least certain ones again, and again.

    t = 0            every word is masked; each becomes its likeliest word, p_i its probability
    t = 1 … T − 1    the ⌊n (T − t) / T⌋ words with the lowest p_i are masked and said anew, in sight of the others

A sentence is written at each of its ℓ likeliest lengths n, and the text with the best mean log p_i is taken. The
decoder is the one that writes from left to right, under a mask by which every word sees every other.

Source   Ghazvininejad et al. 2019, arXiv:1904.09324, §3 (the iterations), §3.3 (lengths).
Cost     T passes over ℓ texts a sentence, however long it is; logits are made for masked words alone.
Differs  The mask token itself is never written, nor what `never` names. `single` drops a word that repeats the one
         before it when all is done; the scores are those of the text as it was written.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from regard.attention import Padding, Prefix
from regard.generation.beam import Hypothesis
from regard.model import Encoded, Transformer
from regard.settings import RegardError


def mask_predict(
    model: Transformer,
    encoded: Encoded,
    *,
    mask: int,
    iterations: int = 10,
    candidates: int = 5,
    n_best: int = 1,
    never: Collection[int] = (),
    single: bool = False,
) -> list[list[Hypothesis]]:
    """The `n_best` best texts of each source, best first, from so many `candidates` for its length.

    A hypothesis' `log_probability` is the sum of log p_i when each word was last said, its `score` their mean. What a
    row gives does not depend on the rows beside it.

    Raises `RegardError` where the model cannot tell lengths, and where a number is below 1 or more than there are.
    """
    if model.length is None:
        raise RegardError("this model does not tell how long its output will be: train one with mask_predict.")
    most = model.length.limit
    if iterations < 1 or not 1 <= n_best <= candidates <= most:
        raise RegardError(
            f"{iterations} iterations, {candidates} candidates and the {n_best} best of them were asked for: at least "
            f"1 iteration, 1 candidate and 1 best are needed, and there are {most} lengths to choose from."
        )
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            lengths = model.length(encoded.x, encoded.mask).topk(candidates).indices + 1
            ids, log_p = _refine(model, encoded, lengths.flatten(), mask, iterations, sorted({mask, *never}))
    finally:
        model.train(training)
    total = log_p.sum(1).view_as(lengths)
    scores, order = (total / lengths).sort(descending=True, stable=True)
    found = []
    for row, places in enumerate(order[:, :n_best].tolist()):
        texts = []
        for score, place in zip(scores[row].tolist(), places, strict=False):
            text = ids[row * candidates + place, : int(lengths[row, place])].tolist()
            text = _without_repeats(text) if single else text
            texts.append(Hypothesis(text, score, total[row, place].item(), "end"))
        found.append(texts)
    return found


def _refine(
    model: Transformer, encoded: Encoded, lengths: Int[Tensor, "n"], mask: int, iterations: int, never: list[int]
) -> tuple[Int[Tensor, "n t"], Float[Tensor, "n t"]]:
    """Texts of these lengths and the log p of each word when it was last said; 0 past a text's end."""
    both_ways = Padding(lengths) & Prefix(lengths)
    hidden = torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]
    ids = torch.zeros_like(hidden, dtype=torch.long)
    exact = torch.float64 if encoded.x.dtype == torch.float64 else torch.float32
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
