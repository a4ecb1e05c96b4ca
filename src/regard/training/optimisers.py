"""Optimisers: how a gradient becomes a step, and which parameters are treated in which way.

One function, `group_parameters`, sorts the parameters of a model by what they are. A choice of optimiser
builds an `Optimisers`, which steps all of them at one learning rate, and whose state is tensors by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from regard.layers.linear import Embedding, Linear
from regard.settings import Part, RegardError, SettingsError, nearest
from regard.training.devices import multiplies_bfloat16, placed_like, whole
from regard.training.muon import MuonOptimizer

Kind = Literal["matrices", "heads", "embeddings", "vectors"]
GROUPS: tuple[Kind, ...] = ("matrices", "heads", "embeddings", "vectors")


def group_parameters(model: nn.Module) -> dict[Kind, dict[str, nn.Parameter]]:
    """The parameters of a model by what they are; each stands in one group, a shared one by its first name.

    matrices     weights of `Linear`, and any parameter of three axes or more (stacked experts)
    heads        matrices under a module called `head`: their rows are words rather than directions
    embeddings   tables of `Embedding`, a tied head with them
    vectors      biases, norms, and whatever else there is
    """
    groups: dict[Kind, dict[str, nn.Parameter]] = {kind: {} for kind in GROUPS}
    seen: set[int] = set()
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen or not parameter.requires_grad:
                continue
            seen.add(id(parameter))
            matrix = parameter.ndim >= 3 or (isinstance(module, Linear) and parameter.ndim == 2)
            if isinstance(module, Embedding):
                kind: Kind = "embeddings"
            elif matrix:
                kind = "heads" if "head" in path.split(".") else "matrices"
            else:
                kind = "vectors"
            groups[kind][f"{path}.{name}".lstrip(".")] = parameter
    return groups


def below_head(model: nn.Module, name: str) -> int:
    """How many layers a parameter lies below the head: 0 in the head, 1 in the last layer, most in the input.

    Source   layer-wise rates: Howard & Ruder 2018, arXiv:1801.06146, §3.2; for encoders Clark et al. 2020,
             arXiv:2003.10555, appendix B.
    """
    stack, _, rest = name.partition(".")
    layers = getattr(getattr(model, stack, None), "layers", None)
    if layers is None:
        return 0
    what, _, rest = rest.partition(".")
    if what == "end":
        return 0
    return len(layers) - int(rest.partition(".")[0]) if what == "layers" else len(layers) + 1


class Optimiser(Part, family="regard.training.optimisers"):
    """Which optimiser, and its constants. The learning rate comes from the schedule."""

    weight_decay: float = Field(0.0, ge=0)
    """Decoupled from the gradient, multiplied by the learning rate, and for matrices only."""
    rates: dict[str, float] = {}
    """The learning rate of a group of parameters relative to the schedule's, such as {"embeddings": 3.0}."""

    layer_decay: float = Field(1.0, gt=0, le=1)
    """How much slower each layer learns than the one above it; the head learns at the full rate, the input slowest."""

    @field_validator("rates")
    @classmethod
    def _known_groups(cls, rates: dict[str, float]) -> dict[str, float]:
        for name in rates:
            if name not in GROUPS:
                raise ValueError(f"no group of parameters is called {name!r}{nearest(name, GROUPS)}")
        return rates

    def build(self, model: nn.Module) -> Optimisers:
        raise NotImplementedError

    def _groups(self, model: nn.Module, kinds: Iterable[Kind] = GROUPS) -> list[dict[str, Any]]:
        """The groups as torch takes them."""
        groups = group_parameters(model)
        found = []
        for kind in kinds:
            by_scale: dict[float, list[nn.Parameter]] = {}
            for name, parameter in groups[kind].items():
                scale = self.rates.get(kind, 1.0) * self.layer_decay ** below_head(model, name)
                by_scale.setdefault(scale, []).append(parameter)
            decay = self.weight_decay if kind == "matrices" else 0.0
            found += [{"params": own, "weight_decay": decay, "scale": scale} for scale, own in by_scale.items()]
        return found


