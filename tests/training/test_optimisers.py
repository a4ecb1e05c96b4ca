"""Optimisers against the singular value decomposition, their formulas, and a quadratic they must solve."""

import math

import pytest
import torch
from torch import Tensor, nn

from regard.layers.linear import Embedding, Linear
from regard.settings import RegardError, SettingsError
from regard.training.muon import MuonOptimizer, orthogonal
from regard.training.optimisers import SGD, Adafactor, AdamW, Muon, Optimiser, group_parameters


class Tiny(nn.Module):
    """One of everything: a table, a matrix with bias, a norm, stacked experts, a tied and an untied head."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.table = Embedding(7, 4)
        self.layer = Linear(4, 6)
        self.norm = nn.LayerNorm(6)
        self.experts = nn.Parameter(torch.empty(3, 6, 4))
        self.head = nn.ModuleDict({"own": Linear(4, 7)})
        self.tied = self.table
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)

    def loss(self) -> Tensor:
        """A bowl around a target that is not the start."""
        return sum(((p - 0.5) ** 2).sum() for p in self.parameters())


def test_each_parameter_is_in_the_group_of_its_kind() -> None:
    names = {kind: set(group) for kind, group in group_parameters(Tiny()).items()}
    assert names == {
        "matrices": {"layer.weight", "experts"},
        "heads": {"head.own.weight"},
        "embeddings": {"table.weight"},
        "vectors": {"layer.bias", "norm.weight", "norm.bias", "head.own.bias"},
    }


def test_frozen_parameters_are_left_out() -> None:
    model = Tiny()
    model.layer.weight.requires_grad_(False)
    assert "layer.weight" not in group_parameters(model)["matrices"]


@pytest.mark.parametrize("shape", [(8, 8), (5, 12), (12, 5), (3, 6, 4)])
def test_orthogonal_equals_the_svd_but_for_the_size_of_singular_values(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for one, got in zip(x.reshape(-1, *shape[-2:]), orthogonal(x).reshape(-1, *shape[-2:]), strict=True):
        a, s, bt = torch.linalg.svd(one, full_matrices=False)
        inner = a.T @ got @ bt.T  # U and V are the same, so what is left is diagonal
        assert (inner - inner.diag().diag()).abs().max() < 1e-9
        large = s > 0.05 * s.norm()
        assert ((inner.diag()[large] > 0.65) & (inner.diag()[large] < 1.25)).all()
        assert (a @ inner @ bt - got).abs().max() < 1e-9


def test_orthogonal_of_nothing_is_nothing() -> None:
    assert orthogonal(torch.zeros(4, 3)).abs().max() == 0


def test_stacked_experts_are_orthogonalised_one_by_one() -> None:
    x = torch.randn(3, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    x[1] *= 1000  # a joint norm would flatten the others
    assert torch.allclose(orthogonal(x), torch.stack([orthogonal(one) for one in x]), atol=1e-12)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
@pytest.mark.parametrize(("scale", "theirs"), [("adamw", "match_rms_adamw"), ("spectral", "original")])
@pytest.mark.parametrize("nesterov", [True, False])
def test_muon_equals_torch(scale: str, theirs: str, nesterov: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the iteration, which theirs runs in bfloat16 and the test above holds against the SVD."""
    monkeypatch.setattr(torch.optim._muon, "_zeropower_via_newtonschulz", lambda x, *_: orthogonal(x))
    generator = torch.Generator().manual_seed(3)
    start = [torch.randn(shape, generator=generator) for shape in [(8, 8), (12, 6), (8, 8), (6, 12)]]
    ours = [nn.Parameter(w.clone()) for w in start]
    others = [nn.Parameter(w.clone()) for w in start]
    kwargs = {"lr": 0.02, "weight_decay": 0.1, "momentum": 0.9, "nesterov": nesterov}
    mine = MuonOptimizer(ours, scale=scale, **kwargs)
    torchs = torch.optim.Muon(others, adjust_lr_fn=theirs, **kwargs)
    for _ in range(4):
        for a, b in zip(ours, others, strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        mine.step()
        torchs.step()
    for a, b, w in zip(ours, others, start, strict=True):
        assert torch.allclose(a, b, atol=1e-6)
        assert (a - w).abs().max() > 0.01


def test_adafactor_equals_its_formula() -> None:
    """Algorithm 4 of the paper in float64, by hand: factored for the matrix, whole for the vector."""
    torch.manual_seed(0)
    model = nn.Sequential(Linear(3, 5)).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    kept: dict[str, Tensor | tuple[Tensor, Tensor]] = {}
    optimiser = Adafactor(decay=0.8).build(model)
    rate = 0.3
    for n in range(1, 6):
        for name, parameter in model.named_parameters():
            g = parameter.grad = torch.randn_like(parameter)
            mix = n**-0.8
            if g.ndim == 2:
                row, column = kept.get(name, (torch.zeros(5, 1).double(), torch.zeros(1, 3).double()))
                row = (1 - mix) * row + mix * (g * g).mean(1, keepdim=True)
                column = (1 - mix) * column + mix * (g * g).mean(0, keepdim=True)
                kept[name] = row, column
                second = row @ column / row.mean()
            else:
                second = (1 - mix) * kept.get(name, torch.zeros_like(g)) + mix * g * g
                kept[name] = second
            update = g / second.sqrt()
            update = update / max(1.0, update.square().mean().sqrt().item())
            size = max(1e-3, weights[name].square().mean().sqrt().item())
            weights[name] = weights[name] - min(rate, 1 / math.sqrt(n)) * size * update
        optimiser.step(rate)
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter, weights[name], atol=1e-9), name


