"""Statistics of a batch make a word's features depend on the other sentences; those of the word itself do not.

    BatchNorm    y = (x − mean) / √(var + ε)     over the words of the batch, one mean a feature; averages when tested
    LayerNorm    y = (x − mean) / √(var + ε)     over the features of one word, the same when tested

Source   Ba, Kiros & Hinton 2016, arXiv:1607.06450, §3, §3.1, §6.6 with figure 6; Ioffe & Szegedy 2015,
         arXiv:1502.03167.
Printed  no table: what LayerNorm does not depend on (§3: the other cases and the size of a batch; §3.1: the length of
         sentences, and whether a test sentence is longer than all of training), and curves: on digits BatchNorm suffers
         in batches of 4, LayerNorm does not (figure 6).
Here     a sentence is read by an untrained decoder beside other sentences and with more padding; sentences of 1 to 40
         words are normalised position by position; decoders learn to write words of 1 to 8 letters backwards, in
         padded batches of 2 to 16, with either norm in the same places.
Proxy    a Transformer of two layers and 64 features for LSTMs and a network of digits, a task of letters for theirs.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attention import Padding
from regard.data.batches import IGNORE
from regard.data.synthetic import TASKS, TaskBatches
from regard.layers.norm import LayerNormModule
from regard.model import ModelConfig, PreNorm, StackConfig, Transformer
from regard.papers.base import Check, Reproduction
from regard.papers.tools import COLOURS, one_core, panels, train
from regard.positions import Learned
from regard.seeds import derive_seed
from regard.training.schedules import Cosine

LONGEST, LETTERS = 8, 26
SIZES = (2, 4, 16)
"""Rows of a batch."""


class Rows:
    """Words, = and their reverse, padded: ids [b t], targets [b t], lengths [b]."""

    def __init__(self, lengths: list[int], random: np.random.Generator, more: int = 0) -> None:
        width = 2 * max(lengths) + 1 + more
        self.ids = torch.zeros(len(lengths), width, dtype=torch.long)
        self.targets = torch.full((len(lengths), width), IGNORE)
        self.lengths = torch.tensor([2 * n + 1 for n in lengths])
        for row, n in enumerate(lengths):
            asked = random.integers(2, LETTERS + 2, (1, n))
            whole = [*asked[0], TaskBatches.EQUALS, *TASKS["reverse"](asked)[0], TaskBatches.END]
            self.ids[row, : 2 * n + 1] = torch.tensor(whole[:-1])
            self.targets[row, n : 2 * n + 1] = torch.tensor(whole[n + 1 :])

    @property
    def real(self) -> Bool[Tensor, "b t"]:
        return torch.arange(self.ids.shape[1]) < self.lengths[:, None]


class BatchNorm(nn.Module):
    """Over all slots of the batch, or over the real words only where `real` says which they are."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(d)
        self.real: Bool[Tensor, "b t"] | None = None

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        if self.real is None:
            return self.norm(x.flatten(0, 1)).view_as(x)
        y = torch.zeros_like(x)
        y[self.real] = self.norm(x[self.real])
        return y


NORMS = {"LayerNorm": False, "BatchNorm": True, "BatchNorm of real words": True}
"""Name → whether it replaces the LayerNorms of a decoder."""
TRAINED = ("LayerNorm", "BatchNorm of real words")


class Decoder(nn.Module):
    """A small decoder, its norms exchanged for another kind where asked."""

    def __init__(self, norm: str, seed: int) -> None:
        super().__init__()
        stack = StackConfig(n_layers=2, position=Learned(), residual=PreNorm())
        config = ModelConfig(vocab_size=LETTERS + 2, d_model=64, n_heads=4, context_length=64, decoder=stack)
        self.model, self.norms = Transformer(config, seed), []
        self.masked = norm.endswith("words")
        if NORMS[norm]:
            for parent in list(self.model.modules()):
                for name, child in list(parent.named_children()):
                    if isinstance(child, LayerNormModule):
                        setattr(parent, name, BatchNorm(64))
            self.norms = [module for module in self.model.modules() if isinstance(module, BatchNorm)]

    def hidden(self, rows: Rows) -> Float[Tensor, "b t d"]:
        for norm in self.norms:
            norm.real = rows.real if self.masked else None
        return self.model.hidden(rows.ids, mask=Padding(rows.lengths))

    def forward(self, rows: Rows) -> Float[Tensor, "b t v"]:
        return self.model.head(self.hidden(rows), self.model.last_stack.input.tokens)


