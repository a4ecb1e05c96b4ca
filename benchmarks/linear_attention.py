"""Linear attention in chunks beside torch's fused softmax attention, on a CPU: time, memory, and a step of generation.

    python benchmarks/linear_attention.py [--rounds 7] [--longest 16384] [--threads 2]

Time is forward and backward of causal attention, one sentence, 8 heads of 64, float32, in turn in one process; a ratio
is the median of the ratios of neighbours. "plain" is the same sum with autograd's own backward pass. Memory is what a
process of its own needs at most, above its inputs. Generation is one token of a 4-layer decoder, 512 wide, after a
context of so many tokens.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from peers import machine
from regard.attention import Dot, LinearAttention, scan
from regard.attention.linear import elu1
from regard.attention.recurrent import divided
from regard.model import ModelConfig, StackConfig, Transformer

HEADS, SIZE, CHUNK = 8, 64, 64


def softmax(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def chunked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    y, _ = scan.sums(elu1(q), elu1(k), F.pad(v, (0, 1), value=1.0), chunk=CHUNK)
    return divided(y[..., :-1], y[..., -1:])


def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (x.unflatten(2, (-1, CHUNK)) for x in (F.elu(q) + 1, F.elu(k) + 1, v))
    scores = (q @ k.mT).tril()
    states, sums = k.mT @ v, k.sum(3, keepdim=True)
    states, sums = states.cumsum(2) - states, sums.cumsum(2) - sums
    y = scores @ v + q @ states
    return (y / (scores.sum(-1, keepdim=True) + (q * sums).sum(-1, keepdim=True))).flatten(2, 3)


FORMS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"softmax": softmax, "plain": plain, "chunked": chunked}


def once(form: Callable[[Tensor, Tensor, Tensor], Tensor], inputs: list[Tensor], pull: Tensor) -> float:
    """Seconds of one forward and backward pass."""
    begun = time.perf_counter()
    torch.autograd.grad(form(*inputs), inputs, pull)
    return time.perf_counter() - begun


def made(length: int) -> tuple[list[Tensor], Tensor]:
    random = torch.Generator().manual_seed(0)
    shape = (1, HEADS, length, SIZE)
    return [torch.randn(shape, generator=random).requires_grad_() for _ in range(3)], torch.randn(shape)


def times(lengths: list[int], rounds: int) -> None:
    print("Forward and backward, ms (median), and of softmax's time:")
    for length in lengths:
        inputs, pull = made(length)
        seconds: dict[str, list[float]] = {name: [] for name in FORMS}
        for turn in range(rounds + 1):
            for name, form in FORMS.items():
                took = once(form, inputs, pull)
                if turn:  # the first round warms up
                    seconds[name].append(took)
        row = [f"{length:>8,} tokens"]
        for name, each in seconds.items():
            ratio = statistics.median(a / b for a, b in zip(each, seconds["softmax"], strict=True))
            row.append(f"{name} {statistics.median(each) * 1e3:9.1f}" + (f" {ratio:6.3f}" if name != "softmax" else ""))
        print("   ".join(row), flush=True)


def _peak(name: str, length: int, threads: int, pipe: object) -> None:
    torch.set_num_threads(threads)
    once(FORMS[name], *made(256))
    inputs, pull = made(length)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = _status("VmRSS")
    once(FORMS[name], inputs, pull)
    pipe.send(_status("VmHWM") - before)  # type: ignore[attr-defined]


def _status(name: str) -> int:
    """Bytes of this process, as Linux counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def memory(lengths: list[int], threads: int) -> None:
    one = 4 * HEADS * SIZE
    print("Peak memory of forward and backward above q, k, v, in tensors of v's size (each 2 kB a token):")
    for length in lengths:
        row = [f"{length:>8,} tokens"]
        for name in FORMS:
            mine, theirs = multiprocessing.get_context("spawn").Pipe()
            process = multiprocessing.get_context("spawn").Process(target=_peak, args=(name, length, threads, theirs))
            process.start()
            row.append(f"{name} {mine.recv() / (one * length):6.1f}")
            process.join()
        print("   ".join(row), flush=True)


@torch.inference_mode()
def generation(lengths: list[int]) -> None:
    print("One token of generation, ms (median of 30), and the cache, MB:")
    models = {}
    for name, attention in (("softmax", Dot()), ("linear", LinearAttention())):
        stack = StackConfig(n_layers=4, attention=attention, position="rotary")
        config = ModelConfig(vocab_size=256, d_model=512, n_heads=8, context_length=max(lengths) + 64, decoder=stack)
        models[name] = Transformer(config).eval()
    for length in lengths:
        caches = {name: model.cache(1, length + 64) for name, model in models.items()}
        seconds: dict[str, list[float]] = {name: [] for name in models}
        for name, model in models.items():
            for piece in torch.zeros(1, length, dtype=torch.long).split(1024, dim=1):
                model.hidden(piece, cache=caches[name])
        for _ in range(33):
            for name, model in models.items():
                begun = time.perf_counter()
                model(torch.zeros(1, 1, dtype=torch.long), cache=caches[name])
                seconds[name].append(time.perf_counter() - begun)
        row = [f"{length:>8,} tokens"]
        for name, each in seconds.items():
            row.append(f"{name} {statistics.median(each[3:]) * 1e3:7.2f} {caches[name].bytes / 1e6:8.2f}")
        print("   ".join(row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--longest", type=int, default=16384)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lengths = [length for length in (1024, 4096, 16384, 65536) if length <= options.longest]
    print(machine())
    times(lengths, options.rounds)
    memory(lengths, options.threads)
    generation([256, *lengths])


if __name__ == "__main__":
    main()
