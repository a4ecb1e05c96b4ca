"""What all attention that is linear in length shares: a state of constant size in place of the tokens seen.

    S_t = γ_t S_{t−1} + k_t u_tᵀ        y_t = q_tᵀ S_t        u_t = v_t, or β_t (v_t − γ_t S_{t−1}ᵀ k_t)

A mechanism says its features of queries and keys, and where it has them γ, β and what becomes of y; the three forms
stand here once: `parallel`, all tokens at once with a weight for each pair, which is the lesson and the oracle;
`chunked`, for training and prompts; `recurrent`, for one token and a cache. `scan.py` is their engine.

There are no weights to drop, so `dropout` does nothing here. Sums are in float32 whatever the type of the model.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from regard.attention import scan
from regard.attention.base import Attention, AttentionModule, Bias, CacheSlot
from regard.attention.cache import Memory, State
from regard.attention.mask import Causal, Documents, Padding, View
from regard.layers import Sizes, listening, tap
from regard.layers.linear import fused
from regard.positions import PositionModule
from regard.settings import RegardError


class Recurrent(Attention):
    """Attention through a state: which maps have a bias, and how many tokens the chunked form takes at once."""

    bias: Bias = "all"
    chunk: int = Field(64, ge=1)

    offers: ClassVar[frozenset[str]] = frozenset({"causal", "cache", "turn", "documents"})

    def entry(self, capacity: int | None) -> State:
        return State()

    def width(self, sizes: Sizes) -> int:
        """Features of a query or key, for which the state of a head has a row each."""
        return sizes.head_dim

    def flops(self, sizes: Sizes, t: int, s: int) -> int:
        """Each token writes into the state and reads it; in a decoder's chunks it also meets its neighbours."""
        f, e = self.width(sizes), sizes.head_dim
        met = min(t, self.chunk) if sizes.causal and t > 1 else 0
        return t * sizes.n_heads * (4 * f * e + 2 * met * (f + e))


