"""BLOOM: attention that fades with distance (ALiBi), a norm on the embeddings, q, k and v together head after head.

Source   BigScience Workshop 2022, arXiv:2211.05100, §3.2; names as in `transformers`' BloomForCausalLM.
"""

from __future__ import annotations

from typing import ClassVar

from regard.attention import Dot
from regard.feedforward import MLP
from regard.heads import LanguageHead
from regard.inputs import TokenInput
from regard.interop.base import Architecture, Cut, Values
from regard.interop.decoders import check_causal
from regard.interop.gpt_neox import qkv
from regard.layers import LayerNorm
from regard.model import ModelConfig, StackConfig
from regard.model.initialisation import Normal
from regard.positions import ALiBi
from regard.residual import PreNorm

NAMES: dict[str, str | Cut] = {
    "decoder.input.tokens": "word_embeddings",
    "decoder.input.norm": "word_embeddings_layernorm",
    "decoder.layers.*.residual.norms.0": "h.*.input_layernorm",
    "decoder.layers.*.attention.o": "h.*.self_attention.dense",
    "decoder.layers.*.residual.norms.1": "h.*.post_attention_layernorm",
    "decoder.layers.*.feedforward.up": "h.*.mlp.dense_h_to_4h",
    "decoder.layers.*.feedforward.down": "h.*.mlp.dense_4h_to_h",
    "decoder.end": "ln_f",
}


class Bloom(Architecture):
    model_types: ClassVar[tuple[str, ...]] = ("bloom",)
    prefix: ClassVar[str] = "transformer."

    def config(self, values: Values) -> ModelConfig:
        check_causal(values)
        values.only(apply_residual_connection_post_layernorm=False, tie_word_embeddings=True)
        norm = LayerNorm(eps=values.number("layer_norm_epsilon", 1e-5))
        d_model = values.whole(values.first("n_embed", "hidden_size"))
        return ModelConfig(
            vocab_size=values.whole("vocab_size"),
            d_model=d_model,
            n_heads=values.whole(values.first("num_attention_heads", "n_head")),
            d_ff=4 * d_model,
            context_length=values.whole("seq_length", 2048),
            dropout=values.number("hidden_dropout", 0.0),
            input=TokenInput(norm=norm),
            decoder=StackConfig(
                n_layers=values.whole(values.first("num_hidden_layers", "n_layer")),
                attention=Dot(dropout=values.number("attention_dropout", 0.0)),
                position=ALiBi(),
                feedforward=MLP(activation="gelu_tanh"),
                norm=norm,
                residual=PreNorm(),
            ),
            head=LanguageHead(),
            initialisation=Normal(std=values.number("initializer_range", 0.02), residual="plain"),
        )

    def names(self, config: ModelConfig) -> dict[str, str | Cut]:
        return {**NAMES, **qkv(config, "h.*.self_attention.query_key_value")}

    def tied(self, config: ModelConfig) -> dict[str, str]:
        return {"lm_head.weight": "word_embeddings.weight"}
