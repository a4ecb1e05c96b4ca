"""The engine: prompts in, tokens out, one call of the model for each step of all rows.

Prompts of unequal length are read at once, padded on the right; from then on each row is given one token a step. The
samples of a prompt share its reading. A row that is done leaves the batch. What a row writes depends on nothing but its
prompt, its seed and the settings: a batch gives the same tokens as each prompt alone. (In bfloat16 a product of other
sizes may round otherwise, and then a token can differ, as it can in any library.)

Past the context there is no exact cache: every kept key has looked at tokens that are gone. `overflow="window"` shows
the model the newest `context_length` tokens anew at each step, at the price of a whole window a step.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from regard.attention import Cache, Padding
from regard.generation.sampling import Sampling, Uniforms, draw, penalise
from regard.model import Encoded, Transformer
from regard.settings import RegardError

Overflow = Literal["window", "refuse"]
Finished = Literal["end", "limit", "stop"]


class Candidate(NamedTuple):
    """A word that could have come, and its probability by the model."""

    id: int
    probability: float


class Step(NamedTuple):
    """A token of one row.

    `probability` and `log_probability` (in nats) are the model's own: temperature 1, nothing filtered or penalised.
    `sampling_probability` is the one it was drawn with. `candidates` are the likeliest words by the model, best first.
    """

    row: int
    """Which prompt, counted from 0."""
    sample: int
    """Which of its samples."""
    id: int
    probability: float
    log_probability: float
    sampling_probability: float
    candidates: tuple[Candidate, ...]
    finished: Finished | None
    """Why this is the row's last token: the end token, or the limit; None while it goes on."""


