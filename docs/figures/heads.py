"""Figures of heads: what the language head makes of products, and which tokens a task's loss teaches."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor

from figures.common import COLOURS, heat, label, make, panels, sizes, started
from regard.attention import Padding
from regard.heads import Head
from regard.inputs import Input

LENGTHS, PLACES = (12, 9, 6, 4), 12
LABELS = ("a", "b", "c")


def head(kinds: tuple[str, ...]) -> Figure:
    """Of a task: how much of the loss of four texts reaches each token's vector, for each way to pool."""
    if kinds[0] == "language":
        return _language()
    kind = Head.kinds()[kinds[0]]
    more = {"labels": LABELS} if "labels" in kind.model_fields else {}
    ways = {how: {"pooling": how} for how in ("first", "mean", "max")}
    if "pooling" not in kind.model_fields:
        ways = {"every token is read": {}}
    figure, axes = panels(len(ways))
    x = torch.randn(len(LENGTHS), PLACES, 64)
    for here, (how, way) in zip(axes, ways.items(), strict=True):
        module = started(kind.from_dict({"kind": kind.kind, **more, **way}).build(512, sizes(), None), std=0.125)
        given = x.clone().requires_grad_()
        loss = module(given, None, _targets(kinds[0]), mask=Padding(torch.tensor(LENGTHS)))
        loss.objective.backward()
        assert given.grad is not None
        title = f'pooling="{how}"' if way else how
        heat(here, given.grad.norm(dim=-1), title, "token", "text")
        here.set_yticks(range(len(LENGTHS)), [str(row + 1) for row in range(len(LENGTHS))])
    return figure


def _targets(kind: str) -> Tensor:
    """Something to be learnt from the four texts."""
    if kind == "multilabel":
        return torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    if kind == "regress":
        return torch.tensor([1.0, -1.0, 0.5, 0.0])
    if kind == "answer":
        return torch.tensor([[7, 9], [4, 4], [0, 0], [2, 3]])
    if kind == "embed":
        return torch.tensor([2, 3, -100, -100])
    if kind == "tag":  # every third token goes on with a word, and the last is no word
        tags = torch.tensor([[-100 if t % 3 == 2 or t >= n - 1 else t % 2 for t in range(PLACES)] for n in LENGTHS])
        return tags.index_fill(1, torch.tensor([0]), -100)
    return torch.tensor([0, 2, 1, 0])


def _language() -> Figure:
    """Logits of random tokens, and how a soft-cap bends them."""
    figure, (left, right) = panels(2)
    line = torch.linspace(-60, 60, 121)
    one = sizes(d_model=1, n_heads=1, n_kv_heads=1, head_dim=1)
    for softcap, colour in zip((None, 30.0, 10.0), COLOURS, strict=False):
        tied = Input.resolve("tokens").build(1, one)
        tied.tokens.weight.data.fill_(1.0)
        module = Head.resolve({"kind": "language", "softcap": softcap}).build(1, one, tied.tokens)
        logits = module(line[None, :, None], tied.tokens)[0, :, 0].detach()
        left.plot(line.numpy(), logits.numpy(), color=colour, label=f"softcap={softcap}")
    label(left, "what becomes of a product", "E · x", "logit")
    left.legend(fontsize=8)
    many = sizes()
    tied = started(Input.resolve("tokens").build(512, many), std=0.125)
    module = started(make(Head, "language").build(512, many, tied.tokens))
    logits = module(torch.randn(1, 4, 64), tied.tokens)[0]
    for row, colour in zip(logits.softmax(-1).sort(descending=True).values, COLOURS, strict=False):
        right.plot(range(1, 513), row.numpy(), color=colour)
    right.set_xscale("log")
    right.set_yscale("log")
    label(right, "four random tokens", "word, the likeliest first", "probability")
    return figure
