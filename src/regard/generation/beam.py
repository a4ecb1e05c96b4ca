"""Beam search: the texts that score best, found by keeping the K best beginnings at each step.

    score(y) = log p(y) / lp(|y|)        lp(n) = n^α  ("length"),  ((5 + n) / 6)^α  ("wu"),  1  ("none")

|y| counts the tokens written, the end token among them. At each step every beginning is continued with every word; of
the K best continuations those that end are finished, and the K best that do not end go on. A row stops when no
beginning can still beat its K finished texts: what goes on adds no probability, so a beginning with log p = s can at
best score s / lp(limit) where lp grows, and that bound is exact enough to stop and never to miss.

Source   length normalisation: Wu et al. 2016, arXiv:1609.08144, §7, eq. 14 ("wu"); the plain power: Murray & Chiang
         2018, arXiv:1808.10006, §3. Groups that avoid each other's words: Vijayakumar et al. 2016,
         arXiv:1610.02424, §3.
Cost     K rows for each text; a cache of K rows, reordered at each step.
Differs  A text is finished only when its end stands among the K best continuations, as most libraries have it. At the
         limit the K best count as finished, so that there is always an answer.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from regard.attention import Cache, Padding
from regard.model import Encoded, Transformer
from regard.settings import RegardError, Settings, SettingsError


class Beam(Settings):
    """How to search."""

    size: int = Field(4, ge=1)
    """Beginnings kept for each text."""
    length_penalty: float = Field(1.0, allow_inf_nan=False)
    """α: above 0 favours long texts, below 0 short ones."""
    normalisation: Literal["length", "wu", "none"] = "length"
    groups: int = Field(1, ge=1)
    """Beams in groups that avoid the words which the groups before them chose at the same step."""
    diversity: float = Field(0.0, ge=0, allow_inf_nan=False)
    """What a word costs for each time that it was chosen before, in nats."""

    @model_validator(mode="after")
    def _divides(self) -> Beam:
        if self.size % self.groups:
            raise SettingsError(f"{self.size} beams cannot be split into {self.groups} groups of equal size")
        return self

    def penalty(self, length: int) -> float:
        """lp(length), what log p is divided by."""
        if self.normalisation == "none":
            return 1.0
        return float(length if self.normalisation == "length" else (5 + length) / 6) ** self.length_penalty


class Hypothesis(NamedTuple):
    """A finished text. `score` ranks it; `log_probability` is the model's own, in nats, the end token included."""

    ids: list[int]
    """What was written, without the end token."""
    score: float
    log_probability: float
    finished: Literal["end", "limit"]


def beam_search(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    beam: Beam | None = None,
    limit: int = 128,
    *,
    end: int | Collection[int] | None = None,
    n_best: int = 1,
    encoded: Encoded | None = None,
) -> list[list[Hypothesis]]:
    """The `n_best` best texts of each prompt, best first; each is at most `limit` tokens long.

    A prompt is what the text must begin with: a decoder's text so far, or a translator's begin token and, if asked, the
    first words of its translation; `encoded` then holds the sources, a row for each prompt. What a row gives does not
    depend on the rows beside it, and its first text not on `n_best`.

    Raises `RegardError` where prompts are empty or do not fit, and where `n_best` is more than the beams.
    """
    beam = beam or Beam()
    if not 1 <= n_best <= beam.size:
        raise RegardError(
            f"{n_best} texts of {beam.size} beams cannot be given: n_best is at least 1, at most the beams."
        )
    ends = sorted({end} if isinstance(end, int) else set(end or ()))
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return _Search(model, prompts, beam, limit, ends, encoded).run(n_best)
    finally:
        model.train(training)


