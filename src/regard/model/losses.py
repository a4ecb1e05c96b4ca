"""The loss of predicting words, summed, so that whoever sums over batches can divide once.

    l_t       = cap · tanh((E x_t + b) / cap)
    nll_t     = log Σ exp l_t − l_t[y_t]                    the true negative log-likelihood
    loss_t    = (1 − ε) nll_t + ε (log Σ exp l_t − mean l_t) + ζ (log Σ exp l_t)²

For a large vocabulary some tokens are taken at a time: the gradient of the logits needs only what the forward pass of
the same tokens has at hand, so it is taken there, turned at once into dX and dW, and its memory used again.

Source   Szegedy et al. 2016, arXiv:1512.00567, §7 (smoothing ε, over the whole vocabulary); Chowdhery et al. 2022,
         arXiv:2204.02311, §5 (z-loss ζ); Gemma Team 2024, arXiv:2408.00118, §2 (soft-cap).
Cost     a chunk × vocabulary of float32 instead of four times tokens × vocabulary, and no product more.
Differs  The true nll is reported beside the smoothed objective. Targets of −100 count for nothing in either.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from regard.layers.product import linear, mm

IGNORED = -100
"""A target that is none: padding, prompts, words that are not masked."""

CHUNK = 256
"""Tokens at a time: fewer make narrow products, more leave the processor's cache."""

SMALL = 2**22
"""Logits up to which they are all made at once: 16 MiB of float32."""


class Loss(NamedTuple):
    """Sums over the real targets of a batch, and the parts that they are made of."""

    objective: Float[Tensor, ""]
    """What training lowers: smoothed and with extra terms where asked. In nats, summed; differentiable."""
    nll: Float[Tensor, "b t"]
    """The true negative log-likelihood of each target, in nats; 0 where there is none. Not differentiable."""
    target_count: Int[Tensor, ""]
    """How many targets are real."""


def token_loss(
    x: Float[Tensor, "b t d"],
    table: Float[Tensor, "v d"],
    targets: Int[Tensor, "b t"],
    bias: Float[Tensor, "v"] | None = None,
    *,
    smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    chunk: int | None = None,
) -> Loss:
    """The loss of `targets` under softmax(x Eᵀ + b). `chunk` tokens at a time; None: as the size says; 0: all at once.

    Under autocast the products run in its type; sums and softmax are float32 (float64 in a float64 model).
    """
    flat, flat_targets = x.flatten(0, 1), targets.flatten()
    if chunk is None:
        chunk = CHUNK if flat.shape[0] * table.shape[0] > SMALL and flat.shape[0] > CHUNK else 0
    if not chunk or x.device.type != "cpu" or x.dtype == torch.float64:
        total, nll = _plain(flat, table, flat_targets, bias, smoothing, z_loss, softcap)
    else:
        if torch.is_autocast_enabled("cpu"):
            flat = flat.to(torch.get_autocast_dtype("cpu"))
        gradient = torch.is_grad_enabled() and (x.requires_grad or table.requires_grad)
        total, nll = _Chunked.apply(flat, table, flat_targets, bias, smoothing, z_loss, softcap, chunk, gradient)
    return Loss(total, nll.view_as(targets), (targets != IGNORED).sum())


def _plain(
    x: Tensor,
    table: Tensor,
    targets: Tensor,
    bias: Tensor | None,
    smoothing: float,
    z_loss: float,
    softcap: float | None,
) -> tuple[Tensor, Tensor]:
    """The formula above, all tokens at once."""
    logits = linear(x, table, bias)
    if logits.dtype != torch.float64:
        logits = logits.float()
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    nll = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none")
    loss = nll
    if smoothing or z_loss:
        real = targets != IGNORED
        lse = logits.logsumexp(-1)
        loss = (1 - smoothing) * nll + real * (smoothing * (lse - logits.mean(-1)) + z_loss * lse.square())
    return loss.sum(), nll.detach()


_operators = torch.library.Library("regard", "FRAGMENT")
_operators.define(
    "token_loss(Tensor x, Tensor table, Tensor targets, Tensor? bias, float smoothing, float z_loss, float? softcap,"
    " int chunk, bool gradient) -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
)


def _chunked(
    x: Tensor,
    table: Tensor,
    targets: Tensor,
    bias: Tensor | None,
    smoothing: float,
    z_loss: float,
    softcap: float | None,
    chunk: int,
    gradient: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Total, nll [n], and (empty unless `gradient`) dX [n d], dE [v d] and db [v] of the total."""
    n, v = x.shape[0], table.shape[0]
    real = targets != IGNORED
    index = torch.where(real, targets, 0)
    low = x.dtype != torch.float32
    matrix = table.to(x.dtype)
    nll, loss = x.new_empty(n, dtype=torch.float32), x.new_empty(n, dtype=torch.float32)
    dx = torch.empty_like(x) if gradient else x.new_empty(0)
    dtable = torch.zeros_like(table) if gradient else table.new_empty(0)
    dbias = table.new_zeros(v) if gradient and bias is not None else table.new_empty(0)
    for start in range(0, n, chunk):
        rows = slice(start, start + chunk)
        on, at = real[rows].float().unsqueeze(1), index[rows].unsqueeze(1)
        logits = mm(x[rows], matrix.t()).float()
        if bias is not None:
            logits += bias
        if softcap is not None:
            logits.div_(softcap).tanh_().mul_(softcap)
        log_p = logits.log_softmax(-1)
        of_target = log_p.gather(1, at)
        lse = logits.gather(1, at) - of_target
        part = z_loss * lse.square() - (1 - smoothing) * of_target
        if smoothing:
            part = part - smoothing * log_p.mean(-1, keepdim=True)
        nll[rows], loss[rows] = (-of_target * on).squeeze(1), (part * on).squeeze(1)
        if not gradient:
            continue
        g = log_p.exp_().mul_((1 + 2 * z_loss * lse) * on)
        g.scatter_add_(1, at, on * -(1 - smoothing))
        if smoothing:
            g.sub_(on * (smoothing / v))
        if softcap is not None:
            g.mul_(logits.div_(softcap).square_().neg_().add_(1))
        if bias is not None:
            dbias += g.sum(0)
        if low:
            g = g.to(x.dtype)
        dx[rows] = mm(g, matrix)
        dtable += mm(g.t(), x[rows])
    return loss.sum(), nll, dx, dtable, dbias


def _chunked_shapes(
    x: Tensor, table: Tensor, targets: Tensor, bias: Tensor | None, *options: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    gradient = options[-1]
    return (
        x.new_empty((), dtype=torch.float32),
        x.new_empty(x.shape[0], dtype=torch.float32),
        torch.empty_like(x) if gradient else x.new_empty(0),
        torch.empty_like(table) if gradient else table.new_empty(0),
        table.new_empty(table.shape[0] if gradient and bias is not None else 0),
    )


_operators.impl("token_loss", _chunked, "CPU")
torch.library.register_fake("regard::token_loss", _chunked_shapes, lib=_operators)


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, table: Tensor, targets: Tensor, bias: Tensor | None, *options: Any) -> Any:
        total, nll, dx, dtable, dbias = torch.ops.regard.token_loss(x, table, targets, bias, *options)
        ctx.save_for_backward(dx, dtable, dbias)
        ctx.biased = bias is not None
        ctx.mark_non_differentiable(nll)
        return total, nll

    @staticmethod
    def backward(ctx: Any, g: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        dx, dtable, dbias = ctx.saved_tensors
        return (dx * g, dtable * g, None, dbias * g if ctx.biased else None, None, None, None, None, None)
