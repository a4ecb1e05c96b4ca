"""`regard doctor`: what this machine has, whether its kernels compute what the formulas say, and what to mend.

Each kernel is run on every device in every type that training uses, on inputs rounded to that type, and compared with
the plain formula in float64 on the CPU. The error shown is max |y − y₆₄| / max |y₆₄|.
"""

from __future__ import annotations

import copy
import json as json_
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PACKAGES = ("torch", "numpy", "tokenizers", "tiktoken", "safetensors", "pydantic", "cyclopts", "rich")
EXTRAS = {
    "pyarrow": ("data", "Parquet files"),
    "datasets": ("data", "Hugging Face data sets"),
    "zstandard": ("data", ".zst files"),
    "tensorboard": ("tensorboard", "TensorBoard"),
}
TOLERANCE = {"float32": 2e-5, "bfloat16": 5e-2}
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16", "sve")
NEEDED, SCARCE = 0.2, 2.0
"""Gigabytes of free disk below which nothing, or little, can be saved."""

Verdict = Literal["ok", "note", "wrong"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    found: str
    verdict: Verdict = "ok"
    mend: str = ""
    """What to do, in one sentence; empty where all is well."""


def doctor(
    *,
    quick: Annotated[bool, Parameter(help="Leave out compiling, which takes up to a minute.")] = False,
    json: Annotated[bool, Parameter(help="One JSON object, for programs.")] = False,
) -> int:
    """Check this machine: versions, devices, kernels, space.

    Ends with exit code 1 if something is wrong.
    """
    findings = []
    for finding in examine(quick):
        findings.append(finding)
        if not json:
            mark = {"ok": "✓", "note": "·", "wrong": "✗"}[finding.verdict]
            print(f"{mark} {finding.what:<28} {finding.found}", flush=True)
            if finding.mend:
                print(f"  {'':<28} → {finding.mend}")
    wrong = [finding for finding in findings if finding.verdict == "wrong"]
    if json:
        print(json_.dumps({"well": not wrong, "findings": [asdict(finding) for finding in findings]}))
    else:
        print(f"\n{len(wrong)} thing(s) to mend." if wrong else "\nAll is well.")
    return 1 if wrong else 0


def examine(quick: bool = False) -> Iterator[Finding]:
    """All findings, one by one."""
    yield from _software()
    yield from _machine()
    yield _space(os.getcwd())
    import torch

    torch.manual_seed(0)
    for device in _devices():
        for dtype in TOLERANCE:
            for what, check in KERNELS.items():
                yield _kernel(what, check, device, dtype)
        if not quick:
            yield _compiled(device)
    yield from _extras()


# — what is here —


def _software() -> Iterator[Finding]:
    from regard import __version__

    yield Finding("regard", f"{__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}")
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            yield Finding(package, "missing", "wrong", f"pip install {package}")
    yield Finding("packages", ", ".join(f"{name} {number}" for name, number in found.items()))
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    if encoding != "utf8":
        yield Finding(
            "terminal", f"shows {sys.stdout.encoding} only", "note", "set PYTHONUTF8=1 to see all characters."
        )


def _machine() -> Iterator[Finding]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    too_many = threads > cores
    yield Finding(
        "threads",
        f"{threads} of {cores} cores",
        "note" if too_many else "ok",
        f"set OMP_NUM_THREADS={cores}: more threads than cores wait for each other." if too_many else "",
    )
    libraries = [name for name, there in (("MKL", torch.backends.mkl.is_available()),
                                          ("oneDNN", torch.backends.mkldnn.is_available())) if there]  # fmt: skip
    yield Finding("processor", f"{torch.backends.cpu.get_cpu_capability()}; {_features()}; {' '.join(libraries)}")
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(number)
            yield Finding(f"cuda:{number}", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB")
        if torch.backends.cuda.matmul.allow_tf32:
            yield Finding(
                "float32 on cuda",
                "products use TF32",
                "note",
                "exact ones: torch.set_float32_matmul_precision('highest').",
            )
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))), None)
    if compiler:
        yield Finding("C++ compiler", compiler)
    else:
        yield Finding("C++ compiler", "none", "note", "install g++ or clang++ to let torch.compile speed up long runs.")


