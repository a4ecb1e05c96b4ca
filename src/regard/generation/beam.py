"""Beam search: the texts that score best, found by keeping the K best beginnings at each step.

    score(y) = log p(y) / lp(|y|) + β Σ_i log min(Σ_j p_ij, 1)

    lp(n) = n^α  ("length"),  ((5 + n) / 6)^α  ("wu"),  1  ("none")

|y| counts the tokens written, the end token among them; p_ij is how much target word j looked at source word i. At each
step every beginning is continued with every word; of the K best continuations by log p those that end are finished and
get their score, and the K best that do not end go on.

A row stops when nothing can change its answer. Proof: what goes on adds log p ≤ 0 and costs of diversity ≥ 0 to a
beginning's s ≤ 0, and coverage is ≤ 0; lp is monotone, so over all lengths n + 1 … limit that the beginning can still
reach, no score exceeds s / max(lp(n + 1), lp(limit)). When that is not above the worst of K finished texts for the best
beginning of each group, no later text can enter the K best.

Source   length normalisation: Wu et al. 2016, arXiv:1609.08144, §7, eq. 14 ("wu"), coverage: the same; the plain power:
         Murray & Chiang 2018, arXiv:1808.10006, §3. Groups that avoid each other's words: Vijayakumar et al. 2016,
         arXiv:1610.02424, §3.
Cost     K rows for each text; a cache of K rows, reordered at each step, and the source once for all K. Coverage
         listens to cross-attention, which then takes its plain formula.
Differs  A text is finished only when its end stands among the K best continuations, as most libraries have it. At the
         limit the K best count as finished, so that there is always an answer. Coverage ranks finished texts; it does
         not choose beginnings. With "length" and `stop="proved"` the answers are those of `transformers` with
         `early_stopping="never"`: it divides by the same n^α (the prompt is not counted) and differs only in when it
         stops for α ≤ 0, where its bound takes n for n + 1. `stop="full"` is its `early_stopping=True`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from regard.attention import Cache, Padding
from regard.generation.alignment import Looks, real
from regard.model import Encoded, Transformer
from regard.settings import RegardError, Settings, SettingsError


class Beam(Settings):
    """How to search."""

    size: int = Field(4, ge=1)
    """Beginnings kept for each text."""
    length_penalty: float = Field(1.0, allow_inf_nan=False)
    """α: above 0 favours long texts, below 0 short ones."""
    normalisation: Literal["length", "wu", "none"] = "length"
    coverage: float = Field(0.0, ge=0, allow_inf_nan=False)
    """β: what a source word costs that no target word looked at, for translators; 0.2 is usual."""
    min_length: int = Field(0, ge=0)
    """So many tokens come before the end token may."""
    stop: Literal["full", "proved"] = "full"
    """When a row is done: as soon as K texts are finished, or only when no other text can enter the K best."""
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
    limit: int | Sequence[int] = 128,
    *,
    end: int | Collection[int] | None = None,
    n_best: int = 1,
    encoded: Encoded | None = None,
) -> list[list[Hypothesis]]:
    """The `n_best` best texts of each prompt, best first; each is at most `limit` tokens long.

    A prompt is what the text must begin with: a decoder's text so far, or a translator's begin token and, if asked, the
    first words of its translation; `encoded` then holds the sources, a row for each prompt. `limit` may be a number for
    each prompt: a tight one, such as twice the source's length, lets the proved bound stop early. What a row gives does
    not depend on the rows beside it, and its first text not on `n_best`.

    Raises `RegardError` where prompts are empty or do not fit, and where `n_best` is more than the beams.
    """
    beam = beam or Beam()
    if not 1 <= n_best <= beam.size:
        raise RegardError(
            f"{n_best} texts of {beam.size} beams cannot be given: n_best is at least 1, at most the beams."
        )
    ends = sorted({end} if isinstance(end, int) else set(end or ()))
    limits = [limit] * len(prompts) if isinstance(limit, int) else list(limit)
    _check(model, prompts, beam, limits, encoded)
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return _Search(model, prompts, beam, limits, ends, encoded).run(n_best)
    finally:
        model.train(training)


class _Search:
    """Rows r are prompts still being searched, each with g groups of k beams."""

    def __init__(
        self,
        model: Transformer,
        prompts: Sequence[Sequence[int]],
        beam: Beam,
        limits: list[int],
        ends: list[int],
        encoded: Encoded | None,
    ) -> None:
        self.model, self.beam, self.encoded = model, beam, encoded
        device = next(model.parameters()).device
        self.vocab_size = model.config.output_vocab_size
        self.ends = torch.tensor(ends, dtype=torch.long, device=device)
        self.limits = torch.tensor(limits, device=device)
        self.longest = max(limits)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        text = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.long, device=device)
        for row, prompt in enumerate(prompts):
            text[row, : len(prompt)] = torch.tensor(prompt)
        self.cache: Cache = model.cache(len(prompts), text.shape[1] + self.longest - 1)
        self.looks = Looks() if beam.coverage and encoded is not None else None
        self.covered = self.real = torch.empty(0)  # [r g·k s], Σ_j p_ij of each beam; [r s], which i are words
        logits = self._read(text, lengths)

        rows, g, k = len(prompts), beam.groups, beam.size // beam.groups
        self.groups, self.k = g, k
        self.cache.reorder(torch.arange(rows, device=device).repeat_interleave(g * k))
        self.logits = logits.repeat_interleave(g * k, 0)
        self.rows = list(range(rows))
        self.lp = torch.tensor([beam.penalty(n) for n in range(1, self.longest + 2)], dtype=logits.dtype, device=device)
        # All beams of a group begin alike, so only the first may count.
        self.running = torch.full((rows, g, k), -math.inf, dtype=logits.dtype, device=device)
        self.running[:, :, 0] = 0.0
        self.spent = torch.zeros_like(self.running)  # what diversity cost: running + spent is log p
        self.written = torch.zeros(rows, g, k, self.longest, dtype=torch.long, device=device)
        self.best = torch.full((rows, g, k), -math.inf, dtype=logits.dtype, device=device)
        self.best_own = self.best.clone()
        self.best_text = self.written.clone()
        self.best_length = torch.zeros(rows, g, k, dtype=torch.long, device=device)
        self.answers: list[list[Hypothesis]] = [[] for _ in prompts]

    def run(self, n_best: int) -> list[list[Hypothesis]]:
        beams = self.groups * self.k
        for step in range(self.longest):
            newest, parents = self._choose(step)
            rows = torch.arange(len(parents), device=parents.device)
            done = self._done(step)
            if bool(done.any()):
                self._collect(done.nonzero()[:, 0].tolist(), n_best)
                rows = (~done).nonzero()[:, 0]
                if not len(rows):
                    break
                self._keep(rows)
                newest, parents = newest[rows], parents[rows]
            self.cache.reorder((rows[:, None] * beams + parents.flatten(1)).flatten())
            if self.looks is not None:
                self.covered = self._of(self.covered, parents.flatten(1))
            self.logits = self._next(newest.flatten()[:, None])
        return self.answers

    def _choose(self, step: int) -> tuple[Int[Tensor, "r g k"], Int[Tensor, "r g k"]]:
        """Finishes what ends, moves the rest on, and says which words were added to which beams of a row."""
        log_p = torch.log_softmax(self.logits, -1, out=self.logits)  # in place: new memory costs more than the sums
        log_p = log_p.view(len(self.rows), self.groups, self.k, self.vocab_size)
        if step < self.beam.min_length:
            log_p.index_fill_(-1, self.ends, -math.inf)
        counts = log_p.new_zeros(len(self.rows), self.vocab_size) if self.beam.diversity else None
        coverage = self._coverage()
        words, parents = [], []
        for group in range(self.groups):
            word, parent = self._choose_of_group(step, group, log_p[:, group], counts, coverage)
            if counts is not None:
                counts.scatter_add_(1, word, torch.full_like(word, self.beam.diversity, dtype=counts.dtype))
            words.append(word)
            parents.append(parent + group * self.k)
        return torch.stack(words, 1), torch.stack(parents, 1)

    def _choose_of_group(
        self,
        step: int,
        group: int,
        log_p: Float[Tensor, "r k v"],
        cost: Float[Tensor, "r v"] | None,
        coverage: Float[Tensor, "r g k"] | None,
    ) -> tuple[Int[Tensor, "r k"], Int[Tensor, "r k"]]:
        k, v = self.k, self.vocab_size
        value = log_p.add_(self.running[:, group, :, None])
        if cost is not None:
            value.sub_(cost[:, None])
        # So many that k of them do not end: each beam has at most len(ends) continuations that do.
        count = min(k * (1 + len(self.ends)), k * v)
        value, flat = top(value.flatten(1), count)
        if bool(value[:, 0].isnan().any()):
            raise RegardError(
                f"the model's logits are not finite at token {step + 1}: its weights are damaged, or its training "
                "diverged."
            )
        parent, word = flat // v, flat % v
        spent = self.spent[:, group].gather(1, parent)
        if cost is not None:
            spent = spent + cost.gather(1, word)
        text = self._of(self.written[:, group], parent)
        text[:, :, step] = word
        ended = torch.isin(word, self.ends) | (self.limits == step + 1)[:, None]

        score = value / self.lp[step]
        if coverage is not None:
            score = score + coverage[:, group].gather(1, parent)
        score = score.masked_fill(~(ended & (torch.arange(count, device=word.device) < k)), -math.inf)
        self.best[:, group], place = torch.cat([self.best[:, group], score], 1).topk(k)
        length = torch.full_like(word, step + 1)
        for kept, new in ((self.best_own, value + spent), (self.best_length, length)):
            kept[:, group] = torch.cat([kept[:, group], new], 1).gather(1, place)
        self.best_text[:, group] = self._of(torch.cat([self.best_text[:, group], text], 1), place)

        self.running[:, group], place = value.masked_fill(ended, -math.inf).topk(k)
        self.spent[:, group] = spent.gather(1, place)
        self.written[:, group] = self._of(text, place)
        return word.gather(1, place), parent.gather(1, place)

    def _done(self, step: int) -> Bool[Tensor, "r"]:
        """Rows in which no beginning can still beat what is finished, in any group, or that are at their limit."""
        reach = self.lp[step + 1].maximum(self.lp[self.limits - 1])
        hope, worst = self.running.amax(-1) / reach[:, None], self.best.amin(-1)
        done = hope <= worst
        if self.beam.stop == "full":
            done = done | (worst > -math.inf)
        return done.all(-1) | (self.limits == step + 1)

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
        """Rows that are done leave the batch, and with them their sources."""
        self.rows = [self.rows[row] for row in rows.tolist()]
        for name in ("limits", "running", "spent", "written", "best", "best_own", "best_text", "best_length"):
            setattr(self, name, getattr(self, name)[rows])
        if self.encoded is not None:
            self.encoded = self.encoded.gather(rows)
            self.cache.read_on(rows)
        if self.looks is not None:
            self.covered, self.real = self.covered[rows], self.real[rows]

    def _of(self, texts: Tensor, places: Int[Tensor, "r m"]) -> Tensor:
        """Of [r n l] those of [r m], [r m l]."""
        return texts.gather(1, places[:, :, None].expand(-1, -1, texts.shape[-1]))

    def _coverage(self) -> Float[Tensor, "r g k"] | None:
        """β Σ_i log min(Σ_j p_ij, 1), over the real words of the source."""
        if self.looks is None:
            return None
        least = torch.finfo(self.covered.dtype).tiny  # a word that was never looked at costs much, and not all
        log = self.covered.clamp(least, 1.0).log().masked_fill(~self.real[:, None], 0.0)
        return self.beam.coverage * log.sum(-1).view(-1, self.groups, self.k)

    def _read(self, text: Int[Tensor, "r t"], lengths: Int[Tensor, "r"]) -> Float[Tensor, "r v"]:
        even = bool((lengths == text.shape[1]).all())
        mask = None if even else Padding(lengths)
        with self.looks or nullcontext():
            x = self.model.hidden(text, mask=mask, cache=self.cache, encoded=self.encoded)
        if self.looks is not None and self.encoded is not None:
            seen = self.looks.weights().mean(1)
            read = torch.arange(text.shape[1], device=text.device) < lengths[:, None]
            self.covered = (seen * read[:, :, None]).sum(1, keepdim=True).expand(-1, self.beam.size, -1)
            self.real = real(self.encoded)
        last = x[:, -1:] if even else x[torch.arange(len(x), device=x.device), lengths - 1][:, None]
        return self._logits(last)

    def _next(self, newest: Int[Tensor, "n 1"]) -> Float[Tensor, "n v"]:
        with self.looks or nullcontext():
            x = self.model.hidden(newest, cache=self.cache, encoded=self.encoded)
        if self.looks is not None:
            # The beams of a sentence stand where the tokens of a row do.
            self.covered = self.covered + self.looks.weights().mean(1).view(self.covered.shape)
        return self._logits(x)

    def _logits(self, last: Float[Tensor, "n 1 d"]) -> Float[Tensor, "n v"]:
        logits = self.model.head(last, self.model.last_stack.input.tokens)[:, 0]
        return logits if logits.dtype == torch.float64 else logits.float()


def top(x: Float[Tensor, "r n"], count: int, run: int = 64) -> tuple[Float[Tensor, "r m"], Int[Tensor, "r m"]]:
    """The `count` largest of each row, and where they stand: a third of the time of `topk` on long rows.

    They stand in the `count` runs with the largest maxima, or behind the last whole run.
    """
    whole = x.shape[1] // run
    if whole <= 4 * count:
        return x.topk(count)
    best = x[:, : whole * run].unflatten(1, (whole, run)).amax(-1).topk(count).indices
    among = (best[:, :, None] * run + torch.arange(run, device=x.device)).flatten(1)
    behind = torch.arange(whole * run, x.shape[1], device=x.device).expand(len(x), -1)
    among = torch.cat([among, behind], 1)
    value, place = x.gather(1, among).topk(count)
    return value, among.gather(1, place)


def _check(
    model: Transformer, prompts: Sequence[Sequence[int]], beam: Beam, limits: Sequence[int], encoded: Encoded | None
) -> None:
    if model.decoder is None:
        raise RegardError("an encoder writes no text: search with a decoder, or an encoder and a decoder.")
    if (encoded is not None) != (model.encoder is not None):
        raise RegardError("a translator searches with encoded=model.encode(sources), and a decoder without it.")
    if beam.coverage and encoded is None:
        raise RegardError("coverage asks how well the source is covered, and a decoder alone has none: leave it at 0.")
    if not prompts or not all(len(prompt) for prompt in prompts) or min(limits, default=1) < 1:
        raise RegardError("a search needs at least one prompt, each of at least one token, and a limit of at least 1.")
    if len(limits) != len(prompts):
        raise RegardError(f"{len(prompts)} prompts and {len(limits)} limits do not pair: give one limit, or one each.")
    if encoded is not None and len(encoded.x) != len(prompts):
        raise RegardError(f"{len(prompts)} prompts and {len(encoded.x)} sources do not pair: give one source a prompt.")
    size = model.config.output_vocab_size
    wrong = next((token for prompt in prompts for token in prompt if not 0 <= token < size), None)
    if wrong is not None:
        raise RegardError(f"a prompt holds the id {wrong}, and the model's vocabulary has {size} words.")
    longest, room = max(map(len, prompts)) + max(limits) - 1, model.decoder.limit
    if room is not None and longest > room:
        raise RegardError(
            f"{max(limits)} tokens after a prompt of {max(map(len, prompts))} are more than the {room} that the "
            "model's learned positions know: ask for fewer."
        )
