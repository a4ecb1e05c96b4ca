"""A training step of GPT-2 small's shape on a CPU beside nanoGPT: 12 × 768, context 256, batch 4, vocabulary 50257.

    python benchmarks/gpt2_small.py --nanogpt PATH [--rounds 5] [--only float32|bfloat16]

A step is forward, backward, clipping and the fused AdamW. bfloat16 means autocast: weights and sums in float32,
products in bfloat16, on both sides. Each variant runs in a process of its own, one at a time; "kept" is nanoGPT with
the allocator that regard's training asks for, to tell that apart from the rest.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import nn

from peers import in_turn, machine, nanogpt, table
from regard.layers import LayerNorm
from regard.model import MLP, ModelConfig, PreNorm, StackConfig, Transformer
from regard.positions import Learned
from regard.training.devices import keep_memory
from regard.training.optimisers import AdamW

V, LAYERS, HEADS, D, CONTEXT, BATCH = 50257, 12, 12, 768, 256, 4


def variant(name: str, options: argparse.Namespace) -> Callable[[], object]:
    """A step of one of the variants."""
    low = "bfloat16" in name
    ids = torch.randint(V, (BATCH, CONTEXT + 1), generator=torch.Generator().manual_seed(0))
    x, y = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    if "regard" in name or "kept" in name:
        keep_memory()
    if "regard" in name:
        model = Transformer(config())
        optimisers = AdamW().build(model)
        forward: nn.Module = torch.compile(model) if "compiled" in name else model

        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                loss = forward(x, y)
            (loss.objective / loss.target_count).backward()
            parameters = [p for p in model.parameters() if p.grad is not None]
            norm = nn.utils.get_total_norm([p.grad for p in parameters])
            if norm > 1.0:
                nn.utils.clip_grads_with_norm_(parameters, 1.0, norm)
            optimisers.step(1e-4)
            optimisers.zero_grad()

        return step

    peer = nanogpt(options.nanogpt)
    shape = {"n_layer": LAYERS, "n_head": HEADS, "n_embd": D, "block_size": CONTEXT, "vocab_size": V}
    theirs = peer.GPT(peer.GPTConfig(**shape, dropout=0.0, bias=True))
    optimiser = torch.optim.AdamW(theirs.parameters(), lr=1e-4, fused=True)

    def their_step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            loss = theirs(x, y)[1]
        loss.backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return their_step


def config() -> ModelConfig:
    stack = StackConfig(
        n_layers=LAYERS,
        position=Learned(),
        feedforward=MLP(activation="gelu"),
        norm=LayerNorm(),
        residual=PreNorm(),
    )
    return ModelConfig(vocab_size=V, d_model=D, n_heads=HEADS, context_length=CONTEXT, decoder=stack)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanogpt")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["float32", "bfloat16"])
    parser.add_argument("--compiled", action="store_true", help="regard compiled, too")
    options = parser.parse_args()
    nanogpt(options.nanogpt)
    print(machine())
    for dtype in [options.only] if options.only else ["float32", "bfloat16"]:
        names = [f"{name} {dtype}" for name in ("nanoGPT", "nanoGPT kept", "regard")]
        names += [f"regard compiled {dtype}"] if options.compiled else []
        seconds = in_turn(variant, names, options, options.rounds)
        print(f"Seconds a step of {BATCH} × {CONTEXT} tokens, {dtype}:")
        table(seconds, names[0], unit="s", scale=1.0)


if __name__ == "__main__":
    main()
