"""The loss against its formula in float64, whole and in chunks, in value and gradient."""

import math

import pytest
import torch

from regard.heads import losses
from regard.heads.losses import IGNORED, token_loss


def reference(x, table, targets, bias, smoothing, z_loss, softcap):
    """Word by word, in float64, from the definition of smoothing as a target distribution."""
    total, nll = 0.0, []
    for row, target in zip(x.double(), targets.tolist(), strict=True):
        logits = table.double() @ row + (0 if bias is None else bias.double())
        if softcap is not None:
            logits = softcap * torch.tanh(logits / softcap)
        log_p = logits - torch.log(torch.exp(logits).sum())
        if target == IGNORED:
            nll.append(torch.zeros(()).double())
            continue
        wanted = torch.full_like(log_p, smoothing / len(log_p))
        wanted[target] += 1 - smoothing
        total = total - (wanted * log_p).sum() + z_loss * torch.log(torch.exp(logits).sum()) ** 2
        nll.append(-log_p[target].detach())
    return total, torch.stack(nll)


@pytest.mark.parametrize("chunk", [0, 1, 4, 100])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(
    ("smoothing", "z_loss", "softcap"), [(0, 0, None), (0.1, 0, None), (0, 1e-2, None), (0, 0, 2.0), (0.2, 1e-2, 3.0)]
)
def test_against_the_definition(chunk, biased, smoothing, z_loss, softcap):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(9, 6, generator=random).requires_grad_()
    table = torch.randn(13, 6, generator=random).requires_grad_()
    bias = torch.randn(13, generator=random).requires_grad_() if biased else None
    targets = torch.randint(13, (9,), generator=random)
    targets[[2, 7]] = IGNORED
    expected, nll = reference(x, table, targets, bias, smoothing, z_loss, softcap)
    wanted = torch.autograd.grad(3 * expected, [p for p in (x, table, bias) if p is not None])
    loss = token_loss(
        x.view(3, 3, 6),
        table,
        targets.view(3, 3),
        bias,
        smoothing=smoothing,
        z_loss=z_loss,
        softcap=softcap,
        chunk=chunk,
    )
    got = torch.autograd.grad(3 * loss.objective, [p for p in (x, table, bias) if p is not None])
    assert math.isclose(loss.objective.item(), expected.item(), rel_tol=1e-5)
    torch.testing.assert_close(loss.nll.flatten().double(), nll, rtol=1e-5, atol=1e-5)
    assert loss.target_count == 7
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_by_hand():
    """Two words with logits (0, log 3): the second has probability 3/4."""
    loss = token_loss(torch.ones(1, 1, 1), torch.tensor([[0.0], [math.log(3)]]), torch.tensor([[1]]), smoothing=0.5)
    assert math.isclose(loss.nll.item(), -math.log(0.75), rel_tol=1e-6)
    assert math.isclose(loss.objective.item(), -0.75 * math.log(0.75) - 0.25 * math.log(0.25), rel_tol=1e-6)


def test_large_vocabularies_are_chunked_and_equal(monkeypatch):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(1, 600, 8, generator=random)
    table = torch.randn(9000, 8, generator=random)
    targets = torch.randint(9000, (1, 600), generator=random)
    assert losses.LARGE > 600 * 9000
    monkeypatch.setattr(losses, "LARGE", 600 * 9000)
    a, b = token_loss(x, table, targets), token_loss(x, table, targets, chunk=0)
    torch.testing.assert_close(a.nll, b.nll, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_chunked_loss_compiles_without_a_graph_break():
    x = torch.randn(2, 20, 8, requires_grad=True)
    table, targets = torch.randn(30, 8, requires_grad=True), torch.randint(30, (2, 20))

    def loss(x, table):
        return token_loss(x, table, targets, chunk=16).objective

    compiled = torch.compile(loss, fullgraph=True)
    one = torch.autograd.grad(compiled(x, table), (x, table))
    other = torch.autograd.grad(loss(x, table), (x, table))
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b)
