"""Figures of attention and its patterns: who looks at whom."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from figures.common import heard, heat, make, panels, sizes, started, view_of
from regard.attention import Attention, Causal, Documents, Dot, Mask, Padding, Pattern, Prefix, View
from regard.attention.scored import ScoredModule
from regard.positions import PositionModule

SENTENCE = ["the", "cat", "saw", "the", "dog", "and", "the", "dog", "saw", "the", "cat"]
SIZES = {"d_model": 16, "n_heads": 2, "n_kv_heads": 2, "head_dim": 8, "context_length": len(SENTENCE)}


def attention(kinds: tuple[str, ...], steps: int = 300) -> Figure:
    """Who looks at whom after a layer has learnt to find the words that are equal."""
    shown: dict[str, Tensor] = {}
    for kind in kinds:
        layer, inputs, error = learnt(make(Attention, kind), steps)
        said = heard(layer, *inputs)
        heads = effective(layer, inputs, said)
        if len(kinds) > 1:
            shown[f"{kind}: error {error:.2f}"] = heads[0]
            continue
        shown = {f"head {number + 1}": weights for number, weights in enumerate(heads[:2])}
        if not isinstance(layer, ScoredModule) and {"q", "k"} <= set(said):
            same = {"q": said["q"], "k": said["k"]}
            dot = started(Dot().build(sizes(**SIZES)))
            shown["dot with head 1's q, k"] = heard(dot, *inputs, instead=same)["weights"][0, 0]
    columns = min(len(shown), 2 if len(kinds) > 1 else 3)
    figure, every = panels(columns, -(-len(shown) // columns), height=3.4 if columns < 3 else 2.9)
    for axes, (title, weights) in zip(every, shown.items(), strict=False):
        unseen = (weights.abs() < 1e-12) & (torch.ones_like(weights).triu(1) > 0)
        heat(axes, weights.masked_fill(unseen, float("nan")), title, "seen", "looking")
        axes.set_xticks(range(len(SENTENCE)), SENTENCE, rotation=90, fontsize=8)
        axes.set_yticks(range(len(SENTENCE)), SENTENCE, fontsize=8)
    for axes in every[len(shown) :]:
        axes.set_axis_off()
    if len(kinds) == 1:
        figure.suptitle(f"{kinds[0]}, after {steps} steps: error {error:.2f} of 1", fontsize=10)
    return figure


def tokens(words: Tensor) -> tuple[Tensor, Tensor]:
    """Words [b t] → vectors [b t 16]: one half says the word, the other carries a random message [b t 8]."""
    table = torch.randn(8, 8, generator=torch.Generator().manual_seed(1))
    message = torch.randn(*words.shape, 8)
    return torch.cat([table[words], message], dim=-1), message


def learnt(part: Attention, steps: int) -> tuple[nn.Module, tuple[Any, ...], float]:
    """A layer that learnt to answer with the mean message of all the tokens it sees that say the same word; the
    sentence as its input; and what is left of the answers' variance.
    """
    few = sizes(**SIZES, causal="causal" in part.offers)
    part.check(few)
    layer = started(part.build(few), std=0.1).requires_grad_().train()
    view = view_of(len(SENTENCE), few.causal)
    seen = view.seen()
    optimiser = torch.optim.Adam([*layer.parameters(), nn.Parameter(torch.zeros(1))], lr=0.01)
    rest = 1.0
    for _ in range(steps):
        words = torch.randint(8, (32, len(SENTENCE)))
        x, message = tokens(words)
        equal = (words[:, :, None] == words[:, None]) & (True if seen is None else seen[:, 0])
        answer = torch.einsum("bts,bse->bte", equal / equal.sum(-1, keepdim=True), message)
        loss = (layer(x, None, view, PositionModule(), None)[..., 8:] - answer).square().mean()
        rest = 0.9 * rest + 0.1 * float(loss.detach() / answer.var())
        if loss.requires_grad:
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    layer.eval().requires_grad_(False)
    sentence, _ = tokens(torch.tensor([[SENTENCE.index(word) for word in SENTENCE]]))
    return layer, (sentence, None, view, PositionModule(), None), rest


def effective(layer: nn.Module, inputs: tuple[Any, ...], said: dict[str, Tensor]) -> Tensor:
    """[h t s]: the weights that the mechanism tells, or its scores where they are the weights; else what they must be,
    since values of one-hot vectors come out as weights; else how strongly each output depends on each token.
    """
    length = inputs[0].shape[1]
    told = [said[name][0] for name in ("weights", "scores") if name in said and said[name].shape[-1] == length]
    if told:
        return told[0]
    if {"v", "mixed"} <= set(said) and said["v"].shape[-2] == length:
        v = said["v"]
        marks = [nn.functional.pad(x, (0, v.shape[-1] - x.shape[1])) for x in torch.eye(length).split(v.shape[-1], 1)]
        mixed = [heard(layer, *inputs, instead={"v": mark.expand_as(v)})["mixed"][0] for mark in marks]
        return torch.cat(mixed, dim=-1)[..., :length]
    change = torch.autograd.functional.jacobian(lambda x: layer(x, *inputs[1:])[0], inputs[0])[:, :, 0]
    return change.norm(dim=(1, 3))[None]


def pattern(kinds: tuple[str, ...]) -> Figure:
    """Each pattern in an encoder and in a decoder, and the masks that it narrows."""
    length = 24
    slots = torch.arange(length)[None]
    masks = {
        "causal": Causal(),
        "padding": Padding(torch.tensor([18])),
        "prefix | causal": Prefix(torch.tensor([8])) | Causal(),
        "documents & causal": Documents((slots >= 10).long() + (slots >= 17).long()) & Causal(),
    }
    grids = [(kind, Mask(), make(Pattern, kind)) for kind in kinds]
    grids += [(f"{kind}, causal", Causal(), make(Pattern, kind)) for kind in kinds]
    grids += [(name, mask, make(Pattern, "full")) for name, mask in masks.items()]
    columns = max(len(kinds), len(masks))
    figure, every = panels(columns, 3, height=1.75)
    for axes in every:
        axes.set_axis_off()
    places = [*range(len(kinds)), *range(columns, columns + len(kinds)), *range(2 * columns, 2 * columns + len(masks))]
    for place, (title, mask, part) in zip(places, grids, strict=True):
        axes = every[place]
        seen = View(mask, slots, slots, square=True).narrowed(part).seen()
        grid = torch.ones(length, length) if seen is None else seen[0, 0].float().expand(length, length)
        axes.set_axis_on()
        axes.imshow(grid.numpy(), cmap="Blues", vmin=0, vmax=1.3, interpolation="nearest")
        axes.set_title(title, fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
        for line in range(1, length):
            axes.axhline(line - 0.5, color="white", linewidth=0.4)
            axes.axvline(line - 0.5, color="white", linewidth=0.4)
        if place % columns == 0:
            axes.set_ylabel("looking t", fontsize=8)
        axes.set_xlabel("seen s", fontsize=8)
    return figure
