"""GPT-J and GPT-NeoX, theirs and ours with the same random weights: attention and feed-forward side by side."""

import pytest
import torch

from regard.attention import Dot
from regard.layers import LayerNorm
from regard.model import MLP, LanguageHead, ModelConfig, PreNorm, StackConfig, Transformer
from regard.positions import Rotary
from regard.residual import Parallel
from tests.parity.theirs import CONTEXT, HEADS, LAYERS, D, V, check_greedy, check_logits, difference, redraw

transformers = pytest.importorskip("transformers")


def build(head, **parts):
    stack = StackConfig(n_layers=LAYERS, **parts)
    config = ModelConfig(
        vocab_size=V, d_model=D, n_heads=HEADS, d_ff=52, context_length=CONTEXT, decoder=stack, head=head
    )
    return Transformer(config).eval()


def load(ours, get, outer, inner, others):
    """Copy weights by tables of names, theirs → ours; `inner` names those of a layer, `others` are given as tensors."""
    weights = dict(others)
    for i in range(LAYERS):
        outer = outer | {one.format(i): f"decoder.layers.{i}.{other}" for one, other in inner.items()}
    for one, other in outer.items():
        weights |= {f"{other}.{end}": get[f"{one}.{end}"] for end in ("weight", "bias") if f"{one}.{end}" in get}
    ours.load_state_dict(weights, strict=True)


def gptj(**changes):
    theirs = transformers.GPTJForCausalLM(
        transformers.GPTJConfig(
            vocab_size=V,
            n_positions=CONTEXT,
            n_embd=D,
            n_layer=LAYERS,
            n_head=HEADS,
            n_inner=52,
            rotary_dim=8,
            bos_token_id=0,
            eos_token_id=0,
        )
    ).eval()
    redraw(theirs)
    parts = {
        "attention": Dot(bias="none"),
        "feedforward": MLP(activation="gelu_tanh"),
        "norm": LayerNorm(),
        "residual": Parallel(),
        "position": Rotary(fraction=8 / 12, interleaved=True),
    }
    ours = build(LanguageHead(tied=False, bias=True), **(parts | changes))
    get = theirs.state_dict()
    load(
        ours,
        get,
        {"transformer.wte": "decoder.input.tokens", "transformer.ln_f": "decoder.end"},
        {
            "transformer.h.{}.ln_1": "residual.norms.0",
            **{f"transformer.h.{{}}.attn.{letter}_proj": f"attention.{letter}" for letter in "qkv"},
            "transformer.h.{}.attn.out_proj": "attention.o",
            "transformer.h.{}.mlp.fc_in": "feedforward.up",
            "transformer.h.{}.mlp.fc_out": "feedforward.down",
        },
        {"head.output.weight": get["lm_head.weight"], "head.bias": get["lm_head.bias"]},
    )
    return theirs, ours


def neox(**changes):
    theirs = transformers.GPTNeoXForCausalLM(
        transformers.GPTNeoXConfig(
            vocab_size=V,
            hidden_size=D,
            intermediate_size=52,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            max_position_embeddings=CONTEXT,
            hidden_act="gelu",
            use_parallel_residual=True,
            tie_word_embeddings=False,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5},
        )
    ).eval()
    redraw(theirs)
    parts = {
        "attention": Dot(),
        "feedforward": MLP(activation="gelu"),
        "norm": LayerNorm(),
        "residual": Parallel(norms=2),
        "position": Rotary(fraction=0.5),
    }
    ours = build(LanguageHead(tied=False), **(parts | changes))
    get = theirs.state_dict()
    others = {}
    for i in range(LAYERS):
        for end in ("weight", "bias"):
            # Each head's query, key and value stand together.
            joined = get[f"gpt_neox.layers.{i}.attention.query_key_value.{end}"].unflatten(0, (HEADS, 3, D // HEADS))
            for number, letter in enumerate("qkv"):
                others[f"decoder.layers.{i}.attention.{letter}.{end}"] = joined[:, number].flatten(0, 1)
    load(
        ours,
        get,
        {
            "gpt_neox.embed_in": "decoder.input.tokens",
            "gpt_neox.final_layer_norm": "decoder.end",
            "lm_head": "head.output",
        },
        {
            "gpt_neox.layers.{}.input_layernorm": "residual.norms.0",
            "gpt_neox.layers.{}.post_attention_layernorm": "residual.norms.1",
            "gpt_neox.layers.{}.attention.dense": "attention.o",
            "gpt_neox.layers.{}.mlp.dense_h_to_4h": "feedforward.up",
            "gpt_neox.layers.{}.mlp.dense_4h_to_h": "feedforward.down",
        },
        others,
    )
    return theirs, ours


@pytest.mark.parametrize("make", [gptj, neox])
def test_equal_logits(make):
    check_logits(*make())


@pytest.mark.parametrize("make", [gptj, neox])
def test_equal_greedy_tokens(make):
    check_greedy(*make(), tokens=20)


@pytest.mark.parametrize("mutation", ["one after the other", "norms exchanged"])
@torch.no_grad()
def test_a_mutation_is_seen(mutation):
    if mutation == "one after the other":
        theirs, ours = neox(residual=PreNorm())
    else:
        theirs, ours = neox()
        for layer in ours.decoder.layers:
            layer.residual.norms = torch.nn.ModuleList(reversed(layer.residual.norms))
    assert difference(theirs, ours) > 1e-3
