"""Tiny Shakespeare on a CPU beside nanoGPT: a step's time, the loss of its own configuration, and the time to a loss.

    python benchmarks/shakespeare.py --nanogpt PATH --text input.txt [step] [same] [recipe]

The configuration is the one that nanoGPT documents for a CPU: 4 layers, 4 heads, width 128, context 64, batch 12, 2000
steps, no dropout, AdamW (β₂ 0.99, decay 0.1), rate 1e-3 → 1e-4 by a cosine after 100 steps of warm-up, clipping at 1;
the first 90 % of the characters are trained on.

step      a training step (forward, backward, clip, fused AdamW) of both, eager and compiled, in turn
same      regard trains that configuration for 2000 steps: the loss on all validation windows
recipe    nanoGPT's run (the faster way of `step`) until it ends, then regard's own recipe with three seeds: the
          seconds of training, compilation counted and evaluation not, and the loss each ends with

Each variant runs in a process of its own, one at a time: regard keeps freed memory, as its training does, and that
would help nanoGPT in the same process.

Losses are in nats a character over the whole validation part, in windows of 64 that do not overlap.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from torch import nn

from peers import in_turn, machine, nanogpt, table
from regard.attention import Dot
from regard.layers import LayerNorm
from regard.model import MLP, LanguageHead, ModelConfig, Normal, PreNorm, StackConfig, Transformer
from regard.positions import Learned, Rotary
from regard.training.devices import keep_memory
from regard.training.optimisers import AdamW, Muon
from regard.training.schedules import WSD, Cosine

V, LAYERS, HEADS, D, CONTEXT, BATCH, STEPS, RATE = 65, 4, 4, 128, 64, 12, 2000, 1e-3


class Text:
    """The characters as ids, windows drawn at random, and the validation part in windows side by side."""

    def __init__(self, path: str) -> None:
        text = Path(path).read_text(encoding="utf-8")
        letters = {letter: i for i, letter in enumerate(sorted(set(text)))}
        ids = torch.tensor([letters[letter] for letter in text])
        cut = int(0.9 * len(ids))
        self.train, self.validation = ids[:cut], ids[cut:]

    def batch(self, random: torch.Generator, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        start = torch.randint(len(self.train) - CONTEXT, (rows, 1), generator=random) + torch.arange(CONTEXT)
        return self.train[start], self.train[start + 1]

    @torch.no_grad()
    def loss(self, nll) -> float:
        """Nats a character; `nll` gives the mean of a batch."""
        count = (len(self.validation) - 1) // CONTEXT
        x = self.validation[: count * CONTEXT].view(count, CONTEXT)
        y = self.validation[1 : count * CONTEXT + 1].view(count, CONTEXT)
        total = sum(nll(a, b) * len(a) for a, b in zip(x.split(200), y.split(200), strict=True))
        return float(total) / count


def same() -> ModelConfig:
    """nanoGPT's model."""
    return ModelConfig(
        vocab_size=V,
        d_model=D,
        n_heads=HEADS,
        context_length=CONTEXT,
        decoder=StackConfig(
            n_layers=LAYERS,
            attention=Dot(bias="none"),
            position=Learned(),
            feedforward=MLP(activation="gelu", bias=False),
            norm=LayerNorm(bias=False),
            residual=PreNorm(),
        ),
    )


class Ours:
    """A regard model under training."""

    def __init__(self, config: ModelConfig, optimiser, schedule, steps: int, rows: int, seed: int = 0) -> None:
        self.model = Transformer(config, seed)
        self.forward: nn.Module = self.model
        self.optimisers, self.schedule, self.steps, self.rows = optimiser.build(self.model), schedule, steps, rows
        self.random = torch.Generator().manual_seed(seed)
        self.done, self.bfloat16 = 0, False

    def step(self, text: Text) -> None:
        self.done += 1
        x, y = text.batch(self.random, self.rows)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            loss = self.forward(x, y)
        (loss.objective / loss.target_count).backward()
        parameters = list(self.model.parameters())
        norm = nn.utils.get_total_norm([p.grad for p in parameters])
        if norm > 1.0:
            nn.utils.clip_grads_with_norm_(parameters, 1.0, norm)
        self.optimisers.step(self.schedule.rate(self.done, self.steps))
        self.optimisers.zero_grad()

    def loss(self, text: Text) -> float:
        return text.loss(lambda x, y: self.model(x, y).nll.mean())


