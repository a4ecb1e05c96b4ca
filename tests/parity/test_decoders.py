"""GPT-2 and Llama, theirs and ours with the same random weights: equal logits, equal greedy tokens.

A mutation of each quirk must fail.
"""

import pytest
import torch

from regard.attention import Dot
from regard.interop.folder import read
from regard.layers import LayerNorm, RMSNorm
from regard.model import MLP, Gated, LanguageHead, ModelConfig, PreNorm, StackConfig, Transformer
from regard.positions import Learned, Rotary
from tests.parity.theirs import CONTEXT, HEADS, LAYERS, D, V, check_greedy, check_logits, difference, redraw

transformers = pytest.importorskip("transformers")


def gpt2(**changes):
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=V, n_positions=CONTEXT, n_embd=D, n_layer=LAYERS, n_head=HEADS, bos_token_id=0, eos_token_id=0
        )
    ).eval()
    redraw(theirs)
    parts = {
        "attention": Dot(),
        "feedforward": MLP(activation="gelu_tanh"),
        "norm": LayerNorm(eps=1e-5),
        "residual": PreNorm(),
        "position": Learned(),
    } | changes
    config = ModelConfig(
        vocab_size=V, d_model=D, n_heads=HEADS, context_length=CONTEXT, decoder=StackConfig(n_layers=LAYERS, **parts)
    )
    ours = Transformer(config).eval()
    get = theirs.state_dict()
    weights = {
        "decoder.input.tokens.weight": get["transformer.wte.weight"],
        "decoder.positions.0.table.weight": get["transformer.wpe.weight"],
    }
    for end in ("weight", "bias"):
        weights[f"decoder.end.{end}"] = get[f"transformer.ln_f.{end}"]
        for i in range(LAYERS):
            a, b = f"transformer.h.{i}", f"decoder.layers.{i}"
            for one, other in (("ln_1", "residual.norms.0"), ("ln_2", "residual.norms.1")):
                weights[f"{b}.{other}.{end}"] = get[f"{a}.{one}.{end}"]
            for letter, part in zip("qkv", get[f"{a}.attn.c_attn.{end}"].chunk(3, dim=-1), strict=True):
                weights[f"{b}.attention.{letter}.{end}"] = part.t() if end == "weight" else part
            for one, other in (
                ("attn.c_proj", "attention.o"),
                ("mlp.c_fc", "feedforward.up"),
                ("mlp.c_proj", "feedforward.down"),
            ):
                weights[f"{b}.{other}.{end}"] = get[f"{a}.{one}.{end}"].t()
    ours.load_state_dict(weights, strict=True)
    return theirs, ours


def llama(**changes):
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=V,
            hidden_size=D,
            intermediate_size=52,
            num_hidden_layers=LAYERS,
            num_attention_heads=6,
            num_key_value_heads=3,
            max_position_embeddings=CONTEXT,
            rms_norm_eps=1e-6,
            tie_word_embeddings=False,
            rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        )
    ).eval()
    redraw(theirs)
    parts = {
        "attention": Dot(bias="none"),
        "feedforward": Gated(),
        "norm": RMSNorm(eps=1e-6),
        "residual": PreNorm(),
        "position": Rotary(base=500.0),
    } | changes
    config = ModelConfig(
        vocab_size=V,
        d_model=D,
        n_heads=6,
        n_kv_heads=3,
        d_ff=52,
        context_length=CONTEXT,
        decoder=StackConfig(n_layers=LAYERS, **parts),
        head=LanguageHead(tied=False),
    )
    ours = Transformer(config).eval()
    get = theirs.state_dict()
    weights = {
        "decoder.input.tokens.weight": get["model.embed_tokens.weight"],
        "decoder.end.weight": get["model.norm.weight"],
        "head.output.weight": get["lm_head.weight"],
    }
    names = {
        "input_layernorm": "residual.norms.0",
        "post_attention_layernorm": "residual.norms.1",
        **{f"self_attn.{letter}_proj": f"attention.{letter}" for letter in "qkvo"},
        **{f"mlp.{name}_proj": f"feedforward.{name}" for name in ("gate", "up", "down")},
    }
    for i in range(LAYERS):
        for one, other in names.items():
            weights[f"decoder.layers.{i}.{other}.weight"] = get[f"model.layers.{i}.{one}.weight"]
    ours.load_state_dict(weights, strict=True)
    return theirs, ours


@pytest.mark.parametrize("make", [gpt2, llama])
def test_equal_logits(make):
    check_logits(*make())


@pytest.mark.parametrize("make", [gpt2, llama])
def test_equal_greedy_tokens(make):
    check_greedy(*make())


@pytest.mark.parametrize(
    ("make", "mutation"),
    [
        (gpt2, {"feedforward": MLP(activation="gelu")}),
        (gpt2, {"norm": LayerNorm(eps=1e-3)}),
        (gpt2, {"attention": Dot(scale=0.25)}),
        (llama, {"position": Rotary(base=501.0)}),
        (llama, {"position": Rotary(base=500.0, interleaved=True)}),
        (llama, {"norm": RMSNorm(eps=1e-4)}),
        (llama, {"feedforward": Gated(activation="gelu")}),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value),
)
@torch.no_grad()
def test_a_mutation_is_seen(make, mutation):
    assert difference(*make(**mutation)) > 1e-5


def test_gpt2_through_a_folder(tmp_path):
    """The same weights to the bit, of maps that are stored turned and fused."""
    theirs, ours = gpt2()
    theirs.save_pretrained(tmp_path)
    loaded = read(tmp_path, tokenizer=False).transformer
    expected, found = ours.state_dict(), loaded.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    check_logits(theirs, loaded)
    check_greedy(theirs, loaded)
