"""OPT: GPT-3's arithmetic with ReLU; its learned positions begin at row 2 of their table.

Source   Zhang et al. 2022, arXiv:2205.01068, §2.1; names as in `transformers`' OPTForCausalLM.
"""

from __future__ import annotations

from typing import Any, ClassVar

from regard.attention import Dot
from regard.feedforward import MLP
from regard.heads import LanguageHead
from regard.interop.base import Architecture, Cut, Values
from regard.interop.bert import ACTIVATIONS
from regard.interop.decoders import check_causal
from regard.layers import LayerNorm
from regard.model import ModelConfig, StackConfig
from regard.model.initialisation import Normal
from regard.positions import Learned
from regard.residual import PostNorm, PreNorm

NAMES: dict[str, str | Cut] = {
    "decoder.input.tokens": "decoder.embed_tokens",
    "decoder.positions.0.table": "decoder.embed_positions",
    "decoder.layers.*.attention.q": "decoder.layers.*.self_attn.q_proj",
    "decoder.layers.*.attention.k": "decoder.layers.*.self_attn.k_proj",
    "decoder.layers.*.attention.v": "decoder.layers.*.self_attn.v_proj",
    "decoder.layers.*.attention.o": "decoder.layers.*.self_attn.out_proj",
    "decoder.layers.*.residual.norms.0": "decoder.layers.*.self_attn_layer_norm",
    "decoder.layers.*.feedforward.up": "decoder.layers.*.fc1",
    "decoder.layers.*.feedforward.down": "decoder.layers.*.fc2",
    "decoder.layers.*.residual.norms.1": "decoder.layers.*.final_layer_norm",
    "decoder.end": "decoder.final_layer_norm",
}


class OPT(Architecture):
    model_types: ClassVar[tuple[str, ...]] = ("opt",)
    prefix: ClassVar[str] = "model."

    def config(self, values: Values) -> ModelConfig:
        check_causal(values)
        d_model = values.whole("hidden_size")
        values.only(word_embed_proj_dim=d_model, layer_norm_elementwise_affine=True, tie_word_embeddings=True)
        values.only(_remove_final_layer_norm=False)
        activation: Any = values.choice("activation_function", ACTIVATIONS, "relu")
        biased = values.flag("enable_bias", True)
        return ModelConfig(
            vocab_size=values.whole("vocab_size"),
            d_model=d_model,
            n_heads=values.whole("num_attention_heads"),
            d_ff=values.whole("ffn_dim"),
            context_length=values.whole("max_position_embeddings", 2048),
            dropout=values.number("dropout", 0.1),
            decoder=StackConfig(
                n_layers=values.whole("num_hidden_layers"),
                attention=Dot(bias="all" if biased else "none", dropout=values.number("attention_dropout", 0.0)),
                position=Learned(offset=2),
                feedforward=MLP(activation=activation, bias=biased),
                norm=LayerNorm(),
                residual=PreNorm() if values.flag("do_layer_norm_before", True) else PostNorm(),
            ),
            head=LanguageHead(),
            initialisation=Normal(std=values.number("init_std", 0.02), residual="plain"),
        )

    def names(self, config: ModelConfig) -> dict[str, str | Cut]:
        return NAMES

    def tied(self, config: ModelConfig) -> dict[str, str]:
        return {"lm_head.weight": "decoder.embed_tokens.weight"}
