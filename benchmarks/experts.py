"""A mixture of experts in five ways, side by side: what sorting the tokens saves.

    python benchmarks/experts.py [--experts 8] [--chosen 2] [--width 256] [--tokens 2048] [--dtype float32]

grouped      as `regard` trains: tokens sorted by expert, one product for each expert, written into its place
torch        the same with torch.nn.functional.grouped_mm
loop         for each expert, its tokens are searched, gathered, and added back, as most code does
formula      every expert for every token
dense        one feed-forward as wide as the chosen experts together: the same operations without a choice

Forward and backward, the best of some rounds in which all ways take turns. Milliseconds hold for a machine that does
nothing else; those of CPU, of all threads together, hardly depend on what else it does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.feedforward import Experts, Gated
from regard.feedforward.experts import ExpertsModule
from regard.layers import Sizes


def by_torch(module: ExpertsModule, x: Tensor, gates: Tensor, chosen: Tensor) -> Tensor:
    k, experts = chosen.shape[-1], chosen.flatten()
    order = experts.argsort(stable=True)
    ends = torch.bincount(experts, minlength=module.settings.n_experts).cumsum(0).int()
    rows = x.flatten(0, 1).index_select(0, order // k)

    def product(rows: Tensor, maps: nn.Module) -> Tensor:
        return F.grouped_mm(rows, maps.matrix().mT, offs=ends)  # type: ignore[operator]

    assert module.gate is not None
    hidden = F.silu(product(rows, module.gate)) * product(rows, module.up)
    answers = product(hidden, module.down).index_select(0, order.argsort())
    return (answers.view(*chosen.shape, -1) * gates[..., None]).sum(-2)


def by_loop(module: ExpertsModule, x: Tensor, gates: Tensor, chosen: Tensor) -> Tensor:
    assert module.gate is not None
    flat, y = x.flatten(0, 1), torch.zeros_like(x.flatten(0, 1))
    for expert in range(module.settings.n_experts):
        tokens, rank = torch.where(chosen.flatten(0, 1) == expert)
        mine = flat[tokens]
        hidden = F.silu(F.linear(mine, module.gate.matrix()[expert])) * F.linear(mine, module.up.matrix()[expert])
        answers = F.linear(hidden, module.down.matrix()[expert]) * gates.flatten(0, 1)[tokens, rank, None]
        y = y.index_add(0, tokens, answers)
    return y.view_as(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experts", type=int, default=8)
    parser.add_argument("--chosen", type=int, default=2)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    torch.manual_seed(0)
    d, dtype = options.width, getattr(torch, options.dtype)
    settings = Experts(n_experts=options.experts, top_k=options.chosen)
    sizes = Sizes(d, 4, 4, d // 4, settings.width(d), options.tokens)
    experts = settings.build(sizes)
    dense = Gated().build(Sizes(d, 4, 4, d // 4, options.chosen * sizes.d_ff, options.tokens))
    for module in (experts, dense):
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=d**-0.5)
        module.to(dtype)
    x = torch.randn(1, options.tokens, d, dtype=dtype, requires_grad=True)
    gradient = torch.randn_like(x)
    scores = (x.detach() @ experts.router.matrix().T).float().softmax(-1)
    gates, chosen = scores.topk(options.chosen)
    gates = (gates / gates.sum(-1, keepdim=True)).to(dtype).detach()

    ways: dict[str, Callable[[], Tensor]] = {
        "grouped": lambda: experts.kernel(x, gates, chosen),
        "torch": lambda: by_torch(experts, x, gates, chosen),
        "loop": lambda: by_loop(experts, x, gates, chosen),
        "formula": lambda: experts.formula(x, gates, chosen),
        "dense": lambda: dense(x),
    }
    exact = ways["formula"]()
    for name in ("grouped", "torch", "loop"):
        error = ((ways[name]() - exact).abs().max() / exact.abs().max()).item()
        assert error < (1e-4 if dtype == torch.float32 else 0.1), (name, error)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            begun, cpu = time.perf_counter(), time.process_time()
            way().backward(gradient)
            times[name].append((time.perf_counter() - begun, time.process_time() - cpu))
            for tensor in (x, *experts.parameters(), *dense.parameters()):
                tensor.grad = None
    print(
        f"{options.experts} experts, {options.chosen} chosen, d {d}, {options.tokens:,} tokens, {options.dtype}, "
        f"{torch.get_num_threads()} threads"
    )
    best = {name: tuple(map(min, zip(*each, strict=True))) for name, each in times.items()}
    for name, (seconds, cpu) in best.items():
        share = cpu / best["grouped"][1]
        print(f"{name:<12}{seconds * 1e3:9.1f} ms   {cpu * 1e3:9.1f} ms of CPU   {share:5.2f} × grouped")


if __name__ == "__main__":
    main()