def _features() -> str:
    """The instruction sets that matter here, where the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            flags = next((line.split(":")[1].split() for line in file if line.startswith(("flags", "Features"))), [])
    except OSError:
        return platform.processor() or platform.machine()
    return " ".join(feature for feature in FEATURES if feature in flags) or platform.machine()


def _space(folder: str) -> Finding:
    free = shutil.disk_usage(folder).free / 1e9
    verdict: Verdict = "wrong" if free < NEEDED else "note" if free < SCARCE else "ok"
    mend = "" if verdict == "ok" else "make room: a checkpoint needs about 12 bytes a parameter, and two are kept."
    return Finding("disk", f"{free:,.1f} GB free in {folder}", verdict, mend)


def _extras() -> Iterator[Finding]:
    for package, (extra, what) in EXTRAS.items():
        if find_spec(package) is None:
            yield Finding(what, f"{package} is not installed", "note", f"if you need it: pip install 'regard[{extra}]'")
        else:
            yield Finding(what, f"{package} {version(package)}")


def _devices() -> list[str]:
    import torch

    return ["cpu", *["cuda"] * torch.cuda.is_available(), *["mps"] * torch.backends.mps.is_available()]


# — whether it computes what the formulas say —

Pairs = list[tuple["Tensor", "Tensor"]]
"""What a kernel gave, and what the formula gives in float64."""


def _rounded(module: torch.nn.Module, dtype: torch.dtype) -> tuple[torch.nn.Module, torch.nn.Module]:
    """A module with random weights of a type, and the same weights in float64."""
    import torch

    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=parameter.shape[-1] ** -0.5)
    module = module.to(dtype).eval()
    return module, copy.deepcopy(module).double()


def _attention(device: str, dtype: torch.dtype) -> Pairs:
    import torch

    from regard.attention import Causal, Dot, Full, Padding, Pattern, View, Window
    from regard.layers import Sizes, formulas
    from regard.positions import PositionModule

    sizes = Sizes(d_model=128, n_heads=4, n_kv_heads=2, head_dim=32, d_ff=512, context_length=128)
    pairs = []
    for pattern in (Full(), Window(size=16)):
        module, exact = _rounded(Dot().build(sizes), dtype)
        for length in (1, 65):
            for lengths in (None, torch.tensor([length, (length + 1) // 2])):
                x = torch.randn(2, length, 128).to(dtype)

                def look(
                    module: torch.nn.Module, x: Tensor, lengths: Tensor | None, pattern: Pattern = pattern
                ) -> Tensor:
                    slots = torch.arange(x.shape[1], device=x.device)[None]
                    mask = Causal() if lengths is None else Causal() & Padding(lengths.to(x.device))
                    view = View(mask, slots, slots, square=True).narrowed(pattern)
                    return module(x, None, view, PositionModule(), None)

                y = look(module.to(device), x.to(device), lengths)
                with formulas():
                    pairs.append((y, look(exact, x.double(), lengths)))
    return pairs


def _linear(device: str, dtype: torch.dtype) -> Pairs:
    import torch

    from regard.layers import Linear

    pairs = []
    for rows, d_in, d_out in ((1, 512, 1536), (7, 129, 65), (256, 256, 1024)):
        module, exact = _rounded(Linear(d_in, d_out), dtype)
        x = torch.randn(rows, d_in).to(dtype)
        pairs.append((module.to(device)(x.to(device)), exact(x.double())))
    return pairs


def _norm(device: str, dtype: torch.dtype) -> Pairs:
    import torch

    from regard.layers import LayerNorm, RMSNorm

    pairs = []
    for norm in (LayerNorm(), RMSNorm()):
        module, exact = _rounded(norm.build(384), dtype)
        x = (torch.randn(33, 384) * 3 + 10).to(dtype)
        pairs.append((module.to(device)(x.to(device)), exact(x.double())))
    return pairs


def _cross_entropy(device: str, dtype: torch.dtype) -> Pairs:
    """Losses, and the gradients that they send back."""
    import torch

    from regard.model import token_loss

    pairs = []
    for tokens, words in ((40, 301), (600, 8000)):  # the second is computed in chunks on a CPU
        table, x = (torch.randn(words, 64).to(dtype), torch.randn(2, tokens // 2, 64).to(dtype))
        targets = torch.randint(words, (2, tokens // 2))
        targets[0, :3] = -100
        found = []
        for kind, place in ((dtype, device), (torch.float64, "cpu")):
            at = x.detach().to(place, kind).requires_grad_()
            loss = token_loss(at, table.to(place, kind), targets.to(place), smoothing=0.1)
            loss.objective.backward()
            assert at.grad is not None
            found.append((loss.nll, at.grad))
        pairs += list(zip(*found, strict=True))
    return pairs


def _cache(device: str, dtype: torch.dtype) -> Pairs:
    """Word by word with a cache, against all words at once."""
    import torch

    from regard.layers import formulas

    module, exact = _rounded(_small_model(), dtype)
    ids = torch.randint(97, (2, 12))
    module.to(device)
    cache = module.cache(2, 12)  # type: ignore[operator]
    steps = [module(part.to(device), cache=cache) for part in (ids[:, :5], *ids[:, 5:].split(1, dim=1))]
    with formulas():
        return [(torch.cat(steps, dim=1), exact(ids))]


KERNELS: dict[str, Callable[[str, torch.dtype], Pairs]] = {
    "attention": _attention,
    "linear": _linear,
    "norm": _norm,
    "cross entropy": _cross_entropy,
    "cache": _cache,
}


def _kernel(what: str, check: Callable[[str, torch.dtype], Pairs], device: str, dtype: str) -> Finding:
    import torch

    name = f"{what}, {device} {dtype}"
    try:
        with torch.set_grad_enabled(check is _cross_entropy):
            pairs = check(device, getattr(torch, dtype))
        error = max(_error(y, exact) for y, exact in pairs)
    except (RuntimeError, NotImplementedError, TypeError) as problem:
        return Finding(
            name, f"fails: {_first_line(problem)}", "wrong", f"use another type or device than {dtype} on {device}."
        )
    return _judged(
        name, error, TOLERANCE[dtype], f"do not trust {dtype} on {device}; another version of torch may mend it."
    )


def _compiled(device: str) -> Finding:
    import torch

    name = f"compiled model, {device}"
    module, exact = _rounded(_small_model(), torch.float32)
    ids = torch.randint(97, (2, 12))
    try:
        with torch.inference_mode():
            found = torch.compile(module.to(device))(ids.to(device))
            error = _error(found, exact(ids))
    except Exception as problem:  # compilers fail in many ways
        return Finding(
            name, f"fails: {_first_line(problem)}", "note", "train with training.compile=off, or install g++."
        )
    return _judged(name, error, TOLERANCE["float32"], "train with training.compile=off.")


def _small_model() -> torch.nn.Module:
    from regard.layers import RMSNorm
    from regard.model import Gated, ModelConfig, PreNorm, StackConfig, Transformer
    from regard.positions import Rotary

    stack = StackConfig(n_layers=2, position=Rotary(), norm=RMSNorm(), residual=PreNorm(), feedforward=Gated())
    return Transformer(
        ModelConfig(vocab_size=97, d_model=64, n_heads=4, n_kv_heads=2, context_length=32, decoder=stack)
    )


def _judged(name: str, error: float, tolerance: float, mend: str) -> Finding:
    good = error <= tolerance  # not so for NaN
    return Finding(name, f"error {error:.1e}, allowed {tolerance:.0e}", "ok" if good else "wrong", "" if good else mend)


def _error(y: Tensor, exact: Tensor) -> float:
    return float((y.detach().cpu().double() - exact.detach()).abs().max() / exact.detach().abs().max())


def _first_line(problem: Exception) -> str:
    return (str(problem).strip() or type(problem).__name__).splitlines()[0][:120]
