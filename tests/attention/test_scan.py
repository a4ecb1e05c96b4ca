"""The engine in chunks against the recurrence, token by token, in value and gradient."""

import pytest
import torch

from regard.attention import scan
from tests.laws.members import close

B, H, T, F, E = 2, 3, 37, 5, 4


def loop(q, k, v, log_decay, document, beta, state):
    """S_t = γ_t S_{t−1} + k_t u_tᵀ, y_t = q_tᵀ S_t as they are written; γ is 0 where a document begins."""
    rows = []
    for t in range(T):
        left = torch.ones(B, H, dtype=q.dtype) if log_decay is None else log_decay[:, :, t].exp().expand(B, H)
        if document is not None and t:
            left = left * (document[:, t] == document[:, t - 1])[:, None]
        state = left[:, :, None, None] * state
        u = v[:, :, t]
        if beta is not None:
            u = beta[:, :, t, None] * (u - torch.einsum("bhf,bhfe->bhe", k[:, :, t], state))
        state = state + torch.einsum("bhf,bhe->bhfe", k[:, :, t], u)
        rows.append(torch.einsum("bhf,bhfe->bhe", q[:, :, t], state))
    return torch.stack(rows, 2), state


@pytest.mark.parametrize("chunk", [1, 4, 16, 64])
@pytest.mark.parametrize("rule", ["sum", "delta"])
@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("decay", ["none", "fixed", "strong"])
def test_chunks_equal_the_loop(chunk, rule, documents, decay):
    q, k, v = (torch.randn(B, H, T, n, dtype=torch.float64, requires_grad=True) for n in (F, F, E))
    state = torch.randn(B, H, F, E, dtype=torch.float64, requires_grad=True)
    log_decay = {
        "none": None,
        "fixed": -torch.rand(1, H, 1, dtype=torch.float64).expand(1, H, T),
        "strong": -20 * torch.rand(B, H, T, dtype=torch.float64),
    }[decay]
    inputs = [q, k, v, state]
    if log_decay is not None and rule == "delta":
        log_decay = log_decay.clone().requires_grad_()  # the sum rule takes fixed rates only
        inputs.append(log_decay)
    document = (torch.rand(B, T) < 0.2).cumsum(1) if documents else None
    beta, unit = None, k / k.norm(dim=-1, keepdim=True)
    fades = scan.fading(log_decay, document, chunk)
    if rule == "delta":
        beta = torch.rand(B, H, T, dtype=torch.float64, requires_grad=True)
        inputs.append(beta)
        ours = scan.deltas(q, unit, v, beta, state, fades, chunk)
    else:
        ours = scan.sums(q, unit, v, state, fades, chunk)
    theirs = loop(q, unit, v, log_decay, document, beta, state)
    pull = [torch.randn_like(x) for x in ours]
    for one, other in zip(ours, theirs, strict=True):
        close(one, other)
    gradients = [
        torch.autograd.grad(sum((x * w).sum() for x, w in zip(pair, pull, strict=True)), inputs, retain_graph=True)
        for pair in (ours, theirs)
    ]
    for one, other in zip(*gradients, strict=True):
        close(one, other)


def test_one_step_is_the_loops():
    q, k, v = (torch.randn(B, H, T, n, dtype=torch.float64) for n in (F, F, E))
    log_decay, beta = -torch.rand(B, H, T, dtype=torch.float64), torch.rand(B, H, T, dtype=torch.float64)
    state = torch.zeros(B, H, F, E, dtype=torch.float64)
    whole, last = loop(q, k, v, log_decay, None, beta, state)
    rows = []
    for t in range(T):
        one = slice(t, t + 1)
        y, state = scan.step(q[:, :, one], k[:, :, one], v[:, :, one], state, log_decay[:, :, one], beta[:, :, one])
        rows.append(y)
    close(torch.cat(rows, 2), whole)
    close(state, last)
