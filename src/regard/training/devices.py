"""Where a run computes: device, number type, compilation and threads, resolved once and kept with the run.

Under `torchrun` a run is spread over processes: each takes its rows of every batch, and gradients are averaged
(DDP: each process holds the whole model; FSDP2: each holds a part of every matrix).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from regard.model.block import Block
from regard.settings import RegardError

Spread = Literal["none", "ddp", "fsdp"]


@dataclass(frozen=True)
class Place:
    """What a run computes on. The first five are stored with the run and stay the same when it is resumed."""

    device: str
    dtype: Literal["float32", "bfloat16"]
    threads: int
    spread: Spread = "none"
    world: int = 1
    rank: int = 0

    def resolved(self) -> dict[str, Any]:
        """What is stored: the same on every process."""
        return {key: value for key, value in asdict(self).items() if key != "rank"}

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """bfloat16 for matrix products, if asked; weights, sums and norms stay in float32."""
        if self.dtype == "float32":
            return contextlib.nullcontext()
        return torch.autocast(torch.device(self.device).type, torch.bfloat16)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The module to call in training; its parameters are those of `model`, which FSDP2 shards in place."""
        if self.spread == "ddp":
            ids = [torch.device(self.device)] if self.device.startswith("cuda") else None
            return DistributedDataParallel(model, device_ids=ids)
        if self.spread == "fsdp":
            from torch.distributed.device_mesh import init_device_mesh
            from torch.distributed.fsdp import fully_shard

            mesh = init_device_mesh(torch.device(self.device).type, (self.world,))
            for module in model.modules():
                if isinstance(module, Block):
                    fully_shard(module, mesh=mesh)
            fully_shard(model, mesh=mesh)
        return model

    @contextlib.contextmanager
    def exchanging(self, model: nn.Module, last: bool) -> Iterator[None]:
        """Gradients are exchanged only in the last backward pass of a step."""
        if isinstance(model, DistributedDataParallel) and not last:
            with model.no_sync():
                yield
            return
        if self.spread == "fsdp":
            model.set_requires_gradient_sync(last)  # type: ignore[operator]
        yield

    def sum(self, *values: float) -> tuple[float, ...]:
        """The sums of these numbers over all processes, in float64."""
        if self.world == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return tuple(total.tolist())

    def agree(self, value: Any) -> Any:
        """What the first process has, on all of them."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]


def whole(tensor: Tensor) -> Tensor:
    """A tensor with all its parts; every process must ask for the same ones in the same order."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def placed_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor on the device of another, and in parts as that one is, if it is of the same shape."""
    tensor = tensor.to(like.device)
    if isinstance(like, DTensor) and tensor.shape == like.shape:
        return distribute_tensor(tensor, like.device_mesh, like.placements)
    return tensor


def resolve(
    device: str, dtype: str, spread: str, kept: dict[str, Any] | None = None, tell: Callable[[str], object] = print
) -> Place:
    """The place from settings that may say "auto". `kept` is what the run resolved when it began.

    Joins the group of processes where `torchrun` started several. Raises `RegardError`.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    kept = kept or {}
    name = _device(kept.get("device", "auto") if device == "auto" else device, rank, world)
    if kept and torch.device(name).type != torch.device(kept["device"]).type:
        tell(f"This run began on {kept['device']} and goes on, on {name}: its numbers will differ in the last digits.")
    if kept and kept["world"] != world:
        tell(f"This run began on {kept['world']} processes and goes on, on {world}: sums are rounded differently.")
    threads = int(kept.get("threads", torch.get_num_threads()))
    torch.set_num_threads(threads)
    if name == "cpu":
        keep_memory()
    if dtype == "auto":
        dtype = kept.get("dtype") or ("bfloat16" if _takes_bfloat16(name) else "float32")
    if world == 1:
        return Place(name, dtype, threads)  # type: ignore[arg-type]
    join(name)
    return Place(name, dtype, threads, "ddp" if spread == "auto" else spread, world, rank)  # type: ignore[arg-type]


def join(device: str = "auto") -> tuple[int, int]:
    """Joins the group of processes that `torchrun` started, if it did; gives this one's number, and how many."""
    world, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    name = _device(device, rank, world)
    if world > 1 and not dist.is_initialized():
        if name.startswith("cuda"):
            torch.cuda.set_device(name)
        dist.init_process_group("nccl" if name.startswith("cuda") else "gloo", rank=rank, world_size=world)
    return rank, world


def keep_memory() -> None:
    """Lets this process keep the memory that it frees, instead of giving it back and asking for it anew each step.

    glibc maps large blocks one by one, and the system clears every page of them: 750 to 1,700 page faults in a small
    model's step, and a fifth of the time of a large one's in bfloat16. Elsewhere than under glibc, nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    allocator = ctypes.CDLL(None)
    if hasattr(allocator, "gnu_get_libc_version"):
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3
        allocator.mallopt(mmap_threshold, 1 << 30)
        allocator.mallopt(trim_threshold, 2**31 - 1)
        allocator.mallopt(top_pad, 64 << 20)


def wait() -> None:
    """Until all processes are here."""
    if dist.is_initialized():
        dist.barrier()


def leave() -> None:
    """Leaves the group of processes, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _device(name: str, rank: int, world: int) -> str:
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if cuda else "mps" if mps and world == 1 else "cpu"
    if name.startswith("cuda") and not cuda:
        raise RegardError("training.device is 'cuda', and torch finds no CUDA device here; use device=cpu.")
    if name == "mps" and not mps:
        raise RegardError("training.device is 'mps', and torch finds no Apple GPU here; use device=cpu.")
    if name == "cuda" and world > 1:
        return f"cuda:{int(os.environ.get('LOCAL_RANK', rank))}"
    return name


def _takes_bfloat16(name: str) -> bool:
    """On a CPU, float32 stays the default: it is the exact one, and small models gain little."""
    return name.startswith("cuda") and multiplies_bfloat16(torch.device(name))


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for products in bfloat16; without them they are a hundred times slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and known is not None and bool(known())


COMPILING = 60.0
"""Seconds that compiling a training step takes, with some to spare (29 s were measured on two cores)."""
GAIN = {"cpu": 0.08, "cuda": 0.3}
"""The part of a step's time that compiling saves (7 to 12 % of a small model's step on a CPU)."""


def worth_compiling(seconds_per_step: float, steps: int, device: str) -> bool:
    """Whether compiling repays itself within the steps that are left, on a machine that can compile."""
    kind = torch.device(device).type
    able = kind == "cuda" or any(shutil.which(name) for name in ("c++", "g++", "clang++", os.environ.get("CXX", "c++")))
    return able and sys.platform != "win32" and seconds_per_step * steps * GAIN.get(kind, 0.0) > COMPILING