class RecurrentModule(AttentionModule):
    """Projections, masks and the three forms. A leaf says `features`, and `log_decay`, `strength`, `finish`."""

    normalised = False
    """Whether y_t is divided by the sum of its weights, so that they are shares."""

    def __init__(self, settings: Recurrent, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.chunk, self.kind = settings.chunk, settings.kind
        self.make_maps(settings, sizes)

    def features(self, x: Float[Tensor, "b g s e"]) -> Float[Tensor, "b g s f"]:
        """φ: what is made of keys, and of queries, before they meet."""
        return x

    def query_features(self, q: Float[Tensor, "b h t e"]) -> Float[Tensor, "b h t f"]:
        """φ of queries, where it is another."""
        return self.features(q)

    def log_decay(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "#b h t"] | None:
        """log γ ≤ 0, how much of the state each token leaves; None: all."""
        return None

    def strength(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b h t"] | None:
        """β, how far each token replaces what its key recalls; None: it adds its value."""
        return None

    def finish(self, mixed: Float[Tensor, "b h t e"], x: Float[Tensor, "b t d"]) -> Float[Tensor, "b h t e"]:
        """What becomes of the mixture before heads are joined."""
        return mixed

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        memory: Float[Tensor, "b s d"] | None,
        view: View,
        position: PositionModule,
        entry: CacheSlot | None,
    ) -> Float[Tensor, "b t d"]:
        if not view.mask.made_of(Padding) and (memory is not None or not view.mask.made_of(Causal, Padding, Documents)):
            known = "padding" if memory is not None else "causal masks, padding and documents"
            raise RegardError(f"{self.kind} attention sums what was seen and knows {known} only: take 'dot' attention.")
        y = self.read(x, memory, view, entry) if memory is not None else self.look(x, view, position, entry)
        return self.o(tap(self.place, "mixed", self.finish(y, x)).to(x.dtype).transpose(1, 2).flatten(2))

    def read(
        self, x: Float[Tensor, "b t d"], memory: Float[Tensor, "b s d"], view: View, entry: CacheSlot | None
    ) -> Float[Tensor, "b h t e"]:
        """Cross-attention."""
        raise NotImplementedError

    def look(
        self, x: Float[Tensor, "b t d"], view: View, position: PositionModule, entry: CacheSlot | None
    ) -> Float[Tensor, "b h t e"]:
        """Self-attention in the form that the moment asks for."""
        q, k, v = (self.split(y) for y in fused(x, (self.q, self.k, self.v)))
        q, k, v = tap(self.place, "q", q), tap(self.place, "k", k), tap(self.place, "v", v)
        q, k = position.turn(q, k, view.q_at, view.q_at)
        with in_full(x):
            q, k = self.query_features(full(q)), self.features(full(k))
            k, v = self.real(k, view), self.for_each_query(full(v))
            log_decay, beta = self.log_decay(x), self.strength(x)
            real = view.real()
            if log_decay is not None and real is not None:
                log_decay = log_decay.masked_fill(~real[:, None], 0.0)  # padding leaves the state alone
            if entry is None and listening():
                return self.parallel(q, k, v, log_decay, beta, view)
            v = F.pad(v, (0, 1), value=1.0) if self.normalised else v
            if entry is None:
                y = self.chunked(q, k, v, log_decay, beta, view, None)[0]
            else:
                kept = entry.entry
                assert isinstance(kept, State)
                state = None if kept.tensors is None else kept.tensors[0]
                if x.shape[1] == 1 and state is not None:
                    y, state = scan.step(q, k, v, state, log_decay, beta)
                else:
                    y, state = self.chunked(q, k, v, log_decay, beta, view, state)
                kept.write(state)
            return self.shared_out(y)

    def chunked(
        self,
        q: Float[Tensor, "b h t f"],
        k: Float[Tensor, "b h t f"],
        v: Float[Tensor, "b h t e"],
        log_decay: Float[Tensor, "#b h t"] | None,
        beta: Float[Tensor, "b h t"] | None,
        view: View,
        state: Float[Tensor, "b h f e"] | None,
    ) -> tuple[Float[Tensor, "b h t e"], Float[Tensor, "b h f e"]]:
        chunk = min(self.chunk, q.shape[2])
        fades = scan.fading(log_decay, document(view), chunk)
        if beta is None:
            return scan.sums(q, k, v, state, fades, chunk)
        return scan.deltas(q, k, v, beta, state, fades, chunk)

    def parallel(
        self,
        q: Float[Tensor, "b h t f"],
        k: Float[Tensor, "b h s f"],
        v: Float[Tensor, "b h s e"],
        log_decay: Float[Tensor, "#b h s"] | None,
        beta: Float[Tensor, "b h t"] | None,
        view: View,
    ) -> Float[Tensor, "b h t e"]:
        """The lesson: a weight for each pair of tokens, with no state and no softmax."""
        seen = view.seen()
        left = q.new_ones(()) if seen is None else seen.to(q.dtype)
        if log_decay is not None:
            since = log_decay.cumsum(-1)
            assert seen is not None
            left = (since[..., :, None] - since[..., None, :]).masked_fill(~seen, float("-inf")).exp()
        scores = torch.einsum("bhtf,bhsf->bhts", q, k) * left
        if beta is not None:
            # u = β (v − what the state recalls) = (1 + β · earlier)⁻¹ β v
            earlier = beta[..., None] * (torch.einsum("bhtf,bhsf->bhts", k, k) * left).tril(-1)
            system = torch.eye(k.shape[2], dtype=k.dtype, device=k.device) + earlier
            scores = torch.linalg.solve(system, scores, left=False) * beta[:, :, None]
        scores = tap(self.place, "scores", scores)
        if self.normalised:
            total = scores.sum(-1, keepdim=True)
            scores = tap(self.place, "weights", divided(scores, total))
            tap(self.place, "nowhere", (total[..., 0] == 0).to(scores.dtype))  # who shares no feature with any token
        return torch.einsum("bhts,bhse->bhte", scores, v)

    def shared_out(self, y: Float[Tensor, "b h t e1"]) -> Float[Tensor, "b h t e2"]:
        """y divided by the sum of its weights, which the last column holds where there is one."""
        return divided(y[..., :-1], y[..., -1:]) if self.normalised else y

    def real(self, k: Float[Tensor, "b g s f"], view: View) -> Float[Tensor, "b h s f"]:
        """The keys for each query, those of padding at zero: they write nothing and recall nothing."""
        real = view.real()
        return self.for_each_query(k if real is None else k * real[:, None, :, None])


class Summed(Recurrent):
    """The sum rule, which knows no order: it sees whole sentences and reads other stacks as well."""

    offers: ClassVar[frozenset[str]] = Recurrent.offers | {"self", "cross"}


class SummedModule(RecurrentModule):
    def chunked(
        self,
        q: Float[Tensor, "b h t f"],
        k: Float[Tensor, "b h t f"],
        v: Float[Tensor, "b h t e"],
        log_decay: Float[Tensor, "#b h t"] | None,
        beta: Float[Tensor, "b h t"] | None,
        view: View,
        state: Float[Tensor, "b h f e"] | None,
    ) -> tuple[Float[Tensor, "b h t e"], Float[Tensor, "b h f e"]]:
        if view.mask.is_causal or not view.square:
            return super().chunked(q, k, v, log_decay, beta, view, state)
        number = document(view)
        if number is None:
            state = k.mT @ v
            return q @ state, state
        # What stands before and what stands behind, each with the token itself, which is then there twice.
        chunk = min(self.chunk, q.shape[2])
        before, state = scan.sums(q, k, v, None, scan.fading(None, number, chunk), chunk)
        behind, _ = scan.sums(q.flip(2), k.flip(2), v.flip(2), None, scan.fading(None, number.flip(1), chunk), chunk)
        return before + behind.flip(2) - (q * k).sum(-1, keepdim=True) * v, state

    def read(
        self, x: Float[Tensor, "b t d"], memory: Float[Tensor, "b s d"], view: View, entry: CacheSlot | None
    ) -> Float[Tensor, "b h t e"]:
        """The other stack's keys and values as one state, written once for all steps."""
        q = tap(self.place, "q", self.split(self.q(x)))
        kept = entry.entry if entry is not None else None
        with in_full(x):
            q = self.query_features(full(q))
            if isinstance(kept, Memory) and kept.tensors is not None:
                return self.shared_out(q @ kept.tensors[0])
            k, v = (self.split(y) for y in fused(memory, (self.k, self.v)))
            k, v = tap(self.place, "k", k), tap(self.place, "v", v)
            k, v = self.real(self.features(full(k)), view), self.for_each_query(full(v))
            if entry is None and listening():
                return self.parallel(q, k, v, None, None, view)
            state = k.mT @ (F.pad(v, (0, 1), value=1.0) if self.normalised else v)
            if isinstance(kept, Memory):
                kept.write(state)
            return self.shared_out(q @ state)


def document(view: View) -> Int[Tensor, "b t"] | None:
    """A number for each token that changes where a document begins."""
    ids = view.mask.documents
    if ids is None:
        return None
    return F.pad((ids[:, 1:] != ids[:, :-1]).long(), (1, 0)).cumsum(1)


def divided(y: Tensor, by: Tensor) -> Tensor:
    """y / by, where by is the sum of weights ≥ 0 that y is made of: zero if all are."""
    return y / by.masked_fill(by == 0, 1.0)


def full_type(x: Tensor) -> torch.dtype:
    """The type of sums over tokens of x."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def full(x: Tensor) -> Tensor:
    return x.to(full_type(x))


def in_full(x: Tensor) -> AbstractContextManager[object]:
    """Within, products are not cast down: sums over many tokens need their digits."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)
