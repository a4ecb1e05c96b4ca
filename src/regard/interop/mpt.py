"""MPT: attention that fades with distance (ALiBi), and no bias anywhere.

Source   MosaicML 2023, the model's card of mpt-7b; names as in `transformers`' MptForCausalLM.
"""

from __future__ import annotations

from typing import ClassVar

from regard.attention import Dot
from regard.feedforward import MLP
from regard.heads import LanguageHead
from regard.interop.base import Architecture, Cut, Values
from regard.interop.decoders import check_causal
from regard.layers import LayerNorm
from regard.model import ModelConfig, StackConfig
from regard.model.initialisation import Normal
from regard.positions import ALiBi
from regard.residual import PreNorm

NAMES: dict[str, str | Cut] = {
    "decoder.input.tokens": "wte",
    "decoder.layers.*.residual.norms.0": "blocks.*.norm_1",
    "decoder.layers.*.attention.q": Cut("blocks.*.attn.Wqkv", part=0, of=3),
    "decoder.layers.*.attention.k": Cut("blocks.*.attn.Wqkv", part=1, of=3),
    "decoder.layers.*.attention.v": Cut("blocks.*.attn.Wqkv", part=2, of=3),
    "decoder.layers.*.attention.o": "blocks.*.attn.out_proj",
    "decoder.layers.*.residual.norms.1": "blocks.*.norm_2",
    "decoder.layers.*.feedforward.up": "blocks.*.ffn.up_proj",
    "decoder.layers.*.feedforward.down": "blocks.*.ffn.down_proj",
    "decoder.end": "norm_f",
}


class MPT(Architecture):
    model_types: ClassVar[tuple[str, ...]] = ("mpt",)
    prefix: ClassVar[str] = "transformer."

    def config(self, values: Values) -> ModelConfig:
        check_causal(values)
        values.only(logit_scale=None, no_bias=True, expansion_ratio=4, tie_word_embeddings=True)
        values.only(norm_type="low_precision_layernorm")
        attention = values.part("attn_config")
        attention.only(alibi=True, alibi_bias_max=8, attn_type="multihead_attention")
        attention.only(clip_qkv=None, prefix_lm=False, qk_ln=False, attn_uses_sequence_id=False)
        d_model = values.whole("d_model")
        return ModelConfig(
            vocab_size=values.whole("vocab_size"),
            d_model=d_model,
            n_heads=values.whole("n_heads"),
            d_ff=4 * d_model,
            context_length=values.whole("max_seq_len", 2048),
            dropout=values.number("resid_pdrop", 0.0),
            decoder=StackConfig(
                n_layers=values.whole("n_layers"),
                attention=Dot(
                    bias="none",
                    dropout=attention.number("attn_pdrop", 0.0),
                    scale=attention.number("softmax_scale") if attention.has("softmax_scale") else None,
                ),
                position=ALiBi(),
                feedforward=MLP(activation="gelu", bias=False),
                norm=LayerNorm(eps=values.number("layer_norm_epsilon", 1e-5), bias=False),
                residual=PreNorm(),
            ),
            head=LanguageHead(),
            initialisation=Normal(std=values.number("initializer_range", 0.02), residual="plain"),
        )

    def names(self, config: ModelConfig) -> dict[str, str | Cut]:
        return NAMES

    def tied(self, config: ModelConfig) -> dict[str, str]:
        return {"lm_head.weight": "wte.weight"}