def learn(norm: str, rows: int, steps: int, seed: int) -> tuple[Decoder, list[float]]:
    """A decoder trained on batches of so many rows of unequal length, and its loss before each step."""
    decoder = Decoder(norm, seed)

    def loss(step: int) -> Tensor:
        random = np.random.default_rng(derive_seed(seed, "layernorm", step))
        batch = Rows(random.integers(1, LONGEST + 1, rows).tolist(), random)
        return F.cross_entropy(decoder(batch).flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORE)

    with one_core():  # products this small are no faster on two
        return decoder, train(decoder, loss, steps, schedule=Cosine(learning_rate=3e-3, warmup=50), clip=1.0)


@torch.no_grad()
def right(decoder: Decoder, seed: int) -> float:
    """The share of right letters, each given those before it, in words that training never saw, as a test has them."""
    decoder.eval()
    random = np.random.default_rng(derive_seed(seed, "test"))
    rows = Rows([1 + n % LONGEST for n in range(50 * LONGEST)], random)
    found = decoder(rows).argmax(dim=-1) == rows.targets
    return found[rows.targets != IGNORE].double().mean().item()


@torch.no_grad()
def moved(norm: str, seed: int) -> tuple[float, float]:
    """How far a sentence's features move, relative to their size, beside other sentences and with more padding."""
    decoder = Decoder(norm, seed).train()
    mine = torch.tensor([3, 9, 5, 7])

    def features(lengths: list[int], other: int, more: int) -> Tensor:
        rows = Rows([4, *lengths], np.random.default_rng(other), more)
        rows.ids[0, :4], rows.ids[0, 5:9] = mine, mine.flip(0)  # the same word in every batch
        return decoder.hidden(rows)[0, :9]

    def off(x: Tensor, y: Tensor) -> float:
        return ((x - y).norm() / x.norm()).item()

    here = features([2, 4, 8], seed, 0)
    return off(here, features([11, 6, 12], seed + 1, 0)), off(here, features([2, 4, 8], seed, 20))


def by_position(seed: int) -> tuple[list[int], list[float], list[float]]:
    """Sentences of 1 to 40 words: how many reach each position, and how far off either norm puts their features there.

    Features are drawn with mean 0 and variance 1, so a norm that knew those would leave them as they are.
    """
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 40, (32,), generator=random)
    lengths[0] = 40
    x = torch.randn(32, 40, 64, generator=random)
    reach, batch, layer = [], [], []
    for place in range(40):
        here = x[lengths > place, place]
        reach.append(len(here))
        alike = (here - here.mean(dim=0)) / (here.var(dim=0, correction=0) + 1e-5).sqrt()
        batch.append(((alike - here).norm() / here.norm()).item())
        layer.append(((F.layer_norm(here, (64,)) - here).norm() / here.norm()).item())
    return reach, batch, layer


