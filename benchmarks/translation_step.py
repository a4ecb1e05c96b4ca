"""A training step of an encoder–decoder on a CPU, beside MarianMT, BART, T5 (transformers) and torch.nn.Transformer.

    python benchmarks/translation_step.py [fixed] [lengths] [--rounds 20] [--only WORD …]

3 + 3 layers, width 256, feed-forward 1024, 8000 words in one table for source, target and head; dropout 0.1, label
smoothing 0.1, clipping at 1, torch's fused AdamW for all.

fixed     64 pairs of 24 + 24 words: milliseconds of a step
lengths   pairs as long as Multi30k's (en → de, 8000 word pieces): real target words in a second. The peers pad 64
          random pairs to the longest; regard takes pairs of like length, as many as have about so many real words

Each variant runs in a process of its own, one at a time, in turn.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from peers import in_turn, machine, table
from regard.attention import Padding
from regard.inputs import TokenInput
from regard.model import MLP, ModelConfig, StackConfig, Transformer, Xavier
from regard.training.devices import keep_memory
from regard.training.optimisers import AdamW

V, LAYERS, D, D_FF, HEADS, PAIRS, WORDS, DROPOUT, SMOOTHING = 8000, 3, 256, 1024, 4, 64, 24, 0.1, 0.1
PAD, IGNORED = 0, -100

# Multi30k's 29,000 pairs in 8,000 joint word pieces, END counted: how many sources are 0, 1, 2 … long, and how many
# targets are 14 shorter than their source, 13 shorter … 20 longer.
SOURCES = """0 0 0 0 0 5 22 130 563 1223 1786 2352 2874 2833 2759 2569 2252 1881 1616 1302 1069 838 693 526 401 327
222 195 146 92 72 64 34 34 18 22 18 10 11 10 7 7 5 2 2 4 2 1 0 1"""
DIFFERENCES = """1 1 0 5 8 14 33 74 157 362 735 1502 2939 4716 5253 4254 3152 2178 1442 882 507 319 186 99 79 43 22 16
10 4 3 2 0 1 1"""

Pairs = list[tuple[int, int]]


def pairs(count: int, seed: int) -> Pairs:
    """Lengths of a source and its target."""
    random = torch.Generator().manual_seed(seed)

    def draw(counts: str) -> Tensor:
        weights = torch.tensor([float(n) for n in counts.split()])
        return torch.multinomial(weights, count, replacement=True, generator=random)

    source = draw(SOURCES)
    target = (source + draw(DIFFERENCES) - 14).clamp_min(4)
    return list(zip(source.tolist(), target.tolist(), strict=True))


def batches(bucketed: bool) -> Iterator[Pairs]:
    """Endless batches: 64 pairs as they come, or pairs of like length with as many real words as 64 have on average."""
    seed = 0
    while True:
        seed += 1
        some = pairs(100 * PAIRS, seed)
        if not bucketed:
            yield from (some[i : i + PAIRS] for i in range(0, len(some), PAIRS))
            continue
        some.sort(key=lambda pair: pair[::-1])
        room = sum(t for _, t in some) / 100
        cut: list[Pairs] = [[]]
        for pair in some:
            if sum(t for _, t in cut[-1]) + pair[1] / 2 > room:
                cut.append([])
            cut[-1].append(pair)
        order = torch.randperm(len(cut), generator=torch.Generator().manual_seed(seed)).tolist()
        yield from (cut[i] for i in order)


def tensors(lengths: Pairs, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random words, PAD after the last: source [b s], its lengths [b], target [b t], its lengths [b]."""
    random = torch.Generator().manual_seed(seed)
    sources, targets = (torch.tensor(side) for side in zip(*lengths, strict=True))

    def words(n: Tensor) -> Tensor:
        ids = torch.randint(3, V, (len(n), int(n.max())), generator=random)
        return ids.masked_fill(torch.arange(ids.shape[1]) >= n[:, None], PAD)

    return words(sources), sources, words(targets), targets


def regard(options: argparse.Namespace) -> tuple[nn.Module, Callable[..., Tensor], Any]:
    keep_memory()  # as training does
    stack = StackConfig(n_layers=LAYERS, feedforward=MLP(activation="relu"))
    config = ModelConfig(
        vocab_size=V,
        d_model=D,
        d_ff=D_FF,
        n_heads=HEADS,
        dropout=DROPOUT,
        input=TokenInput(scale="sqrt_d_model"),
        encoder=stack,
        decoder=stack,
        initialisation=Xavier(),
    )
    model = Transformer(config).train()
    optimisers = AdamW(betas=(0.9, 0.98)).build(model)

    def loss(run: nn.Module, source: Tensor, sources: Tensor, target: Tensor, targets: Tensor) -> Tensor:
        gold = target.masked_fill(target == PAD, IGNORED)
        full = bool((sources == source.shape[1]).all() and (targets == target.shape[1]).all())
        masks = {} if full else {"mask": Padding(targets), "source_mask": Padding(sources)}
        result = run(shifted(target), gold, source=source, smoothing=SMOOTHING, **masks)
        return result.objective / result.target_count

    def step() -> None:
        parameters = list(model.parameters())
        norm = nn.utils.get_total_norm([p.grad for p in parameters])
        if norm > 1.0:
            nn.utils.clip_grads_with_norm_(parameters, 1.0, norm)
        optimisers.step(1e-4)
        optimisers.zero_grad()

    return model, loss, step


