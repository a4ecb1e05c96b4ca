"""One model in several forms: kernel and formula, recorded and not, compiled and eager, saved and loaded."""

import pytest
import torch

from regard.attention import Documents, Padding, scored
from regard.layers import formulas, taps
from regard.model import Transformer
from regard.settings import SettingsError
from regard.store import load_model, save_model
from tests.laws.members import ENCODERS, FAMILIES, MEMBERS, attentions, close, parts, rich, source, targets, words


def inputs(model, rows=4, length=10):
    more = {"source": source(model, rows, 7)} if model.config.family == "encoder-decoder" else {}
    return words(rows, length), more


@pytest.mark.parametrize("name", MEMBERS)
def test_kernel_equals_formula_in_value_and_gradient(name):
    model = rich(MEMBERS[name])
    ids, more = inputs(model)
    more["mask"] = Padding(torch.tensor([10, 6, 3, 8]))
    gradients = []
    for formula in (False, True):
        model.zero_grad()
        if formula:
            with formulas():
                logits = model(ids, **more)
        else:
            logits = model(ids, **more)
        logits.tanh().sum().backward()
        gradients.append([logits.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    for one, other in zip(*gradients, strict=True):
        close(one, other)


@pytest.mark.parametrize("name", MEMBERS)
def test_listening_changes_nothing_and_replacing_does(name):
    model = rich(MEMBERS[name])
    ids, more = inputs(model)
    plain = model(ids, **more)
    heard = {}
    with taps(heard.__setitem__):
        close(model(ids, **more), plain)
    assert len(heard) >= (3 if " recurrent" in name else 8)  # a cell's tap is its state
    assert list(heard)[-1] == ("head.vectors" if model.config.head.kind == "embed" else "head.logits")
    weights = [place for place in heard if place.endswith("attention.weights")]
    for place in weights:
        sums = heard[place].sum(-1) + heard.get(place.replace("weights", "nowhere"), 0)
        close(sums, torch.ones_like(sums))
    spot = next(place for place in heard if place.endswith(".hidden"))
    with taps(lambda place, x: torch.zeros_like(x) if place == spot else None):
        assert (model(ids, **more) - plain).abs().max() > 1e-6
    with taps(lambda place, x: x):
        first = model(ids, **more)
    with taps(lambda place, x: None):
        assert torch.equal(first, model(ids, **more))


COMPILED = [
    name
    for name, config in MEMBERS.items()
    # Tracing takes a second each: every part once, in a decoder where it can stand in one, and the plain model of all.
    if config.family == "decoder"
    or name.endswith(" dot sinusoidal")
    or " recurrent" in name
    or config.head.whole
    or (config.family == "encoder" and "causal" not in attentions(config)[0].offers)
]


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_equals_eager_without_a_graph_break(name, monkeypatch):
    """With the kernel, which compiled code leaves for the formula on short rows; `generated code` below takes that."""
    monkeypatch.setattr(scored, "SHORT", 0)
    torch.compiler.reset()
    config = MEMBERS[name]
    one = {where: stack.replace(n_layers=1) for where, stack in config.stacks.items()}
    model = rich(config.replace(**one) if "layers differ" not in name else config)
    ids, more = inputs(model)
    if not more:
        documents = Documents(torch.tensor([[0] * 4 + [1] * 6, [0] * 7 + [1] * 3] * 2))
        more["mask"] = Padding(torch.tensor([10, 6, 10, 8])) if config.head.whole else documents
    wanted = targets(model, 4, 10)
    compiled = torch.compile(model, backend="eager", fullgraph=True, dynamic=False)
    close(compiled(ids, wanted, **more).objective, model(ids, wanted, **more).objective)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["decoder dot rotary", "encoder dot sinusoidal", "decoder feedforward gated"])
def test_generated_code_equals_eager(name):
    torch.compiler.reset()
    model = rich(MEMBERS[name], dtype=torch.float32)
    ids, more = inputs(model)
    compiled = torch.compile(model, fullgraph=True, dynamic=False)
    one, other = compiled(ids, ids, **more).objective, model(ids, ids, **more).objective
    close(one, other, 1e-5)
    names = [n for n, _ in model.named_parameters()]
    for n, a, b in zip(
        names,
        torch.autograd.grad(one, list(model.parameters()), allow_unused=True),
        torch.autograd.grad(other, list(model.parameters()), allow_unused=True),
        strict=True,
    ):
        if a is not None and b is not None and not n.endswith("k.bias"):
            close(a, b, 1e-4)


@pytest.mark.parametrize("name", MEMBERS)
def test_bfloat16_stays_near(name):
    """Under autocast the loss is that of float32 but for rounding, with finite gradients; a whole model in it works."""
    model = rich(MEMBERS[name], dtype=torch.float32)
    ids, more = inputs(model)
    wanted = targets(model, 4, 10)
    exact = model(ids, wanted, **more).objective
    with torch.autocast("cpu", torch.bfloat16):
        near = model(ids, wanted, **more).objective
    near.backward()
    assert abs(near - exact) < 0.06 * abs(exact)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    logits = rich(MEMBERS[name], dtype=torch.bfloat16)(ids, **more)
    assert logits.dtype == torch.bfloat16
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", MEMBERS)
def test_save_and_load_are_the_identity(name, tmp_path):
    model = rich(MEMBERS[name], dtype=torch.float32)
    ids, more = inputs(model)
    again = load_model(save_model(tmp_path / "m", model))
    assert again.config == model.config
    assert torch.equal(again(ids, **more), model(ids, **more))
    assert sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("family", "part"), [(family, part) for family in FAMILIES for part in parts(family)], ids=str)
