"""GPT-2: a decoder with learned positions and norms before each step; its maps are stored turned, q, k and v as one.

Source   Radford et al. 2019, §2.3; names as in `transformers`' GPT2LMHeadModel.
"""

from __future__ import annotations

from typing import Any, ClassVar

from regard.attention import Dot
from regard.feedforward import MLP
from regard.heads import LanguageHead
from regard.interop.base import Architecture, Cut, Values
from regard.interop.bert import ACTIVATIONS
from regard.layers import LayerNorm
from regard.model import ModelConfig, StackConfig
from regard.model.initialisation import Normal
from regard.positions import Learned
from regard.residual import PreNorm

NAMES: dict[str, str | Cut] = {
    "decoder.input.tokens": "wte",
    "decoder.positions.0.table": "wpe",
    "decoder.layers.*.residual.norms.0": "h.*.ln_1",
    "decoder.layers.*.attention.q": Cut("h.*.attn.c_attn", part=0, of=3, transposed=True),
    "decoder.layers.*.attention.k": Cut("h.*.attn.c_attn", part=1, of=3, transposed=True),
    "decoder.layers.*.attention.v": Cut("h.*.attn.c_attn", part=2, of=3, transposed=True),
    "decoder.layers.*.attention.o": Cut("h.*.attn.c_proj", transposed=True),
    "decoder.layers.*.residual.norms.1": "h.*.ln_2",
    "decoder.layers.*.feedforward.up": Cut("h.*.mlp.c_fc", transposed=True),
    "decoder.layers.*.feedforward.down": Cut("h.*.mlp.c_proj", transposed=True),
    "decoder.end": "ln_f",
}


class GPT2(Architecture):
    model_types: ClassVar[tuple[str, ...]] = ("gpt2",)
    prefix: ClassVar[str] = "transformer."

    def config(self, values: Values) -> ModelConfig:
        values.only(
            architectures=["GPT2LMHeadModel"],
            add_cross_attention=False,
            scale_attn_weights=True,
            scale_attn_by_inverse_layer_idx=False,
            tie_word_embeddings=True,
        )
        activation: Any = values.choice("activation_function", ACTIVATIONS, "gelu_new")
        d_model = values.whole("n_embd")
        return ModelConfig(
            vocab_size=values.whole("vocab_size"),
            d_model=d_model,
            n_heads=values.whole("n_head"),
            d_ff=values.whole("n_inner", 4 * d_model),
            context_length=values.whole("n_positions", 1024),
            dropout=values.number("resid_pdrop", 0.1),
            decoder=StackConfig(
                n_layers=values.whole("n_layer"),
                attention=Dot(dropout=values.number("attn_pdrop", 0.1)),
                position=Learned(),
                feedforward=MLP(activation=activation),
                norm=LayerNorm(eps=values.number("layer_norm_epsilon", 1e-5)),
                residual=PreNorm(),
            ),
            head=LanguageHead(),
            initialisation=Normal(std=values.number("initializer_range", 0.02)),
        )

    def names(self, config: ModelConfig) -> dict[str, str | Cut]:
        return NAMES

    def tied(self, config: ModelConfig) -> dict[str, str]:
        return {"lm_head.weight": "wte.weight"}

    def unused(self, config: ModelConfig) -> tuple[str, ...]:
        return ("h.*.attn.bias", "h.*.attn.masked_bias")
