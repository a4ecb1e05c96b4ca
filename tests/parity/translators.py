"""Marian, BART and T5 of `transformers` and the same models here: each function gives (theirs, ours), of equal weights.

The weights are spread, so that logits spread by one or more; what the models do not draw, such as the bias of the
logits, is drawn too. Sentences end with END, begin with BEGIN and are padded with PAD.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from regard.attention import Dot
from regard.inputs import TokenInput
from regard.layers import LayerNorm, RMSNorm
from regard.model import MLP, Gated, LanguageHead, ModelConfig, PostNorm, PreNorm, StackConfig, Transformer
from regard.positions import T5, Learned, Sinusoidal
from tests.parity.theirs import CONTEXT, HEADS, D, V, redraw

transformers = pytest.importorskip("transformers")

ENCODER_LAYERS, DECODER_LAYERS, D_FF = 3, 2, 52
PAD = BEGIN = 0
END = 1

OURS = {
    "self_attn.q_proj": "attention.q",
    "self_attn.k_proj": "attention.k",
    "self_attn.v_proj": "attention.v",
    "self_attn.out_proj": "attention.o",
    "encoder_attn.q_proj": "cross.q",
    "encoder_attn.k_proj": "cross.k",
    "encoder_attn.v_proj": "cross.v",
    "encoder_attn.out_proj": "cross.o",
    "fc1": "feedforward.up",
    "fc2": "feedforward.down",
}


def marian(shared: bool = True, **changes: Any) -> tuple[Any, Transformer]:
    """Marian, with one vocabulary for both languages or one for each. `changes` replace parts of our two stacks, or
    `input` and `head` of our model."""
    theirs = transformers.MarianMTModel(
        transformers.MarianConfig(
            **_bart_sizes(),
            activation_function="swish",
            scale_embedding=True,
            vocab_size=V if shared else V - 12,
            decoder_vocab_size=V,
            share_encoder_decoder_embeddings=shared,
            tie_word_embeddings=True,
        )
    )
    _draw(theirs)
    for stack in (theirs.model.encoder, theirs.model.decoder):
        stack.embed_positions.weight.data.copy_(stack.embed_positions.create_weight())
    parts = {
        "feedforward": MLP(activation="silu"),
        "residual": PostNorm(),
        "norm": LayerNorm(),
        "position": Sinusoidal(layout="half"),
    }
    outer = {
        "input": TokenInput(scale="sqrt_d_model"),
        "head": LanguageHead(bias=True),
        "vocab_size": V if shared else V - 12,
        "target_vocab_size": None if shared else V,
    }
    ours = _ours(parts, outer, changes)
    _load(ours, _bart_weights(theirs))
    return theirs.eval(), ours


def bart(**changes: Any) -> tuple[Any, Transformer]:
    """BART: learned positions that skip two rows, and a norm on what is embedded."""
    theirs = transformers.BartForConditionalGeneration(
        transformers.BartConfig(**_bart_sizes(), activation_function="gelu", vocab_size=V)
    )
    _draw(theirs)
    parts = {
        "feedforward": MLP(activation="gelu"),
        "residual": PostNorm(),
        "norm": LayerNorm(),
        "position": Learned(offset=2),
    }
    outer = {"input": TokenInput(norm=LayerNorm()), "head": LanguageHead(bias=True), "vocab_size": V}
    ours = _ours(parts, outer, changes)
    weights = _bart_weights(theirs)
    for side in ("encoder", "decoder"):
        stack = theirs.model.get_submodule(side)
        weights[f"{side}.positions.0.table.weight"] = stack.embed_positions.weight
        for end in ("weight", "bias"):
            weights[f"{side}.input.norm.{end}"] = getattr(stack.layernorm_embedding, end)
    _load(ours, weights)
    return theirs.eval(), ours


def t5(version: str = "1.0", **changes: Any) -> tuple[Any, Transformer]:
    """T5. 1.0: ReLU, and a tied head whose input is scaled; 1.1: gated GELU, and a head of its own."""
    first = version == "1.0"
    theirs = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=V,
            d_model=D,
            d_kv=10,
            num_heads=HEADS,
            d_ff=D_FF,
            num_layers=ENCODER_LAYERS,
            num_decoder_layers=DECODER_LAYERS,
            relative_attention_num_buckets=8,
            relative_attention_max_distance=20,
            feed_forward_proj="relu" if first else "gated-gelu",
            tie_word_embeddings=first,
            pad_token_id=PAD,
            eos_token_id=END,
            decoder_start_token_id=BEGIN,
        )
    )
    if not first:  # published checkpoints have two tables, which the class would tie
        theirs.lm_head = torch.nn.Linear(D, V, bias=False)
    _draw(theirs)
    for name, parameter in theirs.named_parameters():
        if name.endswith(".q.weight"):  # scores are not scaled: unless the queries are, rounding decides a softmax
            parameter.data *= 10**-0.5
    if first:  # the head's scale would make the logits small
        theirs.shared.weight.data *= D**0.5
    parts = {
        "attention": Dot(scale=1.0, bias="none"),
        "cross": Dot(scale=1.0, bias="none"),
        "feedforward": MLP(activation="relu", bias=False) if first else Gated(activation="gelu_tanh"),
        "residual": PreNorm(),
        "norm": RMSNorm(eps=1e-6),
        "position": T5(buckets=8, max_distance=20),
    }
    outer = {
        "head": LanguageHead(scale=D**-0.5) if first else LanguageHead(tied=False),
        "head_dim": 10,
        "vocab_size": V,
    }
    ours = _ours(parts, outer, changes)
    _load(ours, _t5_weights(theirs, first))
    return theirs.eval(), ours


def _bart_sizes() -> dict[str, Any]:
    return {
        "d_model": D,
        "encoder_layers": ENCODER_LAYERS,
        "decoder_layers": DECODER_LAYERS,
        "encoder_attention_heads": HEADS,
        "decoder_attention_heads": HEADS,
        "encoder_ffn_dim": D_FF,
        "decoder_ffn_dim": D_FF,
        "max_position_embeddings": CONTEXT,
        "pad_token_id": PAD,
        "eos_token_id": END,
        "bos_token_id": None,
        "decoder_start_token_id": BEGIN,
        "forced_eos_token_id": None,
    }


def _draw(theirs: Any) -> None:
    redraw(theirs)
    if hasattr(theirs, "final_logits_bias"):
        theirs.final_logits_bias.normal_(generator=torch.Generator().manual_seed(1))


def _ours(parts: dict[str, Any], outer: dict[str, Any], changes: dict[str, Any]) -> Transformer:
    parts |= {name: part for name, part in changes.items() if name in StackConfig.model_fields}
    outer |= {name: part for name, part in changes.items() if name not in StackConfig.model_fields}
    outer = {"context_length": CONTEXT} | outer
    config = ModelConfig(
        d_model=D,
        n_heads=HEADS,
        d_ff=D_FF,
        encoder=StackConfig(n_layers=ENCODER_LAYERS, **parts),
        decoder=StackConfig(n_layers=DECODER_LAYERS, **parts),
        **outer,
    )
    return Transformer(config).eval()


def _load(ours: Transformer, weights: dict[str, torch.Tensor]) -> None:
    """All of them, and no others: a mutation may leave out or add none."""
    ours.load_state_dict({name: weight.detach() for name, weight in weights.items()}, strict=True)


def _bart_weights(theirs: Any) -> dict[str, torch.Tensor]:
    """What Marian and BART share."""
    weights = {"head.bias": theirs.final_logits_bias[0]}
    for side, last in (("encoder", "self_attn"), ("decoder", "encoder_attn")):
        stack = theirs.model.get_submodule(side)
        weights[f"{side}.input.tokens.weight"] = stack.embed_tokens.weight
        norms = dict.fromkeys(["self_attn_layer_norm", f"{last}_layer_norm", "final_layer_norm"])
        table = OURS | {name: f"residual.norms.{number}" for number, name in enumerate(norms)}
        for i, layer in enumerate(stack.layers):
            for name, weight in layer.named_parameters():
                module, end = name.rsplit(".", 1)
                weights[f"{side}.layers.{i}.{table[module]}.{end}"] = weight
    return weights


def _t5_weights(theirs: Any, first: bool) -> dict[str, torch.Tensor]:
    weights = {} if first else {"head.output.weight": theirs.lm_head.weight}
    up = {"wi": "up"} if first else {"wi_0": "gate", "wi_1": "up"}
    for side in ("encoder", "decoder"):
        stack = theirs.get_submodule(side)
        weights[f"{side}.input.tokens.weight"] = theirs.shared.weight
        weights[f"{side}.end.weight"] = stack.final_layer_norm.weight
        for i, block in enumerate(stack.block):
            for step, sub in enumerate(block.layer):
                ours = f"{side}.layers.{i}"
                weights[f"{ours}.residual.norms.{step}.weight"] = sub.layer_norm.weight
                for name, weight in sub.named_parameters():
                    module, *inner = name.split(".")
                    if "relative_attention_bias" in name:
                        weights[f"{side}.positions.0.table.weight"] = weight
                    elif module == "DenseReluDense":
                        weights[f"{ours}.feedforward.{(up | {'wo': 'down'})[inner[0]]}.weight"] = weight
                    elif module != "layer_norm":
                        part = "attention" if module == "SelfAttention" else "cross"
                        weights[f"{ours}.{part}.{inner[0]}.weight"] = weight
    return weights
