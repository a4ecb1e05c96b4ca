"""OLMo 2: Llama's arithmetic, with norms on what each step adds, and queries and keys normed over all heads at once.

Source   OLMo Team 2024, arXiv:2501.00656, §2, eq. 1–2; names as in `transformers`' Olmo2ForCausalLM.
"""

from __future__ import annotations

from typing import ClassVar

from regard.interop.base import Architecture, Cut, Values
from regard.interop.llama import ATTENTION, FEEDFORWARD, OUTSIDE, QK_NORM, decoder, output, tied
from regard.layers import RMSNorm
from regard.model import ModelConfig
from regard.residual import ResPostNorm

NORMS: dict[str, str | Cut] = {
    "decoder.layers.*.residual.norms.0": "model.layers.*.post_attention_layernorm",
    "decoder.layers.*.residual.norms.1": "model.layers.*.post_feedforward_layernorm",
}


class Olmo2(Architecture):
    model_types: ClassVar[tuple[str, ...]] = ("olmo2",)

    def config(self, values: Values) -> ModelConfig:
        norm = RMSNorm(eps=values.number("rms_norm_eps", 1e-5))
        bias = "all" if values.flag("attention_bias", False) else "none"
        return decoder(
            values,
            attention={"bias": bias, "qk_norm": norm, "qk_norm_over": "heads"},
            stack={"norm": norm, "residual": ResPostNorm()},
        )

    def names(self, config: ModelConfig) -> dict[str, str | Cut]:
        return {**OUTSIDE, **output(config), **ATTENTION, **QK_NORM, **NORMS, **FEEDFORWARD}

    def tied(self, config: ModelConfig) -> dict[str, str]:
        return tied(config)
