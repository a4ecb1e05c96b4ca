"""Phi-3: Llama's arithmetic, with queries, keys and values in one map, and both halves of the feed-forward in one.

Source   Abdin et al. 2024, arXiv:2404.14219, §2; names as in `transformers`' Phi3ForCausalLM.
"""

from __future__ import annotations

from typing import ClassVar

from regard.attention import Full, Window
from regard.interop.base import Architecture, Cut, Values
from regard.interop.llama import NORMS, OUTSIDE, decoder, output, tied
from regard.layers import RMSNorm
from regard.model import ModelConfig

REST: dict[str, str | Cut] = {
    "decoder.layers.*.attention.o": "model.layers.*.self_attn.o_proj",
    "decoder.layers.*.feedforward.gate": Cut("model.layers.*.mlp.gate_up_proj", part=0, of=2),
    "decoder.layers.*.feedforward.up": Cut("model.layers.*.mlp.gate_up_proj", part=1, of=2),
    "decoder.layers.*.feedforward.down": "model.layers.*.mlp.down_proj",
}


class Phi3(Architecture):
    model_types: ClassVar[tuple[str, ...]] = ("phi3",)

    def config(self, values: Values) -> ModelConfig:
        window = Window(size=values.whole("sliding_window")) if values.has("sliding_window") else Full()
        return decoder(
            values,
            stack={"pattern": window, "norm": RMSNorm(eps=values.number("rms_norm_eps", 1e-5))},
            dropout=values.number("resid_pdrop", 0.0),
        )

    def names(self, config: ModelConfig) -> dict[str, str | Cut]:
        sizes = config.sizes("decoder")
        heads = (sizes.n_heads, sizes.n_kv_heads, sizes.n_kv_heads)
        qkv: dict[str, str | Cut] = {
            f"decoder.layers.*.attention.{letter}": Cut("model.layers.*.self_attn.qkv_proj", part, of=heads)
            for part, letter in enumerate("qkv")
        }
        return {**OUTSIDE, **output(config), **NORMS, **qkv, **REST}

    def tied(self, config: ModelConfig) -> dict[str, str]:
        return tied(config)