def test_settings_round_trip(family, part):
    base = FAMILIES[family]
    made = base.resolve(part)
    assert base.resolve(made.to_dict()) == made
    assert made.to_dict()["kind"] == part["kind"] == made.kind
    with pytest.raises((SettingsError, ValueError), match="no setting 'nonsense'"):
        base.resolve({**part, "nonsense": 1})


@pytest.mark.parametrize("name", MEMBERS)
def test_a_models_settings_round_trip(name):
    config = MEMBERS[name]
    assert type(config).from_dict(config.to_dict()) == config
    assert type(config).from_toml(config.to_toml()) == config


@pytest.mark.parametrize("name", MEMBERS)
def test_every_parameter_moves(name):
    """Within two steps of plain gradient descent, but for frozen ones and those that a file declares, and why."""
    model = rich(MEMBERS[name]).train()
    config = model.config
    ids, more = words(6, 12), {}
    if config.family == "encoder-decoder":
        more["source"] = source(model, 6, 12)
    if config.input.segments:
        more["segments"] = (torch.arange(12) % 2).expand(6, 12)
    if config.order is not None:
        more["order"] = torch.arange(6) % 2
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        loss = model(ids, targets(model, 6, 12), **more)
        (loss.objective / loss.target_count).backward()
        optimiser.step()
    still = {n for n, p in model.named_parameters() if p.requires_grad and (p - start[n]).abs().max() < 1e-12}
    tails = [tail for part in (config.head, *attentions(config)) for tail in part.unmoved]
    excused = {n for n in start for tail in tails if n.endswith(tail)}
    assert still <= excused, f"these never move: {sorted(still - excused)}"


@pytest.mark.parametrize("name", MEMBERS)
def test_first_values_depend_on_the_seed_and_the_name_alone(name):
    one, same, other = (Transformer(MEMBERS[name], seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", [n for n in ENCODERS if "attention" not in n])
def test_without_positions_an_encoder_cannot_see_order(name):
    model, ids = rich(ENCODERS[name]), words(1, 8)
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    whole = model(ids)
    same = (model(ids[:, order]) - (whole[:, order] if whole.dim() == 3 else whole)).abs().max() < 1e-10
    stack = model.config.encoder
    assert same == (stack.kind == "transformer" and stack.position.kind == "none")
