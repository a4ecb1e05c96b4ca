"""Each placement against its formula on plain lists of numbers, and what is particular to it."""

import math

import pytest
import torch

from regard.layers import LayerNorm, Sizes, taps
from regard.model import ModelConfig, Transformer
from regard.residual import DeepNorm, Parallel, PostNorm, PreNorm, ResiDual, ReZero, Sandwich

SIZES = Sizes(d_model=3, n_heads=1, n_kv_heads=1, head_dim=3, d_ff=4, context_length=8, depth=2, place="decoder.0")
START = [0.5, -2.0, 1.0]


def looking(x):
    return [2 * a + 1 for a in x]


def reading(x):
    return [a * a for a in x]


def thinking(x):
    return [x[2] - a for a in x]


STEPS = {2: [looking, thinking], 3: [looking, reading, thinking]}


def norm(x):
    mean = sum(x) / 3
    deviation = math.sqrt(sum((a - mean) ** 2 for a in x) / 3 + 1e-5)
    return [(a - mean) / deviation for a in x]


def add(x, y, scale=1.0):
    return [scale * a + b for a, b in zip(x, y, strict=True)]


def post(steps, alpha=1.0):
    x = START
    for f in steps * 2:
        x = norm(add(x, f(x), alpha))
    return x


def pre(steps):
    x = START
    for f in steps * 2:
        x = add(x, f(norm(x)))
    return norm(x)


def resi_dual(steps):
    x = dual = START
    for f in steps * 2:
        y = f(x)
        x, dual = norm(add(x, y)), add(dual, y)
    return add(x, norm(dual))


def sandwich(steps):
    x = START
    for f in steps * 2:
        x = add(x, norm(f(norm(x))))
    return norm(x)


def rezero(steps):
    x = START
    for f in steps * 2:
        x = add(x, [0.3 * a for a in f(x)])
    return x


def parallel(steps):
    x = START
    for _ in range(2):
        seen, x = norm(x), x
        for f in steps:
            x = add(x, f(seen))
    return norm(x)


# Two layers of one stack: α = (2·2)^(1/4) = √2.
ORACLES = {
    PostNorm(): post,
    PreNorm(): pre,
    ResiDual(): resi_dual,
    DeepNorm(): lambda steps: post(steps, math.sqrt(2)),
    Sandwich(): sandwich,
    ReZero(): rezero,
    Parallel(): parallel,
    Parallel(norms=2): parallel,
}


def on_tensors(f):
    return lambda x: torch.tensor([[f(row) for row in rows] for rows in x.tolist()], dtype=x.dtype)


@pytest.mark.parametrize("steps", [2, 3])
@pytest.mark.parametrize("part", ORACLES, ids=repr)
def test_two_layers_by_hand(part, steps):
    layers = [part.build(LayerNorm(), SIZES, steps).double() for _ in range(2)]
    for layer in layers:
        if isinstance(part, ReZero):
            assert layer.alpha.item() == 0.0
            layer.alpha.data.fill_(0.3)
    stream = part.begin(torch.tensor([[START]], dtype=torch.float64))
    for layer in layers:
        stream = layer(stream, [on_tensors(f) for f in STEPS[steps]])
    end = part.end(LayerNorm(), SIZES).double()
    expected = torch.tensor([[ORACLES[part](STEPS[steps])]], dtype=torch.float64)
    torch.testing.assert_close(end(stream), expected, rtol=1e-12, atol=1e-12)


def model(residual, where="decoder", **changes):
    stack = {"n_layers": 3, "position": "learned", "residual": residual}
    return Transformer(
        ModelConfig.from_dict(
            {
                "vocab_size": 11,
                "d_model": 8,
                "n_heads": 2,
                "context_length": 8,
                "initialisation": "xavier",
                "encoder": stack if "encoder" in where else None,
                "decoder": {**stack, **changes} if "decoder" in where else None,
            }
        )
    )


IDS = torch.tensor([[3, 1, 4, 1, 5]])


def heard(net, **more):
    found = {}
    with torch.no_grad(), taps(found.__setitem__):
        net(IDS, **more)
    return found


@torch.no_grad()
def test_rezero_is_the_identity_at_the_start():
    net = model("rezero")
    assert torch.equal(net(IDS), model("rezero", n_layers=1)(IDS))
    assert not torch.equal(net(IDS), model("pre")(IDS))
    net.decoder.layers[2].residual.alpha.fill_(0.1)
    assert not torch.equal(net(IDS), model("rezero", n_layers=1)(IDS))


