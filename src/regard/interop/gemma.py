"""Gemma: Llama's arithmetic with norms that multiply by 1 + w, embeddings times √d, and heads of a width of their own.

Gemma 2 norms what each step adds as well, bends scores and logits, and looks through a window in every other layer.

Source   Gemma Team 2024, arXiv:2403.08295, §2, and arXiv:2408.00118, §2; names as in `transformers`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from regard.feedforward import Gated
from regard.heads import LanguageHead
from regard.inputs import TokenInput
from regard.interop.base import Architecture, Cut, Values
from regard.interop.bert import ACTIVATIONS
from regard.interop.decoders import ALL, WINDOWED, windows
from regard.interop.llama import ATTENTION, FEEDFORWARD, NORMS, OUTSIDE, UNUSED, decoder, output, tied
from regard.layers import RMSNorm
from regard.model import ModelConfig
from regard.residual import Sandwich
from regard.settings import RegardError

SANDWICH: dict[str, str | Cut] = {
    "decoder.layers.*.residual.norms.0": "model.layers.*.input_layernorm",
    "decoder.layers.*.residual.out_norms.0": "model.layers.*.post_attention_layernorm",
    "decoder.layers.*.residual.norms.1": "model.layers.*.pre_feedforward_layernorm",
    "decoder.layers.*.residual.out_norms.1": "model.layers.*.post_feedforward_layernorm",
}


class Gemma(Architecture):
    model_types: ClassVar[tuple[str, ...]] = ("gemma", "gemma2")

    def config(self, values: Values) -> ModelConfig:
        values.only(use_bidirectional_attention=False)
        second = values.text("model_type") == "gemma2"
        attention: dict[str, Any] = {"bias": "all" if values.flag("attention_bias", False) else "none"}
        stack: dict[str, Any] = {
            "norm": RMSNorm(eps=values.number("rms_norm_eps", 1e-6), unit_offset=True),
            "feedforward": Gated(activation=_activation(values)),
        }
        if second:
            attention["scale"] = _scale(values)
            attention["softcap"] = _softcap(values, "attn_logit_softcapping", 50.0)
            stack["residual"] = Sandwich()
            stack["pattern"] = windows(values, values.whole("sliding_window", 4096), (WINDOWED, ALL))
        return decoder(
            values,
            attention,
            stack,
            head_dim=values.whole("head_dim", 256),
            input=TokenInput(scale="sqrt_d_model"),
            head=LanguageHead(
                tied=values.flag("tie_word_embeddings", True),
                softcap=_softcap(values, "final_logit_softcapping", 30.0) if second else None,
            ),
        )

    def names(self, config: ModelConfig) -> dict[str, str | Cut]:
        assert config.decoder is not None
        norms = SANDWICH if isinstance(getattr(config.decoder, "residual", None), Sandwich) else NORMS
        return {**OUTSIDE, **output(config), **ATTENTION, **norms, **FEEDFORWARD}

    def tied(self, config: ModelConfig) -> dict[str, str]:
        return tied(config)

    def unused(self, config: ModelConfig) -> tuple[str, ...]:
        return UNUSED


def _activation(values: Values) -> Any:
    """The first files of Gemma say gelu, and mean its approximation by tanh."""
    name = values.first("hidden_activation", "hidden_act")
    found = values.choice(name, ACTIVATIONS, "gelu_pytorch_tanh")
    return "gelu_tanh" if found == "gelu" and values.text("model_type") == "gemma" else found


def _scale(values: Values) -> float:
    scalar = values.number("query_pre_attn_scalar", 256.0)
    if scalar <= 0:
        raise RegardError(f"{values.where}: query_pre_attn_scalar {scalar} must be above 0.")
    return scalar**-0.5


def _softcap(values: Values, name: str, default: float) -> float | None:
    """Missing is the default, and null is none."""
    return None if name in values.values and not values.has(name) else values.number(name, default)