class AdamW(Optimiser, kind="adamw"):
    """Steps of about the learning rate in each coordinate, with weight decay outside the average.

    Source   Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2; torch's fused kernel.
    """

    weight_decay: float = Field(0.1, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = Field(1e-8, gt=0)

    def build(self, model: nn.Module) -> Optimisers:
        return Optimisers(model, [self._torch(self._groups(model))])

    def _torch(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(groups, betas=self.betas, eps=self.eps, fused=True)


class Muon(Optimiser, kind="muon"):
    """Matrices by Muon, everything else by AdamW: see `regard.training.muon`.

    With scale = "adamw" both take steps of a like size, so that one learning rate serves them.
    """

    weight_decay: float = Field(0.1, ge=0)
    momentum: float = Field(0.95, ge=0, lt=1)
    nesterov: bool = True
    iterations: int = Field(5, ge=1)
    scale: Literal["adamw", "spectral"] = "adamw"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the iteration. bfloat16 is good enough, and two to three times as fast where the machine multiplies in
    it; auto takes it there."""
    others: AdamW = AdamW()

    def build(self, model: nn.Module) -> Optimisers:
        fast = self.dtype == "auto" and multiplies_bfloat16(next(model.parameters()).device)
        dtype = torch.bfloat16 if fast or self.dtype == "bfloat16" else None  # None: the parameter's own
        matrices = self._groups(model, ("matrices",))
        others = self.replace(weight_decay=0.0)._groups(model, ("heads", "embeddings", "vectors"))
        muon = [
            MuonOptimizer(
                matrices,
                momentum=self.momentum,
                nesterov=self.nesterov,
                iterations=self.iterations,
                scale=self.scale,
                dtype=dtype,
            )
        ]
        return Optimisers(model, [*(muon if matrices else []), *([self.others._torch(others)] if others else [])])


class Adafactor(Optimiser, kind="adafactor"):
    """Adam with the second moment kept as row and column means, and steps relative to the weights' size.

    Source   Shazeer & Stern 2018, arXiv:1804.04235, algorithms 4 and 5; torch.optim.Adafactor.
    Differs  the schedule's rate caps the relative step of the paper, min(rate, 1/√n).
    """

    decay: float = Field(0.8, gt=0)
    """The second moment's decay at step n is 1 − n^(−decay)."""
    eps: float = Field(1e-3, gt=0)
    """The least size that weights are taken to have."""
    clip: float = Field(1.0, gt=0)
    """The largest root mean square of an update."""

    def build(self, model: nn.Module) -> Optimisers:
        if any(isinstance(parameter, DTensor) for parameter in model.parameters()):
            raise SettingsError("Adafactor keeps means over whole matrices; with sharded weights use adamw or muon.")
        groups = self._groups(model)
        return Optimisers(
            model, [torch.optim.Adafactor(groups, beta2_decay=-self.decay, eps=(None, self.eps), d=self.clip)]
        )


class SGD(Optimiser, kind="sgd"):
    """Plain gradient steps, with momentum if asked.

    Source   Sutskever et al. 2013, proceedings.mlr.press/v28/sutskever13.html, §2.
    """

    momentum: float = Field(0.0, ge=0, lt=1)
    nesterov: bool = False

    def build(self, model: nn.Module) -> Optimisers:
        if self.nesterov and not self.momentum:
            raise SettingsError("SGD.nesterov: Nesterov's step needs a momentum; set momentum=0.9 or so.")
        return Optimisers(
            model,
            [torch.optim.SGD(self._groups(model), lr=0.0, momentum=self.momentum, nesterov=self.nesterov, fused=True)],
        )


class Optimisers:
    """The torch optimisers of a model, stepped as one, with their state as tensors by name."""

    def __init__(self, model: nn.Module, parts: list[torch.optim.Optimizer]) -> None:
        self.parts = parts
        self.names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}

    def step(self, rate: float) -> None:
        """One update at this learning rate, times the scale of each group."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate * group["scale"]
            part.step()

    def zero_grad(self) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Tensor]:
        """The state as whole tensors, named by the parameter and what is kept of it: "….weight/exp_avg"."""
        return {
            f"{self.names[parameter]}/{key}": whole(value)
            for part in self.parts
            for parameter, state in part.state.items()
            for key, value in state.items()
            if isinstance(value, Tensor)
        }

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Takes back what `state_dict` gave. Raises `RegardError` if it belongs to other parameters."""
        mine = {name: parameter for parameter, name in self.names.items()}
        owner = {p: part for part in self.parts for group in part.param_groups for p in group["params"]}
        for full_name, tensor in tensors.items():
            name, _, key = full_name.rpartition("/")
            parameter = mine.get(name)
            if parameter is None or parameter not in owner:
                raise RegardError(f"the saved optimiser has state for {name!r}, which this model does not train.")
            owner[parameter].state[parameter][key] = placed_like(tensor, parameter)
