"""Mixtral and Qwen 3 with experts: Mistral's and Qwen 3's arithmetic, where each token is sent to a few of many
feed-forwards. On disk each expert is a tensor of its own.

Source   Jiang et al. 2024, arXiv:2401.04088, §2; Yang et al. 2025, arXiv:2505.09388, §2; names as in `transformers`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from regard.attention import Full, Window
from regard.feedforward import Experts
from regard.interop.base import Architecture, Cut, Values
from regard.interop.decoders import late_windows
from regard.interop.llama import (
    ATTENTION,
    NORMS,
    OUTSIDE,
    QK_NORM,
    activation,
    decoder,
    has_qk_norm,
    output,
    rms,
    tied,
)
from regard.layers import RMSNorm
from regard.model import ModelConfig, StackConfig

MIXTRAL = ("block_sparse_moe", {"gate": "w1", "up": "w3", "down": "w2"})
QWEN3 = ("mlp", {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"})


class Mixtral(Architecture):
    model_types: ClassVar[tuple[str, ...]] = ("mixtral", "qwen3_moe")

    def config(self, values: Values) -> ModelConfig:
        return _qwen3(values) if values.text("model_type") == "qwen3_moe" else _mixtral(values)

    def names(self, config: ModelConfig) -> dict[str, str | Cut]:
        normed = has_qk_norm(config)
        place, maps = QWEN3 if normed else MIXTRAL
        stack = config.decoder
        assert isinstance(stack, StackConfig)
        assert isinstance(stack.feedforward, Experts)
        n = stack.feedforward.n_experts
        experts: dict[str, str | Cut] = {
            f"decoder.layers.*.feedforward.{ours}": Cut(f"model.layers.*.{place}.experts.#.{name}", stacked=n)
            for ours, name in maps.items()
        }
        experts["decoder.layers.*.feedforward.router"] = f"model.layers.*.{place}.gate"
        return {**OUTSIDE, **output(config), **ATTENTION, **(QK_NORM if normed else {}), **NORMS, **experts}

    def tied(self, config: ModelConfig) -> dict[str, str]:
        return tied(config)


def _mixtral(values: Values) -> ModelConfig:
    window = Window(size=values.whole("sliding_window")) if values.has("sliding_window") else Full()
    norm = RMSNorm(eps=values.number("rms_norm_eps", 1e-5))
    experts = _experts(values, 8, 2, True)
    return decoder(values, stack={"pattern": window, "norm": norm, "feedforward": experts}, base=1e6)


def _qwen3(values: Values) -> ModelConfig:
    values.only(decoder_sparse_step=1, mlp_only_layers=[])
    bias = "all" if values.flag("attention_bias", False) else "none"
    experts = _experts(values, 128, 8, values.flag("norm_topk_prob", False))
    return decoder(
        values,
        attention={"bias": bias, "qk_norm": rms(values)},
        stack={"pattern": late_windows(values), "feedforward": experts},
        d_ff=values.whole("moe_intermediate_size", 768),
    )


def _experts(values: Values, n: int, k: int, renormalise: bool) -> Experts:
    own: Any = activation(values)
    return Experts(
        n_experts=values.whole(values.first("num_experts", "num_local_experts"), n),
        top_k=values.whole("num_experts_per_tok", k),
        activation=own,
        renormalise=renormalise,
        balance_loss=values.number("router_aux_loss_coef", 0.001),
    )