class Generation:
    """Tokens being written: iterate over its steps, row after row, then on to the next token of each.

    model          a decoder, or an encoder and a decoder
    prompts        ids of each prompt, at least one; a translator's are its begin token and what it must begin with
    encoded        the sources of a translator, a row for each prompt
    limit          at most so many tokens a row
    end            ids that end a row; the end token is its last step
    samples        how many texts for each prompt
    candidates     how many of the likeliest words each step names
    overflow       past the context: "window" lets the model see the newest tokens only, "refuse" is an error at once

    Raises `RegardError` if a prompt is empty, does not fit, or the model gives numbers that are not finite.
    """

    def __init__(
        self,
        model: Transformer,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling | None = None,
        limit: int = 128,
        *,
        end: int | Collection[int] | None = None,
        samples: int = 1,
        candidates: int = 0,
        overflow: Overflow = "window",
        encoded: Encoded | None = None,
    ) -> None:
        if model.decoder is None:
            raise RegardError("only a decoder continues a text, and this model is an encoder.")
        if (encoded is None) != (model.encoder is None) or (encoded is not None and len(encoded.x) != len(prompts)):
            raise RegardError(
                "a translator writes with encoded=model.encode(sources), one for each prompt; a decoder without."
            )
        if not prompts or samples < 1 or limit < 0:
            raise RegardError(
                f"{len(prompts)} prompts, {samples} samples of {limit} tokens cannot be written: give at least one "
                "prompt, one sample, and no negative number of tokens."
            )
        if overflow not in get_args(Overflow):
            raise RegardError(f"overflow is 'window' or 'refuse', got {overflow!r}.")
        self.model = model
        self.sampling = (sampling or Sampling()).seeded()
        self.limit = limit
        self.ends = frozenset() if end is None else frozenset([end] if isinstance(end, int) else end)
        self.candidates = min(candidates, model.config.output_vocab_size)
        self.context = model.config.sizes("decoder").context_length
        self.samples, self.encoded = samples, encoded
        self._check(prompts, overflow if encoded is None else "refuse")

        # Row n is sample n % samples of prompt n // samples. `rows` are those still being written.
        self.rows = list(range(len(prompts) * samples))
        self._done: set[int] = set()
        self._count = 0
        device = next(model.parameters()).device
        self._lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        # A row fed n tokens writes n + 1, so the last token never needs a place in the cache.
        self._longest = max(map(len, prompts))
        self._most = self._longest + max(limit, 1) - 1
        self._text = torch.zeros(len(prompts), self._longest, dtype=torch.long, device=device)
        for row, prompt in enumerate(prompts):
            self._text[row, : len(prompt)] = torch.tensor(prompt)
        self._cache: Cache | None = None
        self._uniforms = Uniforms([self.seed(n % samples) for n in self.rows])
        self._seen = self._words(prompts, device) if self.sampling.repetition_penalty != 1 else None

    def seed(self, sample: int) -> int:
        """The seed that alone gives sample number `sample` of a prompt."""
        assert self.sampling.seed is not None
        return self.sampling.seed + sample

    def finish(self, row: int, sample: int = 0) -> None:
        """Write no more for this row, after the step at hand: its text ended in a way that only its reader knows."""
        self._done.add(row * self.samples + sample)

    def __iter__(self) -> Iterator[Step]:
        while self.rows and self._count < self.limit:
            yield from self._step()
            self._drop()

    @torch.inference_mode()
    def _step(self) -> list[Step]:
        training = self.model.training
        if training:
            self.model.eval()
        try:
            logits = self._read() if self._count == 0 else self._go_on()
        finally:
            if training:
                self.model.train()
        if logits.dtype != torch.float64:
            logits = logits.float()
        uniform = self._uniforms.at(self._count)
        scores = logits if self._seen is None else penalise(logits, self._seen, self.sampling.repetition_penalty)
        chosen, drawn = draw(scores, self.sampling, uniform)
        log_sum = logits.logsumexp(-1)
        own = logits.gather(-1, chosen[:, None])[:, 0] - log_sum
        self._append(chosen)
        self._count += 1
        likeliest = self._likeliest(logits, log_sum)
        steps = []
        numbers = zip(self.rows, chosen.tolist(), own.tolist(), drawn.tolist(), likeliest, strict=True)
        for row, token, log_probability, probability, candidates in numbers:
            if not math.isfinite(log_probability):
                raise RegardError(
                    f"the model's logits are not finite at token {self._count} of text {row // self.samples + 1}: "
                    "its weights are damaged, or its training diverged."
                )
            finished: Finished | None = None
            if token in self.ends:
                finished = "end"
                self._done.add(row)
            elif self._count == self.limit:
                finished = "limit"
            own_probability = min(1.0, math.exp(log_probability))
            prompt, sample = divmod(row, self.samples)
            steps.append(
                Step(prompt, sample, token, own_probability, log_probability, probability, candidates, finished)
            )
        return steps

    def _read(self) -> Float[Tensor, "b v"]:
        """The first logits: all prompts at once, each once, whatever the number of its samples."""
        if self._longest <= self.context:
            self._cache = self.model.cache(len(self._text), min(self._most, self.context))
            logits = self._logits(self._text[:, : self._longest], self._lengths)
        else:
            logits = self._windows()
        if self.samples == 1:
            return logits
        rows = torch.arange(len(self._text), device=logits.device).repeat_interleave(self.samples)
        self._gather(rows)
        return logits[rows]

    def _go_on(self) -> Float[Tensor, "b v"]:
        """The next logits: the newest token of each row, or past the context the newest window."""
        if self._cache is None or self._longest > self.context:
            self._cache = None
            return self._windows()
        return self._logits(self._newest, None)

    def _windows(self) -> Float[Tensor, "b v"]:
        """The logits after the newest tokens of each row, at most a context of them, read anew."""
        lengths = self._lengths.clamp_max(self.context)
        places = torch.arange(min(self._longest, self.context), device=lengths.device)
        ids = self._text.gather(1, (self._lengths - lengths)[:, None] + places)
        return self._logits(ids, lengths)

    def _logits(self, ids: Int[Tensor, "b t"], lengths: Int[Tensor, "b"] | None) -> Float[Tensor, "b v"]:
        """What follows the last token of each row; rows are `lengths` long, padded on the right (None: full)."""
        if lengths is not None and bool((lengths == ids.shape[1]).all()):
            lengths = None
        mask = None if lengths is None else Padding(lengths)
        x = self.model.hidden(ids, mask=mask, cache=self._cache, encoded=self.encoded)
        last = x[:, -1] if lengths is None else x[torch.arange(len(x), device=x.device), lengths - 1]
        return self.model.head(last[:, None], self.model.last_stack.input.tokens)[:, 0]

    def _append(self, chosen: Int[Tensor, "b"]) -> None:
        self._newest = chosen[:, None]
        if self._most > self.context:  # only windows read it again
            if self._longest == self._text.shape[1]:
                self._text = F.pad(self._text, (0, self._longest))
            self._text.scatter_(1, self._lengths[:, None], self._newest)
        if self._seen is not None:
            self._seen.scatter_(1, self._newest, True)
        self._lengths = self._lengths + 1
        self._longest += 1

    def _likeliest(self, logits: Float[Tensor, "b v"], log_sum: Float[Tensor, "b"]) -> list[tuple[Candidate, ...]]:
        if not self.candidates:
            return [()] * len(logits)
        best, ids = logits.topk(self.candidates)
        probabilities = (best - log_sum[:, None]).exp()
        return [tuple(map(Candidate, *row)) for row in zip(ids.tolist(), probabilities.tolist(), strict=True)]

    @torch.inference_mode()
    def _drop(self) -> None:
        """Rows that are done leave the batch."""
        if not self._done:
            return
        kept = [place for place, row in enumerate(self.rows) if row not in self._done]
        if len(kept) < len(self.rows):
            self.rows = [self.rows[place] for place in kept]
            if self.rows:
                self._uniforms.keep(kept)
                rows = torch.tensor(kept, device=self._lengths.device)
                self._newest = self._newest[rows]
                self._gather(rows)
                self._longest = int(self._lengths.max())

    def _gather(self, rows: Int[Tensor, "n"]) -> None:
        self._lengths, self._text = self._lengths[rows], self._text[rows]
        if self._seen is not None:
            self._seen = self._seen[rows]
        if self._cache is not None:
            self._cache.gather(rows)
        if self.encoded is not None:
            self.encoded = self.encoded.gather(rows)

    def _words(self, prompts: Sequence[Sequence[int]], device: torch.device) -> Tensor:
        """Which words each prompt holds, [b v]."""
        seen = torch.zeros(len(prompts), self.model.config.output_vocab_size, dtype=torch.bool, device=device)
        for row, prompt in enumerate(prompts):
            seen[row, torch.tensor(prompt, device=device)] = True
        return seen

    def _check(self, prompts: Sequence[Sequence[int]], overflow: Overflow) -> None:
        size = self.model.config.output_vocab_size
        for number, prompt in enumerate(prompts, start=1):
            which = f"prompt {number}" if len(prompts) > 1 else "the prompt"
            if len(prompt) == 0:
                raise RegardError(f"{which} is empty: give a model at least one token to go on from.")
            if min(prompt) < 0 or max(prompt) >= size:
                wrong = next(token for token in prompt if not 0 <= token < size)
                raise RegardError(f"{which} holds the id {wrong}, and the model's vocabulary has {size} words.")
            if overflow == "refuse" and len(prompt) > self.context:
                raise RegardError(
                    f"{which} is {len(prompt)} tokens long, and the model sees {self.context}: shorten it, or use "
                    "overflow='window' to let the model see the newest ones only."
                )
            if overflow == "refuse" and len(prompt) + self.limit - 1 > self.context:
                raise RegardError(
                    f"{self.limit} tokens after {which} of {len(prompt)} are more than the {self.context} that the "
                    f"model sees: ask for {self.context - len(prompt) + 1} at most, or use overflow='window'."
                )


def generate(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling | None = None,
    limit: int = 128,
    *,
    end: int | Collection[int] | None = None,
    samples: int = 1,
    overflow: Overflow = "window",
    encoded: Encoded | None = None,
) -> list[list[int]]:
    """The new ids of each prompt and sample, prompt by prompt, without the end token. See `Generation`."""
    generation = Generation(
        model, prompts, sampling, limit, end=end, samples=samples, overflow=overflow, encoded=encoded
    )
    written: list[list[int]] = [[] for _ in range(len(prompts) * samples)]
    for step in generation:
        if step.finished != "end":
            written[step.row * samples + step.sample].append(step.id)
    return written