def test_adamw_first_step_by_hand() -> None:
    """At step 1 the averages are g and g² once unbiased, so every coordinate moves by rate · sign(g)."""
    model = Tiny()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimiser = AdamW(weight_decay=0.5, rates={"embeddings": 3.0}).build(model)
    model.loss().backward()
    optimiser.step(0.01)
    for name, p in model.named_parameters():
        decayed = name in ("layer.weight", "experts")
        rate = 0.03 if name == "table.weight" else 0.01
        expected = before[name] * (1 - 0.01 * 0.5 * decayed) - rate * p.grad.sign()
        assert torch.allclose(p, expected, atol=1e-6), name


@pytest.mark.parametrize(
    "choice", [AdamW(), Muon(), Adafactor(), SGD(momentum=0.5, nesterov=True)], ids=lambda c: c.kind
)
def test_solves_a_quadratic(choice: Optimiser) -> None:
    model = Tiny()
    optimiser = choice.replace(weight_decay=0.0).build(model)
    first = model.loss().item()
    for n in range(300):
        optimiser.zero_grad()
        loss = model.loss()
        loss.backward()
        optimiser.step(0.1 * (1 - n / 300))
    assert loss.item() < 1e-3 * first


@pytest.mark.parametrize("kind", Optimiser.kinds())
def test_state_goes_out_and_comes_back(kind: str) -> None:
    """Three steps, state into another optimiser, three steps in both: equal to the bit."""
    choice = Optimiser.kinds()[kind](**({"momentum": 0.9} if kind == "sgd" else {}))
    model, other = Tiny(), Tiny()
    ours, theirs = choice.build(model), choice.build(other)

    def steps(model: Tiny, optimiser: object) -> None:
        for _ in range(3):
            optimiser.zero_grad()
            model.loss().backward()
            optimiser.step(0.01)

    steps(model, ours)
    state = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    assert all("/" in name for name in state)
    other.load_state_dict(model.state_dict())
    theirs.load_state_dict(state)
    steps(model, ours)
    steps(other, theirs)
    for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_state_of_another_model_is_refused() -> None:
    with pytest.raises(RegardError, match=r"'elsewhere\.weight'"):
        AdamW().build(Tiny()).load_state_dict({"elsewhere.weight/exp_avg": torch.zeros(1)})


def test_settings_are_checked() -> None:
    with pytest.raises(SettingsError, match="did you mean 'embeddings'"):
        AdamW(rates={"embedings": 2.0})
    with pytest.raises(SettingsError, match="momentum"):
        SGD(nesterov=True).build(Tiny())
