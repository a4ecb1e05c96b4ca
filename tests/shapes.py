"""Tests run with the shapes checked: each method that names a tensor's shape gets jaxtyping's check around it.

jaxtyping's own import hook wraps every function, and torch.compile cannot trace the wrappers of operators. Here only
methods whose annotations name a shape are wrapped, and a compiled graph takes the plain method.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import torch
from beartype import beartype
from jaxtyping import jaxtyped

PACKAGES = tuple(
    f"regard.{name}"
    for name in ("layers", "positions", "inputs", "attention", "residual", "feedforward", "model", "generation")
)


def check_shapes() -> int:
    """Wrap the methods of all classes in `PACKAGES`; gives their number."""
    return sum(_check_module(module) for package in PACKAGES for module in _modules(package))


def _modules(package: str) -> list[ModuleType]:
    root = importlib.import_module(package)
    names = [found.name for found in pkgutil.walk_packages(getattr(root, "__path__", []), f"{package}.")]
    return [root, *(importlib.import_module(name) for name in names)]


def _check_module(module: ModuleType) -> int:
    count = 0
    for owner in vars(module).values():
        if isinstance(owner, type) and owner.__module__ == module.__name__:
            for name, method in list(vars(owner).items()):
                if isinstance(method, FunctionType) and "[Tensor" in str(method.__annotations__):
                    setattr(owner, name, _checked(method))
                    count += 1
    return count


def _checked(method: Callable[..., Any]) -> Callable[..., Any]:
    strict = jaxtyped(method, typechecker=beartype)

    @functools.wraps(method)
    def either(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs) if torch.compiler.is_compiling() else strict(*args, **kwargs)

    return either