class _Search:
    """Rows r are prompts still being searched, each with g groups of k beams."""

    def __init__(
        self,
        model: Transformer,
        prompts: Sequence[Sequence[int]],
        beam: Beam,
        limit: int,
        ends: list[int],
        encoded: Encoded | None,
    ) -> None:
        _check(model, prompts, limit, encoded)
        self.model, self.beam, self.limit, self.encoded = model, beam, limit, encoded
        self.groups, self.k = beam.groups, beam.size // beam.groups
        device = next(model.parameters()).device
        self.vocab_size = model.config.output_vocab_size
        self.ends = torch.tensor(ends, dtype=torch.long, device=device)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        text = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.long, device=device)
        for row, prompt in enumerate(prompts):
            text[row, : len(prompt)] = torch.tensor(prompt)
        self.cache: Cache = model.cache(len(prompts), text.shape[1] + limit - 1)
        logits = self._read(text, lengths)

        rows, g, k = len(prompts), self.groups, self.k
        self._repeat(torch.arange(rows, device=device).repeat_interleave(g * k))
        self.logits = logits.repeat_interleave(g * k, 0)
        self.rows = list(range(rows))
        # All beams of a group begin alike, so only the first may count.
        self.running = torch.full((rows, g, k), -math.inf, dtype=logits.dtype, device=device)
        self.running[:, :, 0] = 0.0
        self.own = self.running.clone()  # log p, without what diversity costs
        self.written = torch.zeros(rows, g, k, limit, dtype=torch.long, device=device)
        self.best = torch.full((rows, g, k), -math.inf, dtype=logits.dtype, device=device)
        self.best_own = self.best.clone()
        self.best_text = self.written.clone()
        self.best_length = torch.zeros(rows, g, k, dtype=torch.long, device=device)
        self.answers: list[list[Hypothesis]] = [[] for _ in prompts]

    def run(self, n_best: int) -> list[list[Hypothesis]]:
        for step in range(self.limit):
            newest, parents = self._choose(step)
            done = self._done(step) if step + 1 < self.limit else torch.ones_like(self.best[:, 0, 0], dtype=torch.bool)
            finished = done.tolist()
            if any(finished):
                self._collect([place for place, over in enumerate(finished) if over], n_best)
                kept = torch.tensor([n for n, over in enumerate(finished) if not over], device=newest.device)
                if not len(kept):
                    break
                self._keep(kept)
                newest, parents = newest[kept], parents[kept]
            beams = self.groups * self.k
            first = torch.arange(len(parents), device=parents.device)[:, None] * beams
            if any(finished):
                first = kept[:, None] * beams
            self._repeat((first + parents.flatten(1)).flatten())
            self.logits = self._next(newest.flatten()[:, None])
        return self.answers

    def _choose(self, step: int) -> tuple[Int[Tensor, "r g k"], Int[Tensor, "r g k"]]:
        """Finishes what ends, moves the rest on, and says which words were added to which beams of a row."""
        log_p = self.logits.log_softmax(-1).view(len(self.rows), self.groups, self.k, self.vocab_size)
        if not bool(torch.isfinite(log_p.amax(-1)).all()):
            raise RegardError(
                f"the model's logits are not finite at token {step + 1}: its weights are damaged, or its training "
                "diverged."
            )
        counts = log_p.new_zeros(len(self.rows), self.vocab_size)
        words, parents = [], []
        for group in range(self.groups):
            cost = self.beam.diversity * counts if group and self.beam.diversity else None
            word, parent = self._choose_of_group(step, group, log_p[:, group], cost)
            counts.scatter_add_(1, word, torch.ones_like(word, dtype=counts.dtype))
            words.append(word)
            parents.append(parent + group * self.k)
        return torch.stack(words, 1), torch.stack(parents, 1)

    def _choose_of_group(
        self, step: int, group: int, log_p: Float[Tensor, "r k v"], cost: Float[Tensor, "r v"] | None
    ) -> tuple[Int[Tensor, "r k"], Int[Tensor, "r k"]]:
        k = self.k
        value = self.running[:, group, :, None] + (log_p if cost is None else log_p - cost[:, None])
        # So many that k of them do not end: each beam has at most len(ends) continuations that do.
        count = min(k * (1 + len(self.ends)), k * self.vocab_size)
        value, flat = value.flatten(1).topk(count)
        parent, word = flat // self.vocab_size, flat % self.vocab_size
        own = (self.own[:, group, :, None] + log_p).flatten(1).gather(1, flat)
        text = self._of(self.written[:, group], parent)
        text[:, :, step] = word
        ended = torch.isin(word, self.ends)
        if step + 1 == self.limit:
            ended = torch.ones_like(ended)

        over = ended & (torch.arange(count, device=word.device) < k)
        score = (value / self.beam.penalty(step + 1)).masked_fill(~over, -math.inf)
        best, place = torch.cat([self.best[:, group], score], 1).topk(k)
        self.best[:, group] = best
        length = torch.full_like(word, step + 1)
        for kept, new in ((self.best_own, own), (self.best_length, length)):
            kept[:, group] = torch.cat([kept[:, group], new], 1).gather(1, place)
        self.best_text[:, group] = self._of(torch.cat([self.best_text[:, group], text], 1), place)

        value, place = value.masked_fill(ended, -math.inf).topk(k)
        self.running[:, group], self.own[:, group] = value, own.gather(1, place)
        self.written[:, group] = self._of(text, place)
        return word.gather(1, place), parent.gather(1, place)

    def _done(self, step: int) -> Bool[Tensor, "r"]:
        """Rows in which no beginning can still beat what is finished, in any group."""
        grows = self.beam.penalty(self.limit) >= self.beam.penalty(step + 1)
        hope = self.running.amax(-1) / self.beam.penalty(self.limit if grows else step + 2)
        return (hope <= self.best.amin(-1)).all(-1)

    def _collect(self, places: list[int], n_best: int) -> None:
        ends = set(self.ends.tolist())
        for place in places:
            found = []
            scores, own = self.best[place].flatten().tolist(), self.best_own[place].flatten().tolist()
            texts, lengths = self.best_text[place].flatten(0, 1).tolist(), self.best_length[place].flatten().tolist()
            for score, log_probability, text, length in zip(scores, own, texts, lengths, strict=True):
                if score > -math.inf:
                    over = text[length - 1] in ends
                    ids = text[: length - 1] if over else text[:length]
                    found.append(Hypothesis(ids, score, log_probability, "end" if over else "limit"))
            self.answers[self.rows[place]] = sorted(found, key=lambda one: -one.score)[:n_best]

    def _keep(self, rows: Int[Tensor, "n"]) -> None:
        """Rows that are done leave the batch; `_repeat` does the same with the cache."""
        self.rows = [self.rows[row] for row in rows.tolist()]
        for name in ("running", "own", "written", "best", "best_own", "best_text", "best_length"):
            setattr(self, name, getattr(self, name)[rows])

    def _of(self, texts: Int[Tensor, "r n l"], places: Int[Tensor, "r m"]) -> Int[Tensor, "r m l"]:
        return texts.gather(1, places[:, :, None].expand(-1, -1, texts.shape[-1]))

    def _repeat(self, rows: Int[Tensor, "n"]) -> None:
        """The cache and the sources, of these rows."""
        self.cache.gather(rows)
        if self.encoded is not None:
            self.encoded = self.encoded.gather(rows)

    def _read(self, text: Int[Tensor, "r t"], lengths: Int[Tensor, "r"]) -> Float[Tensor, "r v"]:
        even = bool((lengths == text.shape[1]).all())
        mask = None if even else Padding(lengths)
        x = self.model.hidden(text, mask=mask, cache=self.cache, encoded=self.encoded)
        last = x[:, -1:] if even else x[torch.arange(len(x), device=x.device), lengths - 1][:, None]
        return self._logits(last)

    def _next(self, newest: Int[Tensor, "n 1"]) -> Float[Tensor, "n v"]:
        return self._logits(self.model.hidden(newest, cache=self.cache, encoded=self.encoded))

    def _logits(self, last: Float[Tensor, "n 1 d"]) -> Float[Tensor, "n v"]:
        logits = self.model.head(last, self.model.last_stack.input.tokens)[:, 0]
        return logits if logits.dtype == torch.float64 else logits.float()


