"""Figures of norms, residual placements, feed-forwards, inputs and first values."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from torch import Tensor, nn

from figures.common import BLUE, COLOURS, GREY, heard, heat, label, make, panels, sizes, started
from regard.feedforward import ACTIVATIONS, FeedForward
from regard.inputs import Audio, Input
from regard.layers import Linear, Norm
from regard.model import ModelConfig, StackConfig, Transformer
from regard.model.initialisation import Initialisation, Xavier
from regard.residual import Residual


def norm(kinds: tuple[str, ...]) -> Figure:
    """Three tokens of different size and centre before and after, and one feature's way through."""
    features = torch.randn(2000)
    three = {"small": 0.3 * features, "large": 2 * features, "off centre": features + 3}
    columns = min(len(kinds) + 2, 3)
    figure, every = panels(columns, -(-(len(kinds) + 2) // columns), height=2.2)

    def histogram(axes: Axes, values: dict[str, Tensor], title: str) -> None:
        for (name, x), colour in zip(values.items(), COLOURS, strict=False):
            axes.hist(x.clamp(-6, 6).numpy(), bins=60, range=(-6, 6), histtype="step", color=colour, label=name)
        label(axes, title, "feature", "")
        axes.set_yticks([])

    histogram(every[0], three, "three tokens")
    every[0].legend(fontsize=7, loc="upper left")
    line = torch.linspace(-6, 6, 121)
    for axes, kind, colour in zip(every[1:], kinds, COLOURS, strict=False):
        part = make(Norm, kind)
        histogram(axes, {name: started(part.build(2000))(x) for name, x in three.items()}, f"after {kind}")
        around = torch.cat([line[:, None], torch.randn(15).expand(121, -1)], dim=1)
        every[-1].plot(line.numpy(), started(part.build(16))(around)[:, 0].numpy(), color=colour, label=kind)
    label(every[-1], "one of 16 features", "before", "after")
    every[-1].legend(fontsize=7)
    return figure


def residual(kinds: tuple[str, ...], depth: int = 16) -> Figure:
    """A deep stack before training: how large the stream is after each layer, and how large each layer's gradient."""
    figure, (left, right) = panels(2)
    for kind in dict.fromkeys(["post", "pre", *kinds]):
        stack = StackConfig(n_layers=depth, residual=make(Residual, kind))
        config = ModelConfig(vocab_size=64, d_model=64, n_heads=4, decoder=stack, initialisation=Xavier())
        model = Transformer(config).double()
        streams: list[tuple[Tensor, ...]] = []
        assert model.decoder is not None
        for block in model.decoder.layers:
            block.register_forward_hook(
                lambda _, __, out: streams.append(out if isinstance(out, tuple) else (out,))  # noqa: B023
            )
        ids = torch.randint(64, (8, 33), generator=torch.Generator().manual_seed(0))
        loss = model(ids[:, :-1], ids[:, 1:])
        (loss.objective / loss.target_count).backward()
        gradients = [
            torch.stack([p.grad.norm() for p in block.parameters() if p.grad is not None]).norm().item()
            for block in model.decoder.layers
        ]
        here = kind in kinds
        colour = COLOURS[kinds.index(kind)] if here else GREY
        dashes = ":" if kind == "post" else "-"
        style: dict[str, Any] = {"color": colour, "linewidth": 2 if here else 1, "linestyle": dashes}
        layers = range(1, depth + 1)
        for number, stream in enumerate(zip(*streams, strict=True)):
            name = kind if number == 0 else f"{kind}, stream {number + 1}"
            spread = [x.detach().square().mean().sqrt().item() for x in stream]
            left.plot(layers, spread, label=name, **{**style, "alpha": 1 if number == 0 else 0.5})
        right.plot(layers, gradients, label=kind, **style)
    for axes, title, y in ((left, "the stream", "root mean square"), (right, "gradients", "norm over a layer")):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks(range(2, depth + 1, 2))
        label(axes, f"{title} before training", "layer", y)
        axes.legend(fontsize=8)
    return figure


def feedforward(kinds: tuple[str, ...]) -> Figure:
    """The activations, and what small random networks of this kind make of two numbers."""
    figure, every = panels(3)
    line = torch.linspace(-3, 3, 121)
    for (name, f), colour in zip(ACTIVATIONS.items(), COLOURS * 2, strict=False):
        every[0].plot(line.numpy(), f(line).numpy(), color=colour, label=name, linewidth=1.2)
    label(every[0], "activations", "x", "f(x)")
    every[0].set_ylim(-0.5, 3)
    every[0].legend(fontsize=7)
    y, x = torch.meshgrid(line, line, indexing="ij")
    plane = torch.stack([x.flatten(), y.flatten()], dim=-1)[None]
    part = make(FeedForward, kinds[0])
    small = sizes(d_model=2, n_heads=1, n_kv_heads=1, head_dim=2, d_ff=8)
    part.check(small)
    said = heard(started(part.build(small)), plane)
    if "load" in said:
        load = said["load"].flatten()
        every[2].bar(range(1, len(load) + 1), load.numpy(), color=BLUE)
        every[2].axhline(1 / len(load), color=GREY, linestyle=":")
        every[2].set_xticks(range(1, len(load) + 1))
        label(every.pop(), "load", "expert", "share of the choices")
    for feature, axes in enumerate(every[1:]):
        values = said["output"][0, :, feature].view(121, 121)
        heat(axes, values, f"{kinds[0]}: output {feature + 1}", "x₁", "x₂", up=True)
        axes.set_xticks([0, 60, 120], ["−3", "0", "3"])
        axes.set_yticks([0, 60, 120], ["−3", "0", "3"])
        axes.contour(values.numpy(), levels=8, colors="black", linewidths=0.4)
    return figure


def inputs(kinds: tuple[str, ...]) -> Figure:
    """The vectors of the first words, how alike they are, and how many directions all of them take."""
    part = make(Input, kinds[0])
    if part.reads == "features":
        return sound(part)
    module = started(part.build(256, sizes()))
    x = module(torch.arange(256)[None], lambda x: x)[0]
    figure, (left, middle, right) = panels(3)
    heat(left, x[:24], "what stands for each word", "feature", "word")
    near = nn.functional.cosine_similarity(x[:24, None], x[None, :24], dim=-1)
    heat(middle, near, "cosine of two words", "word", "word")
    right.plot(range(1, 65), torch.linalg.svdvals(x).numpy(), ".", color=BLUE)
    right.set_ylim(0)
    label(right, "directions", "number", "singular value")
    return figure


def sound(part: Audio) -> Figure:
    """Two tones and a rising one between silences: their samples, their frames, and the vectors made of them."""
    rate = part.features.rate
    times = torch.arange(rate // 4) / rate
    tones = [torch.sin(2 * torch.pi * f * times) for f in (440.0, 1500.0, 300 + 6000 * times)]
    silence = torch.zeros(rate // 10)
    samples = torch.cat([silence, *(x for tone in tones for x in (0.5 * tone, silence))])
    frames = part.features([samples.numpy()]).frames
    module = started(part.build(1, sizes()), std=0.1)
    x, _ = module.read(frames, None)
    figure, every = panels(1, 3, height=1.5)
    every[0].plot((torch.arange(len(samples)) / rate).numpy(), samples.numpy(), color=BLUE, linewidth=0.2)
    every[0].set_xlim(0, len(samples) / rate)
    label(every[0], "sound", "seconds", "")
    heat(every[1], frames[0].T, f"{frames.shape[1]} frames", "frame", "mel", up=True)
    heat(every[2], x[0].T, f"{x.shape[1]} vectors, which the encoder reads", "vector", "feature", up=True)
    return figure


def initialisation(kinds: tuple[str, ...]) -> Figure:
    """The first values of a small model's matrices."""
    figure, every = panels(len(kinds))
    for axes, kind in zip(every, kinds, strict=True):
        stack = StackConfig(n_layers=4)
        part = make(Initialisation, kind)
        model = Transformer(ModelConfig(vocab_size=256, d_model=128, n_heads=4, decoder=stack, initialisation=part))
        linears = [module for module in model.modules() if isinstance(module, Linear)]
        tables = {
            "tables": model.last_stack.input.tokens.matrix().detach(),
            "matrices": torch.cat([m.matrix().detach().flatten() for m in linears if not m.residual]),
            "into the stream": torch.cat([m.matrix().detach().flatten() for m in linears if m.residual]),
        }
        reach = 4 * max(float(x.std()) for x in tables.values())
        for (name, x), colour in zip(tables.items(), COLOURS, strict=False):
            values = x.flatten().numpy()
            text = f"{name}: {values.std():.3f}"
            axes.hist(values, bins=81, range=(-reach, reach), density=True, histtype="step", color=colour, label=text)
        label(axes, f"{kind}, with standard deviations", "first value", "density")
        axes.legend(fontsize=7)
    return figure
