"""GPT-NeoX and Pythia: attention and feed-forward side by side, a norm each, a quarter of each head turned.

The queries, keys and values of a head stand together in one map, head after head.

Source   Black et al. 2022, arXiv:2204.06745, §2; names as in `transformers`' GPTNeoXForCausalLM.
"""

from __future__ import annotations

from typing import Any, ClassVar

from regard.attention import Dot
from regard.feedforward import MLP
from regard.heads import LanguageHead
from regard.interop.base import Architecture, Cut, Values
from regard.interop.bert import ACTIVATIONS
from regard.interop.decoders import check_causal, is_tied, rotary
from regard.layers import LayerNorm
from regard.model import ModelConfig, StackConfig
from regard.model.initialisation import Normal
from regard.residual import Parallel, PreNorm

NAMES: dict[str, str | Cut] = {
    "decoder.input.tokens": "embed_in",
    "decoder.layers.*.residual.norms.0": "layers.*.input_layernorm",
    "decoder.layers.*.residual.norms.1": "layers.*.post_attention_layernorm",
    "decoder.layers.*.attention.o": "layers.*.attention.dense",
    "decoder.layers.*.feedforward.up": "layers.*.mlp.dense_h_to_4h",
    "decoder.layers.*.feedforward.down": "layers.*.mlp.dense_4h_to_h",
    "decoder.end": "final_layer_norm",
}


class GPTNeoX(Architecture):
    model_types: ClassVar[tuple[str, ...]] = ("gpt_neox",)
    prefix: ClassVar[str] = "gpt_neox."

    def config(self, values: Values) -> ModelConfig:
        check_causal(values)
        activation: Any = values.choice("hidden_act", ACTIVATIONS, "gelu")
        return ModelConfig(
            vocab_size=values.whole("vocab_size"),
            d_model=values.whole("hidden_size"),
            n_heads=values.whole("num_attention_heads"),
            d_ff=values.whole("intermediate_size"),
            context_length=values.whole("max_position_embeddings", 2048),
            dropout=values.number("hidden_dropout", 0.0),
            decoder=StackConfig(
                n_layers=values.whole("num_hidden_layers"),
                attention=Dot(
                    bias="all" if values.flag("attention_bias", True) else "none",
                    dropout=values.number("attention_dropout", 0.0),
                ),
                position=rotary(values, values.number("rotary_emb_base", 10_000.0), values.number("rotary_pct", 0.25)),
                feedforward=MLP(activation=activation),
                norm=LayerNorm(eps=values.number("layer_norm_eps", 1e-5)),
                residual=Parallel(norms=2) if values.flag("use_parallel_residual", True) else PreNorm(),
            ),
            head=LanguageHead(tied=values.flag("tie_word_embeddings", False)),
            initialisation=Normal(std=values.number("initializer_range", 0.02), residual="plain"),
        )

    def names(self, config: ModelConfig) -> dict[str, str | Cut]:
        own = {} if is_tied(config) else {"head.output": "embed_out"}
        return {**NAMES, **own, **qkv(config, "layers.*.attention.query_key_value")}

    def tied(self, config: ModelConfig) -> dict[str, str]:
        return {"embed_out.weight": "embed_in.weight"} if is_tied(config) else {}

    def unused(self, config: ModelConfig) -> tuple[str, ...]:
        return tuple(f"layers.*.attention.{name}" for name in ("bias", "masked_bias", "rotary_emb.inv_freq"))


def qkv(config: ModelConfig, name: str) -> dict[str, str | Cut]:
    """One map for the queries, keys and values of each head, head after head."""
    return {
        f"decoder.layers.*.attention.{letter}": Cut(name, part, of=3, groups=config.n_heads)
        for part, letter in enumerate("qkv")
    }