def _check(model: Transformer, prompts: Sequence[Sequence[int]], limit: int, encoded: Encoded | None) -> None:
    if model.decoder is None:
        raise RegardError("an encoder writes no text: search with a decoder, or an encoder and a decoder.")
    if (encoded is not None) != (model.encoder is not None):
        raise RegardError("a translator searches with encoded=model.encode(sources), and a decoder without it.")
    if not prompts or limit < 1 or not all(len(prompt) for prompt in prompts):
        raise RegardError("a search needs at least one prompt, each of at least one token, and a limit of at least 1.")
    if encoded is not None and len(encoded.x) != len(prompts):
        raise RegardError(f"{len(prompts)} prompts and {len(encoded.x)} sources do not pair: give one source a prompt.")
    size = model.config.output_vocab_size
    wrong = next((token for prompt in prompts for token in prompt if not 0 <= token < size), None)
    if wrong is not None:
        raise RegardError(f"a prompt holds the id {wrong}, and the model's vocabulary has {size} words.")
    longest, room = max(map(len, prompts)) + limit - 1, model.decoder.limit
    if room is not None and longest > room:
        raise RegardError(
            f"{limit} tokens after a prompt of {max(map(len, prompts))} are more than the {room} that the model's "
            "learned positions know: ask for fewer."
        )
