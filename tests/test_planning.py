"""The plan of a model against what torch counts when the model really runs."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from regard.attention import Dot, Full, Window
from regard.feedforward import Experts
from regard.inputs import Factorised, OneHot
from regard.layers import RMSNorm, formulas
from regard.model import (
    LSTM,
    MLP,
    Gated,
    LanguageHead,
    ModelConfig,
    PostNorm,
    PreNorm,
    RecurrentConfig,
    StackConfig,
    TokenInput,
    Transformer,
)
from regard.model.presets import PRESETS, preset
from regard.planning import plan
from regard.positions import Learned, Rotary

GPT = ModelConfig(
    vocab_size=61,
    d_model=24,
    n_heads=3,
    context_length=20,
    decoder=StackConfig(n_layers=3, position=Learned(), feedforward=MLP(), residual=PreNorm()),
)
LLAMA = ModelConfig(
    vocab_size=67,
    d_model=24,
    n_heads=6,
    n_kv_heads=2,
    context_length=16,
    decoder=StackConfig(
        n_layers=2,
        attention=Dot(bias="none"),
        pattern=(Window(size=4), Full()),
        position=Rotary(),
        feedforward=Gated(),
        norm=RMSNorm(),
        residual=PreNorm(),
    ),
    head=LanguageHead(tied=False),
)
TRANSLATOR = ModelConfig(
    vocab_size=53,
    d_model=16,
    n_heads=2,
    context_length=12,
    encoder=StackConfig(n_layers=3),
    decoder=StackConfig(n_layers=2),
)
BERT = ModelConfig(
    vocab_size=53,
    d_model=16,
    n_heads=2,
    context_length=12,
    input=TokenInput(segments=2),
    encoder=StackConfig(n_layers=2, position=Learned(), residual=PostNorm()),
    decoder=None,
    head=LanguageHead(transform="bert", bias=True),
)
RECURRENT = ModelConfig(
    vocab_size=53,
    d_model=16,
    context_length=16,
    encoder=RecurrentConfig(n_layers=3, cell=LSTM(), bidirectional=True, pyramid=2),
    decoder=RecurrentConfig(n_layers=2),
)
MODELS = {
    "recurrent": RECURRENT,
    "recurrent-fed": RECURRENT.replace(
        encoder=StackConfig(n_layers=1), decoder=RecurrentConfig(n_layers=2, order="fed", cross=Dot())
    ),
    "gpt": GPT,
    "llama": LLAMA,
    "translator": TRANSLATOR,
    "bert": BERT,
    "one-hot": TRANSLATOR.replace(input=OneHot()),
    "factorised": GPT.replace(input=Factorised(width=6)),
}


def run(config: ModelConfig, model: Transformer, targets: bool = False):
    ids = torch.randint(config.vocab_size, (1, config.context_length))
    source = ids if config.family == "encoder-decoder" else None
    return model(ids, ids if targets else None, source=source)


@pytest.mark.parametrize("name", MODELS)
def test_flops_equal_what_torch_counts(name):
    config = MODELS[name]
    model = Transformer(config)
    with FlopCounterMode(display=False) as counter, formulas(), torch.no_grad():
        run(config, model)
    assert plan(config).forward_flops * config.context_length == counter.get_total_flops()


@pytest.mark.parametrize("name", MODELS)
def test_parts_add_up(name):
    config = MODELS[name]
    counted = plan(config)
    assert counted.total == sum(p.numel() for p in Transformer(config).parameters())
    every = {"embedding", "positions", "attention", "feed-forward", "norms", "head"}
    assert set(counted.parameters) == (every | {"recurrent"} if "recurrent" in name else every)


def test_parts_of_gpt2_by_hand():
    d, f, v, t, n = 768, 3072, 50257, 1024, 12
    counted = plan(preset("gpt2"))
    assert counted.parameters == {
        "embedding": v * d,
        "positions": t * d,
        "attention": n * (4 * d * d + 4 * d),
        "feed-forward": n * (2 * d * f + f + d),
        "norms": (2 * n + 1) * 2 * d,
        "head": 0,
    }
    assert counted.matmul_flops == 2 * (n * (4 * d * d + 2 * d * f) + v * d)
    assert counted.attention_flops == n * 4 * t * d
    assert counted.rule_flops == 6 * (124_439_808 - t * d) + 12 * n * d * t  # as nanoGPT estimates it
    assert counted.cache_values == n * 2 * d
    # The often-quoted 66 % is of a layer of the classical shape; of the whole model it is less.
    assert counted.feedforward_of_layer["decoder"] == pytest.approx(2 / 3, abs=0.001)
    assert counted.parameters["feed-forward"] / counted.total == pytest.approx(0.455, abs=0.001)


def test_experts_by_hand():
    """Six experts of which a token meets two, and one that all meet."""
    d, f, layers = 24, 40, 3
    stack = GPT.decoder.replace(feedforward=Experts(n_experts=6, top_k=2, n_shared=1))
    counted, dense = plan(GPT.replace(d_ff=f, decoder=stack)), plan(GPT)
    expert, router = 3 * d * f, 6 * d
    assert counted.parameters["feed-forward"] == layers * (7 * expert + router)
    assert counted.total - counted.active == layers * 4 * expert
    mlp = 2 * d * 4 * d
    assert counted.matmul_flops - dense.matmul_flops == 2 * layers * (3 * expert + router - mlp)
    assert counted.rule_flops - dense.rule_flops == 6 * layers * (3 * expert + router - (mlp + 5 * d))
    assert f"active a token  {counted.active:>16,}" in str(counted)
    assert dense.active == dense.total
    assert "active" not in str(dense)


def test_llama2_70b_weighs_what_is_quoted():
    counted = plan(preset("llama2-70b"))
    assert counted.weight_bytes("bfloat16") == pytest.approx(140e9, rel=0.02)
    assert counted.cache_bytes(1, "bfloat16") == 80 * 2 * 8 * 128 * 2


@pytest.mark.parametrize("name", ["gpt", "llama", "translator", "recurrent-fed"])
def test_cache_equals_a_real_one(name):
    config = MODELS[name]
    model = Transformer(config).eval()
    cache = model.cache(1)
    ids = torch.zeros(1, 7, dtype=torch.long)
    with torch.no_grad():
        encoded = model.encode(ids) if config.encoder is not None else None
        model.hidden(ids, cache=cache, encoded=encoded)
    assert plan(config).cache_bytes(7) == cache.bytes


@pytest.mark.parametrize("name", ["gpt", "llama"])
def test_activations_are_about_what_autograd_keeps(name):
    config = MODELS[name].replace(d_model=96, vocab_size=300, context_length=64)
    model = Transformer(config)
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept[x.untyped_storage()._cdata] = x.untyped_storage()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        run(config, model, targets=True)
    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    measured = sum(storage.nbytes() for key, storage in kept.items() if key not in weights)
    counted = plan(config)
    assert counted.training_bytes() - 16 * counted.total == pytest.approx(measured, rel=0.3)


@pytest.mark.parametrize("name", ["transformer-big", "llama2-70b", "bert-large"])
def test_prints(name):
    text = str(plan(preset(name)))
    assert f"{PRESETS[name].parameters:,}" in text
    assert ("cache a token" in text) == (preset(name).decoder is not None)
    assert max(map(len, text.splitlines())) <= 120
