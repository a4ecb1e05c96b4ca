"""Llama, and those that differ from it in a flag: Mistral (windows), Qwen 2 (biases), Qwen 3 (normed queries and keys).

Source   Touvron et al. 2023, arXiv:2302.13971, §2.2; Llama Team 2024, arXiv:2407.21783, §3.2; Jiang et al. 2023,
         arXiv:2310.06825, §2; Yang et al. 2024, arXiv:2407.10671, §2.2; Yang et al. 2025, arXiv:2505.09388, §2;
         names as in `transformers`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from regard.attention import Dot, Full, Pattern, Window
from regard.feedforward import Gated
from regard.heads import LanguageHead
from regard.interop.base import Architecture, Cut, Values
from regard.interop.bert import ACTIVATIONS
from regard.interop.decoders import check_causal, is_tied, late_windows, rotary
from regard.layers import RMSNorm
from regard.model import ModelConfig, StackConfig
from regard.model.initialisation import Normal
from regard.residual import PreNorm

OUTSIDE: dict[str, str | Cut] = {"decoder.input.tokens": "model.embed_tokens", "decoder.end": "model.norm"}

ATTENTION: dict[str, str | Cut] = {
    f"decoder.layers.*.attention.{letter}": f"model.layers.*.self_attn.{letter}_proj" for letter in "qkvo"
}
QK_NORM: dict[str, str | Cut] = {
    f"decoder.layers.*.attention.{letter}_norm": f"model.layers.*.self_attn.{letter}_norm" for letter in "qk"
}
NORMS: dict[str, str | Cut] = {
    "decoder.layers.*.residual.norms.0": "model.layers.*.input_layernorm",
    "decoder.layers.*.residual.norms.1": "model.layers.*.post_attention_layernorm",
}
FEEDFORWARD: dict[str, str | Cut] = {
    f"decoder.layers.*.feedforward.{name}": f"model.layers.*.mlp.{name}_proj" for name in ("gate", "up", "down")
}
UNUSED = ("model.layers.*.self_attn.rotary_emb.inv_freq",)


class Llama(Architecture):
    model_types: ClassVar[tuple[str, ...]] = ("llama", "mistral", "qwen2", "qwen3")

    def config(self, values: Values) -> ModelConfig:
        biased = {"bias": "all" if values.flag("attention_bias", False) else "none"}
        match values.text("model_type"):
            case "mistral":
                return decoder(values, stack={"pattern": everywhere(values)})
            case "qwen2":
                return decoder(values, attention={"bias": "qkv"}, stack={"pattern": late_windows(values)})
            case "qwen3":
                return decoder(
                    values,
                    attention={**biased, "qk_norm": rms(values)},
                    stack={"pattern": late_windows(values)},
                    head_dim=values.whole("head_dim", 128),
                )
        gated = Gated(activation=activation(values), bias=values.flag("mlp_bias", False))
        return decoder(values, attention=biased, stack={"feedforward": gated})

    def names(self, config: ModelConfig) -> dict[str, str | Cut]:
        normed = QK_NORM if has_qk_norm(config) else {}
        return {**OUTSIDE, **output(config), **ATTENTION, **normed, **NORMS, **FEEDFORWARD}

    def tied(self, config: ModelConfig) -> dict[str, str]:
        return tied(config)

    def unused(self, config: ModelConfig) -> tuple[str, ...]:
        return UNUSED


def decoder(
    values: Values,
    attention: dict[str, Any] | None = None,
    stack: dict[str, Any] | None = None,
    base: float = 10_000.0,
    **model: Any,
) -> ModelConfig:
    """Llama's arithmetic, but for these settings of the attention, the stack and the model.

    base: of the rotary positions, where config.json does not say.
    """
    check_causal(values)
    n_heads = values.whole("num_attention_heads")
    layers: dict[str, Any] = {
        "n_layers": values.whole("num_hidden_layers"),
        "attention": Dot(**{"bias": "none", "dropout": values.number("attention_dropout", 0.0), **(attention or {})}),
        "position": rotary(values, base),
        "feedforward": Gated(activation=activation(values)),
        "norm": rms(values),
        "residual": PreNorm(),
    }
    settings: dict[str, Any] = {
        "vocab_size": values.whole("vocab_size"),
        "d_model": values.whole("hidden_size"),
        "n_heads": n_heads,
        "n_kv_heads": values.whole("num_key_value_heads", n_heads),
        "head_dim": values.whole("head_dim") if values.has("head_dim") else None,
        "d_ff": values.whole("intermediate_size"),
        "context_length": values.whole("max_position_embeddings", 2048),
        "head": LanguageHead(tied=values.flag("tie_word_embeddings", False)),
        "initialisation": Normal(std=values.number("initializer_range", 0.02), residual="plain"),
    }
    return ModelConfig(**{**settings, "decoder": StackConfig(**{**layers, **(stack or {})}), **model})


def activation(values: Values) -> Any:
    return values.choice("hidden_act", ACTIVATIONS, "silu")


def rms(values: Values) -> RMSNorm:
    return RMSNorm(eps=values.number("rms_norm_eps", 1e-6))


def everywhere(values: Values) -> Pattern:
    """Mistral's windows, in all layers. Missing is 4096, and null is none."""
    if "sliding_window" in values.values and not values.has("sliding_window"):
        return Full()
    return Window(size=values.whole("sliding_window", 4096))


def has_qk_norm(config: ModelConfig) -> bool:
    stack = config.decoder
    assert isinstance(stack, StackConfig)
    return isinstance(stack.attention, Dot) and stack.attention.qk_norm is not None


def output(config: ModelConfig) -> dict[str, str | Cut]:
    """The head's own matrix, unless it is the input's table."""
    return {} if is_tied(config) else {"head.output": "lm_head"}


def tied(config: ModelConfig) -> dict[str, str]:
    return {"lm_head.weight": "model.embed_tokens.weight"} if is_tied(config) else {}
