"""Mixture of experts: many feed-forwards stand side by side, and each token is sent to the few that suit it best.

    s = softmax(W_r x)  or  σ(W_r x)                            a score for each of n experts
    K = the k largest of s + b                                  b: the balancing bias, 0 without it
    y = c Σ_{i ∈ K} g_i E_i(x) + shared(x)                      g_i = s_i, or s_i / Σ_{j ∈ K} s_j (renormalise)
    balance   a n Σ_i f_i P_i                                   f: share of the choices, P: mean of s / Σ s
              b_i ← b_i + u sign(1/n − f_i)                     after each step

Source   Shazeer et al. 2017, arXiv:1701.06538 (the layer); Lepikhin et al. 2020, arXiv:2006.16668, §2.2, and Fedus et
         al. 2021, arXiv:2101.03961, eq. 4–6 (the loss, a = 0.01); Wang et al. 2024, arXiv:2408.15664, algorithm 1 (the
         bias, u = 0.001); Dai et al. 2024, arXiv:2401.06066, §3.2 (shared experts); DeepSeek-AI 2024, arXiv:2412.19437,
         §2.1.2 (σ; its released settings have c = 2.5).
Cost     n times the parameters of one feed-forward and d n for the router; the operations of k of them a token.
Differs  No token is ever dropped: tokens are sorted by expert, and each group is one product. `overflow` says what a
         fixed capacity would drop. f counts all k choices, over the real tokens of the batch in one pass (a
         micro-batch, on one process); the bias moves by those of the whole step. The router is float32 always.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from regard.feedforward.base import ACTIVATIONS, Activation, FeedForward, FeedForwardModule
from regard.feedforward.gated import Gated
from regard.feedforward.mlp import MLP
from regard.layers import Linear, Linears, Sizes, dropout, listening, tap
from regard.settings import SettingsError


class Experts(FeedForward, kind="experts"):
    n_experts: int = Field(8, ge=2, le=2**16)
    top_k: int = Field(2, ge=1)
    n_shared: int = Field(0, ge=0, le=2**12)
    """Experts that every token goes through, beside those that are chosen."""
    gated: bool = True
    activation: Activation = "silu"
    score: Literal["softmax", "sigmoid"] = "softmax"
    renormalise: bool = True
    scale: float = 1.0
    balance_loss: float = Field(0.01, ge=0)
    """The weight of the balance loss in the objective; 0: none."""
    balance_rate: float = Field(0.0, ge=0)
    """By how much the balancing bias moves in a step; 0: there is none."""

    def check(self, sizes: Sizes) -> None:
        if self.top_k > self.n_experts:
            raise SettingsError(f"a token cannot choose {self.top_k} of {self.n_experts} experts: lower top_k")
        if self.top_k == 1 and self.renormalise:
            raise SettingsError(
                "one expert's share of itself is always 1, so its router would not learn: set renormalise=false, or "
                "raise top_k"
            )

    def width(self, d_model: int) -> int:
        return (Gated() if self.gated else MLP()).width(d_model)

    def build(self, sizes: Sizes) -> ExpertsModule:
        return ExpertsModule(self, sizes)


class ExpertsModule(FeedForwardModule):
    bias: Tensor | None

    def __init__(self, settings: Experts, sizes: Sizes) -> None:
        super().__init__()
        self.settings, self.place = settings, sizes.place
        self.activation = ACTIVATIONS[settings.activation]
        n, k, d, f = settings.n_experts, settings.top_k, sizes.d_model, sizes.d_ff
        self.router = Linear(d, n, bias=False)
        self.gate = Linears(n, d, f, k) if settings.gated else None
        self.up = Linears(n, d, f, k)
        self.down = Linears(n, f, d, k, residual=True)
        self.shared: FeedForwardModule | None = None
        if settings.n_shared:
            part = (Gated if settings.gated else MLP)(
                activation=settings.activation, bias=False, dropout=settings.dropout
            )
            self.shared = part.build(replace(sizes, d_ff=settings.n_shared * f, place=f"{sizes.place}.shared"))
        self.register_buffer("bias", torch.zeros(n) if settings.balance_rate else None)
        self.counts: Int[Tensor, "n"] | None = None  # choices since the step of training began
        self.load: Float[Tensor, "n"] | None = None  # the share of each expert in the last step's choices

    def forward(self, x: Float[Tensor, "b t d"], real: Bool[Tensor, "#b t"] | None = None) -> Float[Tensor, "b t d"]:
        scores = self._scores(x)
        chosen = (scores if self.bias is None else scores + self.bias).detach().topk(self.settings.top_k).indices
        gates = scores.gather(-1, chosen)
        if self.settings.renormalise:
            gates = gates / gates.sum(-1, keepdim=True).clamp_min(1e-20)
        gates = (gates * self.settings.scale).to(x.dtype)
        if self.training or listening():
            self._weigh(scores, chosen, real)
        y = self.formula(x, gates, chosen) if listening() else self.kernel(x, gates, chosen)
        return y if self.shared is None else y + self.shared(x, real)

    def formula(
        self, x: Float[Tensor, "b t d"], gates: Float[Tensor, "b t k"], chosen: Int[Tensor, "b t k"]
    ) -> Float[Tensor, "b t d"]:
        """Every expert for every token; those that were not chosen count for 0."""
        hidden = torch.einsum("btd,nfd->btnf", x, self.up.matrix())
        if self.gate is None:
            hidden = self.activation(hidden)
        else:
            hidden = self.activation(torch.einsum("btd,nfd->btnf", x, self.gate.matrix())) * hidden
        hidden = self._dropped(tap(self.place, "hidden", hidden))
        shares = gates.new_zeros(*gates.shape[:2], self.settings.n_experts).scatter(-1, chosen, gates)
        shares = tap(self.place, "gates", shares)
        return torch.einsum("btn,btnd->btd", shares, torch.einsum("btnf,ndf->btnd", hidden, self.down.matrix()))

    def kernel(
        self, x: Float[Tensor, "b t d"], gates: Float[Tensor, "b t k"], chosen: Int[Tensor, "b t k"]
    ) -> Float[Tensor, "b t d"]:
        """A row for each choice, sorted by expert: a product for each expert, of the tokens that chose it."""
        k, experts = self.settings.top_k, chosen.flatten()
        order = experts.argsort(stable=True)
        ends = torch.searchsorted(experts[order], torch.arange(self.settings.n_experts, device=x.device), right=True)
        rows = x.flatten(0, 1).index_select(0, order // k)
        if self.gate is None:
            hidden = self.activation(self.up(rows, ends))
        else:
            hidden = self.activation(self.gate(rows, ends)) * self.up(rows, ends)
        answers = self.down(self._dropped(hidden), ends).index_select(0, order.argsort())
        return (answers.view(*chosen.shape, -1) * gates[..., None]).sum(-2)

    def rebalance(self, total: Callable[..., tuple[float, ...]]) -> None:
        """Ends a step of training: the bias moves by what was chosen in it; `total` adds up all processes' numbers."""
        if self.counts is not None:
            counts = torch.tensor(total(*self.counts.tolist()), dtype=torch.float64)
            self.load = counts / counts.sum().clamp_min(1)
            if self.bias is not None:
                self.bias += self.settings.balance_rate * (counts.mean() - counts).sign().to(self.bias)
        self.counts = None

    def _scores(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t n"]:
        with _without_autocast(x.device.type):
            logits = self.router(x.to(self.router.matrix().dtype))
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return logits.softmax(-1) if self.settings.score == "softmax" else logits.sigmoid()

    def _weigh(
        self, scores: Float[Tensor, "b t n"], chosen: Int[Tensor, "b t k"], real: Bool[Tensor, "#b t"] | None
    ) -> None:
        """What the experts have to do, of the real tokens, and in training what is to be done about it."""
        settings, n = self.settings, self.settings.n_experts
        who = torch.ones_like(chosen[..., 0]) if real is None else real.expand_as(chosen[..., 0]).to(chosen.dtype)
        counts = (F.one_hot(chosen, n).sum(-2) * who[..., None]).sum((0, 1))
        tokens = who.sum().clamp_min(1)
        load = tap(self.place, "load", counts / (tokens * settings.top_k))
        if self.training and settings.balance_loss:
            mean = (scores / scores.sum(-1, keepdim=True) * who[..., None]).sum((0, 1)) / tokens
            self.balance = settings.balance_loss * n * (load.to(mean) * mean).sum()
        if self.training:
            self.counts = counts if self.counts is None else self.counts + counts

    def _dropped(self, hidden: Tensor) -> Tensor:
        return dropout(hidden, self.settings.dropout, self.training)


def overflow(load: Float[Tensor, "n"], capacity: float = 1.25) -> Float[Tensor, ""]:
    """The share of choices beyond the capacity of their experts, were that fixed: `capacity` times the fair share.

    `load` is what the tap of this name shows: the share of all choices that fell on each expert.
    """
    return (load - capacity / load.shape[0]).clamp_min(0).sum()


def _without_autocast(device: str) -> AbstractContextManager[object]:
    # A choice among near equals must not hang on bfloat16 (arXiv:2101.03961, §2.4).
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
