"""What the benchmarks share: peers found beside this project, and variants timed in turn, each in its own process."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch


def nanogpt(path: str | None) -> ModuleType:
    """nanoGPT's `model.py` from a checkout of github.com/karpathy/nanoGPT: PATH, or the variable NANOGPT."""
    folder = Path(path or os.environ.get("NANOGPT", ""))
    if not (folder / "model.py").is_file():
        print("This benchmark measures beside nanoGPT: clone github.com/karpathy/nanoGPT and give --nanogpt PATH.")
        sys.exit(0)
    spec = importlib.util.spec_from_file_location("nanogpt_model", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def machine() -> str:
    """One line about where this runs."""
    model = "unknown processor"
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    return f"{model}, {torch.get_num_threads()} threads, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}"


class Worker:
    """A process of its own that repeats one thing when told, so that no variant's memory or threads help another.

    build(name, options) → a function to time. The processes stand still while another one runs.
    """

    def __init__(self, build: Callable[[str, Any], Callable[[], object]], name: str, options: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, build, name, options), daemon=True)
        self.process.start()
        assert self.pipe.recv() == "ready"

    def seconds(self, times: int) -> float:
        """Of one call, the mean of so many."""
        self.pipe.send(times)
        return self.pipe.recv()

    def close(self) -> None:
        self.pipe.send(0)
        self.process.join()


def _serve(pipe: Any, build: Callable[[str, Any], Callable[[], object]], name: str, options: Any) -> None:
    run = build(name, options)
    run()
    pipe.send("ready")
    while times := pipe.recv():
        begun = time.perf_counter()
        for _ in range(times):
            run()
        pipe.send((time.perf_counter() - begun) / times)


def in_turn(
    build: Callable[[str, Any], Callable[[], object]], names: list[str], options: Any, rounds: int, inner: int = 1
) -> dict[str, list[float]]:
    """Seconds of one call of each variant, measured A B C A B C …; each figure is the mean of `inner` calls."""
    workers = {name: Worker(build, name, options) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for name, worker in workers.items():
            time.sleep(0.05)  # the last one's threads stop spinning
            took = worker.seconds(inner)
            if turn:  # the first round warms up
                seconds[name].append(took)
    for worker in workers.values():
        worker.close()
    return seconds


def table(
    seconds: dict[str, list[float]], against: str, per: float = 1.0, unit: str = "ms", scale: float = 1e3
) -> None:
    """Median and minimum of each variant, and the median of its ratio to `against`, round by round."""
    width = max(map(len, seconds))
    for name, times in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(times, seconds[against], strict=True))
        middle, least = statistics.median(times) * scale / per, min(times) * scale / per
        print(f"  {name:<{width}}  median {middle:8.2f} {unit}   least {least:8.2f} {unit}   {ratio:5.2f} × {against}")