def test_the_first_stream_of_residual_is_that_of_post_norm():
    """The second is the input and all that was added to it."""
    dual, post = model("resi_dual"), model("post")
    one, other = heard(dual), heard(post)
    streams = [place for place in other if place.endswith(".stream")]
    assert len(streams) == 3
    for place in streams:
        assert torch.equal(one[place], other[place])
    added = []
    for block in dual.decoder.layers:
        for part in (block.attention, block.feedforward):
            part.register_forward_hook(lambda module, args, y: added.append(y))
    end, starts = [], []
    dual.decoder.layers[0].register_forward_pre_hook(lambda module, args: starts.append(args[0][0]))
    dual.decoder.end.register_forward_hook(lambda module, args, y: end.append(y))
    again = heard(dual)
    total = starts[0] + torch.stack(added).sum(0)
    torch.testing.assert_close(again["decoder.2.dual"], total)
    torch.testing.assert_close(end[0], again["decoder.2.stream"] + dual.decoder.end.norm(total))


def test_residual_drops_the_same_of_both_streams():
    torch.manual_seed(0)
    part = ResiDual().build(LayerNorm(), Sizes(8, 1, 1, 8, 8, 8, dropout=0.5), 1).train()
    x = torch.randn(1, 5, 8)
    stream, dual = part((x, torch.zeros_like(x)), [torch.ones_like])
    assert set(dual.flatten().tolist()) == {0.0, 2.0}
    torch.testing.assert_close(stream, part.norms[0](x + dual))


def test_sandwich_bounds_what_a_step_adds():
    part = Sandwich().build(LayerNorm(eps=0.0), SIZES, 1)
    x = torch.randn(2, 4, 3)
    torch.testing.assert_close(part(x, [torch.sin]), part(x, [lambda x: 1000 * torch.sin(x)]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norms", [1, 2])
def test_parallel_branches_read_the_same(norms):
    """Cross-attention reads what attention reads; the feed-forward has a norm of its own where norms=2."""
    part = Parallel(norms=norms).build(LayerNorm(), SIZES, 3)
    assert len(part.norms) == norms
    with torch.no_grad():
        part.norms[-1].bias.fill_(7.0)
    read, x = [], torch.randn(1, 2, 3)
    y = part(x, [lambda x: read.append(x) or torch.ones_like(x)] * 3)
    torch.testing.assert_close(y, x + 3)
    first, last = part.norms[0](x), part.norms[-1](x)
    assert torch.equal(read[0], first)
    assert torch.equal(read[1], first)
    assert torch.equal(read[2], last)
    assert torch.equal(first, last) == (norms == 1)


# Figure 2 of the paper, at depths where its roots are round.
@pytest.mark.parametrize(
    ("sizes", "alpha", "beta"),
    [
        ({"depth": 8}, 2.0, 8**-0.5),
        ({"depth": 8, "causal": True}, 2.0, 8**-0.5),
        ({"depth": 1000}, 6.6874, 0.10574),
        ({"depth": 16, "other_depth": 1}, 1.62, 0.435),
        ({"depth": 4, "other_depth": 256}, 1.62, 0.435),
        ({"depth": 27, "other_depth": 5, "causal": True}, 3.0, 18**-0.5),
        ({"depth": 27, "other_depth": 50, "causal": True}, 3.0, 18**-0.5),
    ],
)
def test_deep_norms_table(sizes, alpha, beta):
    sizes = Sizes(8, 1, 1, 8, 8, 8, **sizes)
    assert DeepNorm().alpha(sizes) == pytest.approx(alpha, rel=1e-4)
    assert DeepNorm().gain(sizes) == pytest.approx(beta, rel=1e-4)


@pytest.mark.parametrize("where", ["encoder", "decoder", "encoder-decoder"])
def test_deep_norm_makes_all_but_queries_and_keys_smaller(where):
    """Three layers: β = 24^(−1/4) alone; beside three others 0.87 · 3^(−5/16) and 36^(−1/4)."""
    betas = {"encoder": 24**-0.25, "decoder": 24**-0.25}
    if where == "encoder-decoder":
        betas = {"encoder": 0.87 * 3 ** (-5 / 16), "decoder": 36**-0.25}
    post, deep = model("post", where).state_dict(), model("deep_norm", where).state_dict()
    assert post.keys() == deep.keys()
    seen = set()
    for name, weight in post.items():
        stack, *_, part, _ = name.split(".")
        quieter = part in ("v", "o", "up", "down") and name.endswith("weight")
        seen.add((stack, quieter))
        torch.testing.assert_close(deep[name], weight * (betas[stack] if quieter else 1.0))
    assert len(seen) == 2 * where.count("coder")


def test_every_placement_says_where_its_stream_is():
    for kind in ("post", "pre", "resi_dual", "deep_norm", "sandwich", "rezero", "parallel"):
        places = heard(model(kind))
        assert {f"decoder.{i}.stream" for i in range(3)} <= set(places)
