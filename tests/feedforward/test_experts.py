"""Experts against a loop over tokens, hand-worked balances, and the mixtures of Mixtral and DeepSeek-V3."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from transformers import DeepseekV3Config, MixtralConfig
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

from regard.feedforward import Experts
from regard.feedforward.experts import overflow
from regard.layers import Sizes, formulas, taps
from regard.layers.grouped import grouped
from regard.model import ModelConfig, StackConfig, Transformer
from regard.settings import SettingsError
from regard.training.optimisers import group_parameters

SIZES = Sizes(d_model=12, n_heads=2, n_kv_heads=2, head_dim=6, d_ff=10, context_length=16)


def build(dtype=torch.float64, **settings):
    module = Experts(**settings).build(SIZES).to(dtype)
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random, dtype=torch.float64) * 0.5)
    return module


def tokens(*shape, dtype=torch.float64):
    return torch.randn(*shape, SIZES.d_model, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(dtype)


def test_a_loop_over_tokens_says_the_same():
    module, x = build(n_experts=5, top_k=2, score="sigmoid", scale=1.7, balance_rate=0.1), tokens(2, 7)
    module.bias.copy_(torch.tensor([0.0, 2.0, -2.0, 0.3, 0.0]))
    expected = torch.zeros_like(x)
    for b in range(2):
        for t in range(7):
            scores = (module.router.matrix() @ x[b, t]).sigmoid()
            best = sorted(range(5), key=lambda e: -(scores + module.bias)[e])[:2]
            for e in best:
                up, gate, down = (maps.matrix()[e] for maps in (module.up, module.gate, module.down))
                answer = down @ (F.silu(gate @ x[b, t]) * (up @ x[b, t]))
                expected[b, t] += 1.7 * scores[e] / scores[best].sum() * answer
    assert torch.allclose(module(x), expected, atol=1e-12)
    with formulas():
        assert torch.allclose(module(x), expected, atol=1e-12)


def test_one_expert_of_many_weighs_by_its_score():
    """Switch: y = p_i(x) E_i(x), eq. 2."""
    module, x = build(top_k=1, renormalise=False, gated=False, activation="relu"), tokens(1, 6)
    p, best = (x @ module.router.matrix().T).softmax(-1).max(-1)
    up, down = module.up.matrix()[best], module.down.matrix()[best]
    answer = torch.einsum("btdf,btf->btd", down, torch.einsum("btfd,btd->btf", up, x).relu())
    assert torch.allclose(module(x), p[..., None] * answer, atol=1e-12)


def test_with_equal_experts_the_choice_is_no_matter():
    module, x = build(), tokens(2, 5)
    with torch.no_grad():
        for maps in (module.gate, module.up, module.down):
            maps.weight.copy_(maps.weight[:1].expand_as(maps.weight))
    first = module(x)
    with torch.no_grad():
        module.router.weight.copy_(-module.router.weight)
    assert torch.allclose(module(x), first, atol=1e-12)


def test_an_expert_that_nobody_chooses_stays_as_it_is():
    module, x = build(n_experts=3, top_k=2, balance_loss=0.0, balance_rate=0.1), tokens(2, 5)
    module.bias.copy_(torch.tensor([0.0, 0.0, -9.0]))
    module(x).square().sum().backward()
    for maps in (module.gate, module.up, module.down):
        assert maps.weight.grad[2].abs().max() == 0
        assert (maps.weight.grad[:2].abs().amax((1, 2)) > 0).all()


@pytest.mark.parametrize("ends", [[3, 3, 8, 40], [0, 0, 0, 40], [40, 40, 40, 40], [10, 20, 30, 40]])
def test_the_grouped_product_and_its_gradient(ends):
    random = torch.Generator().manual_seed(0)
    x, weight, g = (
        torch.randn(*shape, generator=random, dtype=torch.float64, requires_grad=True)
        for shape in ((40, 6), (4, 5, 6), (40, 5))
    )
    y = grouped(x, weight, torch.tensor(ends))
    parts = x.split([b - a for a, b in zip([0, *ends], ends, strict=False)])
    expected = torch.cat([part @ matrix.T for part, matrix in zip(parts, weight, strict=True)])
    assert torch.allclose(y, expected, atol=1e-12)
    for one, other in zip(
        torch.autograd.grad(y, (x, weight), g), torch.autograd.grad(expected, (x, weight), g), strict=True
    ):
        assert torch.allclose(one, other, atol=1e-12)
    assert torch.autograd.grad(grouped(x, weight, torch.tensor(ends)).sum(), x)[0].isfinite().all()  # a broadcast one


def test_the_grouped_product_in_bfloat16_and_under_autocast():
    x, weight, ends = torch.randn(40, 6), torch.randn(3, 5, 6), torch.tensor([20, 20, 40])
    exact = grouped(x, weight, ends)
    low = grouped(x.bfloat16(), weight.bfloat16(), ends)
    with torch.autocast("cpu", torch.bfloat16):
        cast = grouped(x, weight, ends)
    assert torch.equal(low, cast)
    assert (low - exact).abs().max() < 0.05 * exact.abs().max()


def test_the_router_is_exact_under_autocast():
    module, x = build(torch.float32, n_experts=8), tokens(4, 64, dtype=torch.float32)
    heard = {}
    with torch.autocast("cpu", torch.bfloat16), taps(heard.__setitem__):
        module(x)
    with taps(lambda name, value: heard.__setitem__(f"plain {name}", value)):
        module(x)
    assert torch.equal(heard["load"], heard["plain load"])
    assert torch.allclose(heard["gates"].float(), heard["plain gates"], atol=1e-2)


def biased(choices):
    """Tokens that choose these experts, one each: the router reads the first entries, all equally sure."""
    module = build(n_experts=4, top_k=1, renormalise=False, balance_loss=0.5, balance_rate=0.25)
    with torch.no_grad():
        module.router.weight.zero_()
        module.router.weight[:, :4] = 10 * torch.eye(4)
    x = torch.zeros(1, len(choices), SIZES.d_model, dtype=torch.float64)
    x[0, torch.arange(len(choices)), torch.tensor(choices)] = 1.0
    return module.train(), x


def test_the_balance_loss_by_hand():
    """Σ f P n: 1 where all are used alike, n where one has all, whatever the number of tokens."""
    p = float(torch.tensor([10.0, 0, 0, 0]).softmax(0)[0])
    q = (1 - p) / 3
    module, x = biased([0, 1, 2, 3])
    module(x)
    assert module.balance.item() == pytest.approx(0.5)
    module, x = biased([2, 2])
    module(x)
    assert module.balance.item() == pytest.approx(0.5 * 4 * p)
    module, x = biased([0, 0, 0, 1])
    module(x)
    mean = [(3 * p + q) / 4, (3 * q + p) / 4]
    assert module.balance.item() == pytest.approx(0.5 * 4 * (0.75 * mean[0] + 0.25 * mean[1]))


def test_padding_counts_in_neither_balance_nor_load():
    module, x = biased([0, 1, 2, 3, 3, 3])
    real = torch.tensor([[True] * 4 + [False] * 2])
    heard = {}
    with taps(heard.__setitem__):
        module(x, real)
    assert heard["load"].tolist() == [0.25] * 4
    assert module.balance.item() == pytest.approx(0.5)
    assert module.counts.tolist() == [1, 1, 1, 1]
    module(x, torch.zeros(1, 6, dtype=torch.bool))
    assert module.balance.item() == 0


def test_the_balancing_bias_moves_by_what_a_step_has_chosen():
    module, x = biased([0, 0, 0, 1])  # mean 1: 0 has more, 1 as many, 2 and 3 fewer
    module(x)
    module.rebalance(lambda *counts: counts)
    assert module.bias.tolist() == [-0.25, 0.0, 0.25, 0.25]
    assert module.counts is None
    # Two micro-batches are one step: 4, 4, 0, 0.
    module(x[:, :3])
    module(x[:, [0, 3, 3, 3, 3]])
    module.rebalance(lambda *counts: counts)
    assert module.bias.tolist() == [-0.5, -0.25, 0.5, 0.5]
    module.eval()(x)
    assert module.counts is None


def test_the_bias_chooses_and_does_not_weigh():
    module, x = build(n_experts=4, top_k=2, balance_rate=0.1), tokens(1, 5)
    before = module(x)
    module.bias.fill_(3.0)
    assert torch.equal(module(x), before)
    module.bias[0] = 9.0
    heard = {}
    with taps(heard.__setitem__):
        module(x)
    assert (heard["gates"][..., 0] > 0).all()
    assert torch.allclose(heard["gates"].sum(-1), torch.ones(1, 5, dtype=torch.float64))


def test_balancing_evens_out_a_lopsided_router():
    """400 tokens of a router that prefers one expert: by steps of the bias alone the load becomes even."""
    module, x = build(n_experts=4, top_k=1, renormalise=False, balance_loss=0.0, balance_rate=0.02), tokens(1, 400)
    with torch.no_grad():
        x[..., 0], module.router.weight[:, 0] = 1.0, torch.tensor([2.0, 0.0, 0.0, -1.0])
    loads = []
    with taps(lambda name, load: loads.append(load) if name == "load" else None), torch.no_grad():
        for _ in range(60):
            module.train()(x)
            module.rebalance(lambda *counts: counts)
    assert loads[0].max() > 0.45
    assert loads[-1].max() < 0.32
    assert overflow(loads[-1]) < 0.05 < overflow(loads[0])


def test_overflow_by_hand():
    load = torch.tensor([0.5, 0.25, 0.25, 0.0])
    assert float(overflow(load, 1.0)) == pytest.approx(0.25)
    assert float(overflow(load, 1.25)) == pytest.approx(0.5 - 1.25 / 4)
    assert float(overflow(load, 2.0)) == 0


def small(**settings):
    return ModelConfig(
        vocab_size=31,
        d_model=12,
        n_heads=2,
        context_length=16,
        decoder=StackConfig(n_layers=2, feedforward=Experts(n_experts=4, **settings)),
    )


def test_the_model_adds_the_balance_of_its_layers_in_training():
    ids = torch.arange(20).view(2, 10)
    targets = ids.clone()
    targets[0, :3] = -100
    with_, without = (Transformer(small(balance_loss=a)) for a in (0.3, 0.0))
    extra = []
    for layer in with_.decoder.layers:
        layer.feedforward.register_forward_hook(lambda module, *_: extra.append(module.balance))
    one, other = with_.train()(ids, targets), without.train()(ids, targets)
    assert torch.equal(one.nll, other.nll)
    assert len(extra) == 2
    assert torch.allclose(one.objective, other.objective + 17 * sum(extra))
    assert all(layer.feedforward.balance is None for layer in with_.decoder.layers)
    assert torch.equal(with_.eval()(ids, targets).objective, without.eval()(ids, targets).objective)


def test_stacked_matrices_go_to_muon_and_get_first_values():
    model = Transformer(small(n_shared=1))
    groups = group_parameters(model)
    experts = model.decoder.layers[0].feedforward
    for name in ("router", "gate", "up", "down"):
        assert f"decoder.layers.0.feedforward.{name}.weight" in groups["matrices"]
    assert experts.up.weight.std().item() == pytest.approx(0.02, rel=0.1)
    # Three matrices a layer write into the stream: of attention, of the experts, and of those that are shared.
    assert experts.down.weight.std().item() == pytest.approx(0.02 / 6**0.5, rel=0.1)


def test_operations_are_those_of_the_chosen_experts():
    module, x = build(torch.float32, n_experts=6, top_k=2), tokens(3, 8, dtype=torch.float32)

    def product(x_shape, weight_shape, *_, **more):
        return 2 * x_shape[0] * weight_shape[1] * weight_shape[2]

    counted = FlopCounterMode(display=False, custom_mapping={torch.ops.regard.grouped: product})
    with counted, torch.no_grad():
        module(x)
    d, f = SIZES.d_model, SIZES.d_ff
    assert counted.get_total_flops() == 24 * (2 * d * 6 + 2 * (2 * 3 * d * f))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"top_k": 9}, "a token cannot choose 9 of 8 experts"),
        ({"top_k": 1}, "its router would not learn"),
    ],
)
def test_what_cannot_be_is_refused(settings, sentence):
    with pytest.raises(SettingsError, match=sentence):
        ModelConfig(vocab_size=9, decoder=StackConfig(feedforward=Experts(**settings)))


def fill(theirs):
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.5)


def take(module, theirs):
    """Their stacked halves are our gate and up."""
    with torch.no_grad():
        module.router.weight.copy_(theirs.gate.weight)
        gate, up = theirs.experts.gate_up_proj.chunk(2, dim=1)
        for maps, weight in ((module.gate, gate), (module.up, up), (module.down, theirs.experts.down_proj)):
            maps.weight.copy_(weight)


def test_equals_mixtral():
    config = MixtralConfig(
        hidden_size=12, intermediate_size=10, num_local_experts=5, num_experts_per_tok=3, router_jitter_noise=0.0
    )
    theirs = MixtralSparseMoeBlock(config).eval()
    fill(theirs)
    module = build(torch.float32, n_experts=5, top_k=3)
    take(module, theirs)
    x = tokens(2, 9, dtype=torch.float32)
    expected = theirs(x.clone())
    assert expected.std() > 1
    assert torch.allclose(module(x), expected, atol=1e-5, rtol=1e-5)


def test_equals_deepseek_v3():
    config = DeepseekV3Config(
        hidden_size=12,
        moe_intermediate_size=10,
        n_routed_experts=6,
        num_experts_per_tok=2,
        n_shared_experts=2,
        n_group=1,
        topk_group=1,
        norm_topk_prob=True,
        routed_scaling_factor=2.5,
    )
    theirs = DeepseekV3MoE(config).eval()
    fill(theirs)
    theirs.gate.e_score_correction_bias.copy_(torch.tensor([0.4, -0.4, 0.0, 0.2, -0.1, 0.3]))
    module = build(
        torch.float32, n_experts=6, top_k=2, n_shared=2, score="sigmoid", scale=2.5, balance_rate=0.001
    ).eval()
    take(module, theirs)
    with torch.no_grad():
        module.bias.copy_(theirs.gate.e_score_correction_bias)
        for ours, name in (("gate", "gate_proj"), ("up", "up_proj"), ("down", "down_proj")):
            getattr(module.shared, ours).weight.copy_(getattr(theirs.shared_experts, name).weight)
    x = tokens(2, 9, dtype=torch.float32)
    assert torch.allclose(module(x), theirs(x), atol=1e-5, rtol=1e-5)
