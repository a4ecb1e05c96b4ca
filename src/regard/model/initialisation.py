"""The first values of all weights, from one function, each tensor drawn from a seed of its own.

    Normal    N(0, std²), matrices that write into the residual stream divided by √(number of such matrices)
    Xavier    U(−a, a), a = √(6 / (d_in + d_out)); embeddings N(0, 1/d)

Source   Radford et al. 2019 (GPT-2), §2.3 (Normal, with std 0.02); Glorot & Bengio 2010, eq. 16, as the 2017 paper's
         own code had it (Xavier).
Cost     one draw for each weight, once.
Differs  Biases start at 0 and norms at the identity, other vectors where their file says. A tensor's draw depends on
         the seed and its name alone: not on the order of construction, nor on the device. `residual="zero"` starts
         those matrices at 0, so that each layer is the identity (Zhang et al. 2019, arXiv:1901.09321).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from regard.layers import Embedding, Linear, Linears
from regard.seeds import derive_seed
from regard.settings import Part


class Initialisation(Part, family="regard.model.initialisation"):
    """How weights start."""

    def matrix(self, weight: Tensor, residual: bool, writers: int, random: torch.Generator) -> None:
        """Fill a weight [out in] or [m out in]; `writers` matrices of the stack write into its residual stream."""
        raise NotImplementedError

    def table(self, weight: Tensor, random: torch.Generator) -> None:
        """Fill an Embedding's weight [v d]."""
        raise NotImplementedError


class Normal(Initialisation, kind="normal"):
    std: float = Field(0.02, ge=0)
    residual: Literal["scaled", "zero", "plain"] = "scaled"

    def matrix(self, weight: Tensor, residual: bool, writers: int, random: torch.Generator) -> None:
        if residual and self.residual == "zero":
            weight.zero_()
            return
        scaled = residual and self.residual == "scaled"
        weight.normal_(0.0, self.std / math.sqrt(writers) if scaled else self.std, generator=random)

    def table(self, weight: Tensor, random: torch.Generator) -> None:
        weight.normal_(0.0, self.std, generator=random)


class Xavier(Initialisation, kind="xavier"):
    def matrix(self, weight: Tensor, residual: bool, writers: int, random: torch.Generator) -> None:
        bound = math.sqrt(6 / sum(weight.shape[-2:]))
        weight.uniform_(-bound, bound, generator=random)

    def table(self, weight: Tensor, random: torch.Generator) -> None:
        weight.normal_(0.0, weight.shape[1] ** -0.5, generator=random)


def initialise(model: nn.Module, settings: Initialisation, seed: int) -> None:
    """Give every weight of the model its first value. On the meta device: nothing to do."""
    stacks = dict(model.named_children())
    writers = {
        name: sum(isinstance(module, (Linear, Linears)) and module.residual for module in stack.modules())
        for name, stack in stacks.items()
    }
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, (Linear, Linears, Embedding)):
                if module.weight.is_meta:
                    continue
                random = torch.Generator().manual_seed(derive_seed(seed, name))
                fresh = torch.empty_like(module.weight, device="cpu", dtype=torch.float32)
                if isinstance(module, Embedding):
                    settings.table(fresh, random)
                elif isinstance(module, Linear) and module.orthogonal:
                    for square in fresh.split(fresh.shape[1]):
                        nn.init.orthogonal_(square, generator=random)
                else:
                    settings.matrix(fresh, module.residual, max(writers[name.split(".")[0]], 1), random)
                    fresh *= module.gain
                module.weight.copy_(fresh)
                if isinstance(module, Linear) and module.bias is not None:
                    module.bias.zero_()
            elif callable(reset := getattr(module, "reset_parameters", None)):
                reset()
                if callable(draw := getattr(module, "draw_parameters", None)):
                    draw(torch.Generator().manual_seed(derive_seed(seed, name)))