def reproduce(seed: int = 0, steps: int = 1000) -> Reproduction:
    drift = {norm: moved(norm, seed) for norm in NORMS}
    reach, batch, layer = by_position(seed)
    last = reach.index(1)
    losses: dict[tuple[str, int], list[float]] = {}
    scores: dict[tuple[str, int], float] = {}
    for norm in TRAINED:
        for rows in SIZES:
            decoder, losses[norm, rows] = learn(norm, rows, steps, seed)
            scores[norm, rows] = right(decoder, seed)
    gaps = [scores[TRAINED[0], rows] - scores[TRAINED[1], rows] for rows in SIZES]
    ahead = ", ".join(f"{100 * gap:+.0f} points in batches of {rows}" for gap, rows in zip(gaps, SIZES, strict=True))

    def said(place: int) -> str:
        return ", ".join(f"{norm} {off[place]:.2g}" for norm, off in drift.items())

    checks = (
        Check(
            "By statistics of the batch a sentence is read differently beside other sentences, by LayerNorm the same",
            "no dependence between the cases of a batch (§1, §3), no number",
            f"features move, relative to their size: {said(0)}",
            drift["LayerNorm"][0] < 1e-5 and min(drift[norm][0] for norm in NORMS if NORMS[norm]) > 0.05,
        ),
        Check(
            "More padding changes it too, unless the statistics leave padding out",
            "nothing: the paper has no padding",
            f"20 more slots of padding: {said(1)}",
            drift["LayerNorm"][1] < 1e-5 < 0.05 < drift["BatchNorm"][1] and drift[TRAINED[1]][1] < 1e-5,
        ),
        Check(
            "Statistics for each position run out of sentences, and where one is left they erase its word",
            "separate statistics for each step; trouble for a test sentence longer than all of training (§3.1)",
            f"32 sentences of 1 to 40 words, {reach[19]} reach position 20, 1 position {last + 1}: features are "
            f"{batch[0]:.0%}, {batch[19]:.0%} and {batch[last]:.0%} off by BatchNorm at positions 1, 20 and {last + 1} "
            f"(all of them is 100%), by LayerNorm {layer[0]:.0%}, {layer[19]:.0%} and {layer[last]:.0%}",
            batch[last] > 0.999 and batch[0] < batch[19] < batch[last] and max(layer) < 0.3,
        ),
        Check(
            f"In batches of {SIZES[0]} sentences of unequal length LayerNorm learns and BatchNorm hardly does",
            "no limit on the size of a batch: even batches of one would do (§3)",
            f"right letters in a test: LayerNorm {scores[TRAINED[0], SIZES[0]]:.0%}, BatchNorm of real words "
            f"{scores[TRAINED[1], SIZES[0]]:.0%}",
            gaps[0] > 0.15,
        ),
        Check(
            "The smaller the batch, the more BatchNorm falls behind",
            "curves on digits: a little in batches of 128, clearly in batches of 4 (§6.6, figure 6)",
            f"LayerNorm against BatchNorm of real words: {ahead}",
            gaps[0] > gaps[-1] + 0.1,
        ),
    )

    picture, (left, middle, right_) = panels(3, width=12.0, height=3.6)
    places = range(1, 41)
    left.plot(places, layer, "o-", label="LayerNorm", markersize=3)
    left.plot(places, batch, "s-", label="BatchNorm", markersize=3)
    left.set(xlabel="position in the sentence", ylabel="features are off by (relative)", ylim=(0, 1.05))
    left.set(title="Statistics of each position")
    count = left.twinx()
    count.step(places, reach, where="mid", color="#888888", linewidth=1)
    count.set_ylabel("sentences that long (grey)", color="#666666")
    for norm, colour in zip(TRAINED, COLOURS, strict=False):
        for rows, style in ((SIZES[0], "-"), (SIZES[-1], ":")):
            smooth = np.convolve(losses[norm, rows], np.ones(50) / 50, mode="valid")
            middle.plot(range(len(smooth)), smooth, style, color=colour, label=f"{norm.split()[0]}, {rows} rows")
        right_.plot(SIZES, [100 * scores[norm, rows] for rows in SIZES], "os"[TRAINED.index(norm)] + "-", label=norm)
    middle.set(xlabel="step", ylabel="loss (nats a letter)", title="Training", ylim=(0, 4.6))
    right_.set_xscale("log", base=2)
    right_.set(xlabel="rows of a batch", ylabel="right letters in a test (%)", title="Size of the batch", ylim=(0, 104))
    for axes in (left, middle, right_):
        axes.legend(fontsize=8, frameon=False)
    notes = (
        "Over all real words of larger batches BatchNorm trains as well as LayerNorm here, faster in batches of 16. "
        "What fails: tiny batches, a statistic for each position, and that an answer depends on its sentence alone.",
    )
    return Reproduction(checks, picture, notes)