class Theirs:
    """nanoGPT's model and settings, with the fused AdamW."""

    def __init__(self, peer, seed: int = 1337) -> None:
        torch.manual_seed(seed)
        shape = {
            "block_size": CONTEXT,
            "vocab_size": V,
            "n_layer": LAYERS,
            "n_head": HEADS,
            "n_embd": D,
            "dropout": 0.0,
            "bias": False,
        }
        self.model = peer.GPT(peer.GPTConfig(**shape))
        self.forward: nn.Module = self.model
        decayed = [p for p in self.model.parameters() if p.dim() >= 2]
        others = [p for p in self.model.parameters() if p.dim() < 2]
        groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.99), fused=True)
        self.random = torch.Generator().manual_seed(seed)
        self.done, self.bfloat16 = 0, False

    def step(self, text: Text) -> None:
        x, y = text.batch(self.random, BATCH)
        for group in self.optimiser.param_groups:
            group["lr"] = nanogpt_rate(self.done)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            loss = self.forward(x, y)[1]
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.done += 1

    def loss(self, text: Text) -> float:
        return text.loss(lambda x, y: self.model(x, y)[1])


def nanogpt_rate(step: int, warmup: int = 100, least: float = 1e-4) -> float:
    if step < warmup:
        return RATE * (step + 1) / (warmup + 1)
    return least + 0.5 * (1 + math.cos(math.pi * (step - warmup) / (STEPS - warmup))) * (RATE - least)


def ours_same(seed: int = 0) -> Ours:
    optimiser = AdamW(weight_decay=0.1, betas=(0.9, 0.99))
    return Ours(same(), optimiser, Cosine(learning_rate=RATE, warmup=100, final=0.1), STEPS, BATCH, seed)


def recipe(seed: int) -> Ours:
    """regard's own: see docs/lab.md for what each part is worth."""
    config = ModelConfig(
        vocab_size=V,
        d_model=D,
        n_heads=HEADS,
        context_length=CONTEXT,
        head=LanguageHead(tied=True),
        initialisation=Normal(residual="zero"),
        decoder=StackConfig(
            n_layers=LAYERS,
            attention=Dot(bias="none"),
            position=Rotary(),
            feedforward=MLP(activation="relu2", bias=False),
            norm=LayerNorm(bias=False),
            residual=PreNorm(),
        ),
    )
    schedule = WSD(learning_rate=6e-3, warmup=20, decay=0.9, shape="linear")
    return Ours(config, Muon(weight_decay=0.0, rates={"embeddings": 2.0}), schedule, RECIPE_STEPS, BATCH, seed)


RECIPE_STEPS = 450


VARIANTS = [
    "nanoGPT eager",
    "nanoGPT compiled",
    "regard eager",
    "regard compiled",
    "nanoGPT compiled bfloat16",
    "regard compiled bfloat16",
]


def variant(name: str, options: argparse.Namespace) -> Callable[[], object]:
    """A step of one of the variants, in a process of its own."""
    text = Text(options.text)
    run: Ours | Theirs
    if name.startswith("nanoGPT"):
        run = Theirs(nanogpt(options.nanogpt))
    else:
        keep_memory()  # as training does
        run = ours_same()
    run.bfloat16 = "bfloat16" in name
    if "compiled" in name:
        run.forward = torch.compile(run.model)
    return lambda: run.step(text)


def train(name: str, options: argparse.Namespace) -> tuple[float, float]:
    """Seconds of a whole run, compilation included, and its loss."""
    text = Text(options.text)
    run: Ours | Theirs
    if name.startswith("nanoGPT"):
        run, steps = Theirs(nanogpt(options.nanogpt)), STEPS
    else:
        keep_memory()
        run, steps = (recipe(int(name.split()[-1])), RECIPE_STEPS) if "recipe" in name else (ours_same(), STEPS)
    run.bfloat16 = "bfloat16" in name
    begun = time.perf_counter()
    if "compiled" in name:
        run.forward = torch.compile(run.model)
    for _ in range(steps):
        run.step(text)
    seconds = time.perf_counter() - begun
    loss = run.loss(text)
    print(f"  {name:<26} loss {loss:.4f} after {steps} steps in {seconds:.1f} s", flush=True)
    return seconds, loss


def alone(name: str, options: argparse.Namespace) -> tuple[float, float]:
    """`train` in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(train, name, options).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["step", "same", "recipe"])
    parser.add_argument("--nanogpt")
    parser.add_argument("--text", default="../shared/data/tiny-shakespeare/input.txt")
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    nanogpt(options.nanogpt)
    print(machine())
    better = "nanoGPT eager"
    if "step" in options.what:
        seconds = in_turn(variant, VARIANTS, options, options.rounds, inner=10)
        better = min(VARIANTS[:2], key=lambda name: statistics.median(seconds[name]))
        print(f"A step of {BATCH} × {CONTEXT} tokens:")
        table(seconds, better)
    if "same" in options.what:
        print("The same configuration:")
        alone("regard compiled", options)
        alone("regard compiled bfloat16", options)
    if "recipe" in options.what:
        print("The time to a loss:")
        theirs, _ = alone(better, options)
        ours = [alone(f"regard recipe, seed {seed}", options) for seed in range(3)]
        seconds_, loss = (statistics.median(column) for column in zip(*ours, strict=True))
        print(f"  medians: loss {loss:.4f} in {seconds_:.1f} s, {seconds_ / theirs:.2f} of nanoGPT's time")


if __name__ == "__main__":
    main()