def theirs(name: str) -> tuple[nn.Module, Callable[..., Tensor], Any]:
    model = Torch() if name == "torch.nn" else _transformers(name)
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.1, fused=True)

    def loss(run: nn.Module, source: Tensor, sources: Tensor, target: Tensor, targets: Tensor) -> Tensor:
        full = bool((sources == source.shape[1]).all())
        seen = None if full else (source != PAD).long()
        logits = run(input_ids=source, attention_mask=seen, decoder_input_ids=shifted(target), use_cache=False).logits
        gold = target.masked_fill(target == PAD, IGNORED)
        return F.cross_entropy(logits.view(-1, V), gold.view(-1), label_smoothing=SMOOTHING)

    def step() -> None:
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return model, loss, step


def shifted(target: Tensor) -> Tensor:
    """What a decoder reads to predict the target: BEGIN before all, without the last."""
    return F.pad(target[:, :-1], (1, 0), value=1)


class Logits:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class Torch(nn.Module):
    """torch.nn.Transformer with an embedding, sinusoids and a tied head."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(V, D)
        nn.init.normal_(self.table.weight, std=D**-0.5)
        angle = torch.arange(100)[:, None] * torch.exp(torch.arange(0, D, 2) * (-9.21 / D))
        self.register_buffer("positions", torch.stack([angle.sin(), angle.cos()], -1).flatten(1))
        self.stacks = nn.Transformer(D, HEADS, LAYERS, LAYERS, D_FF, DROPOUT, batch_first=True)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None, decoder_input_ids: Tensor, **_: Any) -> Logits:
        hidden = None if attention_mask is None else attention_mask == 0
        mask = self.stacks.generate_square_subsequent_mask(decoder_input_ids.shape[1])
        x, y = (
            self.dropout(self.table(ids) * D**0.5 + self.positions[: ids.shape[1]])
            for ids in (input_ids, decoder_input_ids)
        )
        y = self.stacks(
            x,
            y,
            tgt_mask=mask,
            tgt_is_causal=True,
            src_key_padding_mask=hidden,
            memory_key_padding_mask=hidden,
        )
        return Logits(F.linear(y, self.table.weight))


def _transformers(name: str) -> nn.Module:
    import transformers

    if name == "T5":
        return transformers.T5ForConditionalGeneration(
            transformers.T5Config(
                vocab_size=V,
                d_model=D,
                d_kv=D // HEADS,
                d_ff=D_FF,
                num_layers=LAYERS,
                num_heads=HEADS,
                dropout_rate=DROPOUT,
                decoder_start_token_id=1,
            )
        )
    kind = {"MarianMT": "Marian", "BART": "Bart"}[name]
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=V,
        d_model=D,
        encoder_layers=LAYERS,
        decoder_layers=LAYERS,
        encoder_ffn_dim=D_FF,
        decoder_ffn_dim=D_FF,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        activation_function="relu",
        dropout=DROPOUT,
        attention_dropout=DROPOUT,
        max_position_embeddings=128,
        scale_embedding=True,
        pad_token_id=PAD,
        eos_token_id=2,
        bos_token_id=1,
        decoder_start_token_id=1,
        forced_eos_token_id=None,
    )
    ending = {"Marian": "MTModel", "Bart": "ForConditionalGeneration"}[kind]
    return getattr(transformers, f"{kind}{ending}")(config)


def variant(name: str, options: argparse.Namespace) -> Callable[[], object]:
    """A step of one variant, or as many as a round of `lengths` has, in a process of its own."""
    who = name.split()[0]
    model, loss, update = regard(options) if who == "regard" else theirs(who)
    run = torch.compile(model, dynamic="lengths" in options.what or None) if "compiled" in name else model
    if options.what == "fixed":
        every = [tensors([(WORDS, WORDS)] * PAIRS, 0)]
    else:
        stream = batches(bucketed=who == "regard")
        every = [tensors(next(stream), seed) for seed in range(options.steps)]

    def step() -> None:
        for batch in every:
            with torch.autocast("cpu", torch.bfloat16, enabled="bfloat16" in name):
                value = loss(run, *batch)
            value.backward()
            update()

    return step


def real_words(name: str, steps: int) -> int:
    """Target words that a round of `lengths` teaches."""
    stream = batches(bucketed=name.startswith("regard"))
    return sum(t for _ in range(steps) for _, t in next(stream))


PEERS = ["MarianMT", "BART", "T5", "torch.nn"]
VARIANTS = [
    *PEERS,
    "MarianMT compiled",
    "torch.nn compiled",
    "regard",
    "regard compiled",
    *(f"{name} bfloat16" for name in ("MarianMT", "torch.nn", "regard", "regard compiled")),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["fixed", "lengths"])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=8, help="batches in a round of `lengths`")
    parser.add_argument("--only", nargs="*", help="these variants alone")
    options = parser.parse_args()
    names = options.only or VARIANTS
    print(machine())
    for what in options.what:
        options.what = what
        seconds = in_turn(variant, names, options, options.rounds, inner=3 if what == "fixed" else 1)
        for dtype in ("float32", "bfloat16"):
            mine = {name: times for name, times in seconds.items() if ("bfloat16" in name) == (dtype == "bfloat16")}
            if not mine:
                continue
            if what == "fixed":
                print(f"{dtype}, a step of {PAIRS} pairs of {WORDS} + {WORDS} words:")
                counts = dict.fromkeys(mine, 1.0)
            else:
                print(f"{dtype}, real target words of Multi30k's lengths, µs each:")
                counts = {name: real_words(name, options.steps) / 1e3 for name in mine}
            each = {name: [t / counts[name] for t in times] for name, times in mine.items()}
            others = [name for name in each if not name.startswith("regard")] or list(each)
            best = min(others, key=lambda name: statistics.median(each[name]))
            table(each, best, unit="ms" if what == "fixed" else "µs")


if __name__ == "__main__":
    main()
