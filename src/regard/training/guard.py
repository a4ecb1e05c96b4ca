"""The guard against numbers that are none: it stops a run at the first, and says where it arose.

A step whose loss or gradient is not finite is computed again with every module and tap watched; the first output
that is not finite is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NoReturn

import torch
from torch import Tensor, nn

from regard.layers import taps
from regard.settings import RegardError
from regard.training.devices import whole


class NonFiniteError(RegardError):
    """A loss or a gradient that is not a finite number."""


def stop(model: nn.Module, step: int, rate: float, kept: str, again: Callable[[], object]) -> NoReturn:
    """Raises `NonFiniteError`, which names what is no number.

    again: computes the forward passes of the step once more. kept: what is left of the run.
    """
    raise NonFiniteError(
        f"step {step:,}: {first_bad(model, again)} is not finite, so training stopped before the weights took it in; "
        f"{kept}. Usual causes: a learning rate too high (here {rate:.2g}; try a tenth of it, or a longer warm-up), "
        "no gradient clipping (training.clip=1.0), or bfloat16 where float32 is needed."
    )


def first_bad(model: nn.Module, again: Callable[[], object]) -> str:
    """The name of the first parameter, else of the first output of a module, else of a gradient, that is not finite."""
    parameters = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    for name, parameter in parameters:
        if not _finite(parameter):
            return f"the parameter {name}"
    gradients = [
        f"the gradient of {name}" for name, p in reversed(parameters) if p.grad is not None and not _finite(p.grad)
    ]
    with _watching(model) as bad, torch.no_grad():
        again()
    # Backward runs from the last layer to the first, so the last parameter's gradient was the first to be bad.
    return next(iter([*bad, *gradients]), "the loss")


@contextmanager
def _watching(model: nn.Module) -> Iterator[list[str]]:
    """The names of outputs that are not finite, in the order in which they arise."""
    bad: list[str] = []

    def hook(name: str) -> Callable[[nn.Module, object, object], None]:
        def look(module: nn.Module, _: object, output: object) -> None:
            tensors = output if isinstance(output, tuple) else (output,)
            if any(isinstance(t, Tensor) and not _finite(t) for t in tensors):
                bad.append(f"the output of {name or type(module).__name__}")

        return look

    def hear(name: str, x: Tensor) -> None:
        # Scores are −∞ by design where a mask forbids to look.
        if not name.endswith(".scores") and not _finite(x):
            bad.append(name)

    with ExitStack() as stack:
        for name, module in model.named_modules():
            stack.callback(module.register_forward_hook(hook(name)).remove)
        stack.enter_context(taps(hear))
        yield bad


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(whole(tensor.detach())).all())
