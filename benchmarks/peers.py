"""What the benchmarks share: peers found beside this project, and variants timed in turn in one process."""

from __future__ import annotations

import gc
import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

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


def in_turn(
    variants: dict[str, Callable[[], object]], rounds: int, inner: int = 1, warm_up: int = 2
) -> dict[str, list[float]]:
    """Seconds of one call of each variant, measured A B C A B C …; each figure is the mean of `inner` calls."""
    for run in variants.values():
        for _ in range(warm_up):
            run()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    gc.collect()
    for _ in range(rounds):
        for name, run in variants.items():
            begun = time.perf_counter()
            for _ in range(inner):
                run()
            seconds[name].append((time.perf_counter() - begun) / inner)
    return seconds


def table(
    seconds: dict[str, list[float]], against: str, per: float = 1.0, unit: str = "ms", scale: float = 1e3
) -> None:
    """Median and minimum of each variant, and the median of its ratio to `against`, round by round."""
    width = max(map(len, seconds))
    for name, times in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(times, seconds[against], strict=True))
        middle, least = statistics.median(times) * scale / per, min(times) * scale / per
        print(f"  {name:<{width}}  median {middle:8.1f} {unit}   least {least:8.1f} {unit}   {ratio:5.2f} × {against}")
