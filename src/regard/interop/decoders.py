"""What published decoders have in common: what they are for, how they turn positions, and where their windows stand."""

from __future__ import annotations

from typing import Any

from regard.attention import Full, Pattern, Window
from regard.heads import LanguageHead
from regard.interop.base import Values
from regard.model import ModelConfig
from regard.positions import Rotary
from regard.positions.scaling import Linear, Llama3, Scaling, YaRN
from regard.settings import RegardError

MOST_LAYERS = 1 << 12
WINDOWED, ALL = "sliding_attention", "full_attention"


def check_causal(values: Values) -> None:
    """Refuse what config.json says is for anything but writing."""
    named = values.values.get("architectures") or []
    name = str(named[0]) if isinstance(named, list) and named else "…ForCausalLM"
    if not name.endswith(("ForCausalLM", "LMHeadModel")):
        raise RegardError(f"{values.where}: the model is a {name[:60]}, and of decoders a …ForCausalLM can be read.")


def is_tied(config: ModelConfig) -> bool:
    """Whether the head reads the input's table."""
    return isinstance(config.head, LanguageHead) and config.head.tied


def rotary(values: Values, base: float = 10_000.0, fraction: float = 1.0) -> Rotary:
    """Rotary positions as config.json has them: `rope_parameters`, or the older `rope_theta` and `rope_scaling`.

    base, fraction: where it says nothing.
    """
    given = values.part(values.first("rope_parameters", "rope_scaling"))
    return Rotary(
        base=given.number("rope_theta", values.number("rope_theta", base)),
        fraction=given.number("partial_rotary_factor", values.number("partial_rotary_factor", fraction)),
        scaling=_scaling(given, values),
    )


def _scaling(given: Values, values: Values) -> Scaling | None:
    kind = given.text(given.first("rope_type", "type"), "default")
    if kind == "default":
        return None
    if kind not in ("linear", "llama3", "yarn"):
        raise RegardError(
            f"{given.where}: positions scaled by {kind[:40]!r} cannot be expressed here; linear, llama3 and yarn can."
        )
    factor = given.number("factor")
    if kind == "linear":
        return Linear(factor=factor)
    length = given.whole("original_max_position_embeddings", values.whole("max_position_embeddings"))
    if kind == "llama3":
        return Llama3(
            factor=factor,
            original_length=length,
            low=given.number("low_freq_factor"),
            high=given.number("high_freq_factor"),
        )
    size: float | None = None
    if given.has("attention_factor"):
        size = given.number("attention_factor")
    elif given.has("mscale") and given.has("mscale_all_dim"):
        more = YaRN(factor=factor).size - 1
        size = (1 + more * given.number("mscale")) / (1 + more * given.number("mscale_all_dim"))
    return YaRN(
        factor=factor,
        original_length=length,
        beta_fast=given.number("beta_fast", 32.0),
        beta_slow=given.number("beta_slow", 1.0),
        attention=size,
        truncate=given.flag("truncate", True),
    )


def windows(values: Values, size: int | None, otherwise: tuple[str, ...]) -> Pattern | tuple[Pattern, ...]:
    """What each layer sees, as `layer_types` says, or else by turns as `otherwise` says; windows are `size` wide."""
    types = values.values.get("layer_types") or otherwise
    if not isinstance(types, list | tuple) or len(types) > MOST_LAYERS or set(types) - {WINDOWED, ALL}:
        raise RegardError(f"{values.where}: layer_types must list {WINDOWED} or {ALL} for each layer.")
    if WINDOWED in types and size is None:
        raise RegardError(f"{values.where}: sliding_window is missing, and layers that slide need it.")
    seen: dict[Any, Pattern] = {ALL: Full(), WINDOWED: Full() if size is None else Window(size=size)}
    patterns = tuple(seen[one] for one in types)
    return patterns[0] if len(set(types)) == 1 else patterns


def late_windows(values: Values) -> Pattern | tuple[Pattern, ...]:
    """Qwen's: windows, where there are any, from layer `max_window_layers` on."""
    n_layers = min(values.whole("num_hidden_layers"), MOST_LAYERS)
    slides = values.flag("use_sliding_window", False)
    first = min(values.whole("max_window_layers", 28), n_layers) if slides else n_layers
    size = values.whole("sliding_window", 4096) if slides else None
    return windows(values, size, (ALL,) * first + (WINDOWED,) * (n_layers - first))
