"""Every mechanism in every family that it can stand in: what the laws run over.

Kinds are read from the folders, so that a new file is found by itself; `VARIANTS` adds settings of theirs
that change the arithmetic.
"""

from __future__ import annotations

import torch

from regard.attention import Attention, Pattern
from regard.feedforward import FeedForward
from regard.inputs import Input
from regard.layers import LayerNorm, Norm, RMSNorm
from regard.model import Cell, Head, Initialisation, ModelConfig, StackConfig, Transformer
from regard.positions import Position
from regard.residual import Residual
from regard.settings import of_layer

FAMILIES = {
    "attention": Attention,
    "pattern": Pattern,
    "position": Position,
    "norm": Norm,
    "feedforward": FeedForward,
    "residual": Residual,
    "input": Input,
    "head": Head,
    "initialisation": Initialisation,
    "cell": Cell,
}

VARIANTS = {
    "attention": {
        "single_head": [{"bias": True}],
        "causal_head": [{"bias": True}],
        "general": [{"scale": 0.7}],
        "latent": [{"kv_rank": 5, "q_rank": 7, "rope_dim": 4, "bias": "all"}],
        "dot": [
            {"softcap": 2.0, "scale": 0.7},
            {"qk_norm": RMSNorm().to_dict()},
            {"qk_norm": RMSNorm().to_dict(), "qk_norm_over": "heads"},
            {"bias": "qkv"},
            {"bias": "none"},
        ],
        "linear": [{"chunk": 4}],
        "performer": [{"chunk": 4, "features": 16, "kernel": "trigonometric", "draw": "independent"}],
        "dpfp": [{"chunk": 4, "nu": 2}],
        "fast_weights": [{"chunk": 4, "features": "dpfp", "nu": 2}],
        "delta": [{"chunk": 4}, {"features": "silu", "chunk": 3, "bias": "none"}],
        "retention": [{"chunk": 4, "bias": "all"}],
        "gated_delta": [{"chunk": 4, "bias": "all"}],
        "linformer": [{"slots": 5, "share": "keys_values"}],
    },
    "pattern": {
        "window": [{"size": 3}],
        "dilated": [{"size": 2, "step": 2}],
        "global": [{"size": 2, "tokens": 2}],
        "bigbird": [{"block": 2, "random": 1}],
    },
    "position": {
        "learned": [{"offset": 2}],
        "sinusoidal": [{"layout": "half"}, {"first": "cosine", "endpoint": True, "offset": 2}],
        "rotary": [
            {"interleaved": True},
            {"fraction": 0.7},
            {"scaling": {"kind": "yarn", "factor": 2.0, "original_length": 100}},
        ],
        "xpos": [{"interleaved": True}],
        "t5": [{"buckets": 8, "max_distance": 10}],
        "shaw": [{"max_distance": 3}, {"values": False}],
        "kerple": [{"variant": "power"}],
        "fire": [{"threshold": 60.0}],
        "cope": [{"positions": 5}],
    },
    "norm": {"layer": [{"bias": False}], "rms": [{"unit_offset": True}]},
    "residual": {"parallel": [{"norms": 2}]},
    "feedforward": {
        "mlp": [{"activation": name} for name in ("relu", "gelu_tanh", "silu", "relu2")] + [{"bias": False}],
        "gated": [{"activation": "gelu"}, {"bias": True}],
        "experts": [
            {"n_experts": 5, "top_k": 3, "score": "sigmoid", "scale": 2.5, "n_shared": 2, "balance_rate": 0.01},
            {"top_k": 1, "renormalise": False, "gated": False, "balance_loss": 0.0},
        ],
    },
    "input": {
        "tokens": [{"scale": "sqrt_d_model"}, {"segments": 2, "norm": LayerNorm().to_dict()}],
        "word_vectors": [{"width": 7, "trained": False}],
        "audio": [{"strides": (2, 2)}, {"strides": (), "features": {"n_mels": 5}}],
    },
    "head": {
        "language": [
            {"tied": False, "bias": True},
            {"scale": 0.5, "softcap": 3.0},
            {"transform": "bert", "bias": True, "norm": RMSNorm().to_dict()},
        ],
        "classify": [
            {"labels": ["a", "b", "c"]},
            {"labels": ["a", "b"], "pooling": "mean", "transform": "tanh", "weights": [1.0, 2.5]},
            {"labels": ["a", "b"], "pooling": "max", "transform": "gelu"},
        ],
        "multilabel": [{"labels": ["a", "b", "c"], "transform": "relu"}],
        "regress": [{"mean": 3.0, "spread": 2.0, "pooling": "mean"}],
        "tag": [{"labels": ["O", "B-x", "I-x"]}],
        "answer": [{"no_answer": True}],
        "embed": [{"normalise": False, "size": 5}, {"pooling": "max"}],
    },
    "initialisation": {"normal": [{"residual": "zero"}, {"residual": "plain"}]},
}

# Sizes without which a kind does not meet every position.
SHAPES = {"differential": {"head_dim": 8}}  # two maps of 4, which rotary positions turn in pairs

VOCAB, CONTEXT = 29, 24


def parts(family: str) -> list[dict]:
    """Every kind of a family with its defaults, then its variants, as plain values."""
    kinds = FAMILIES[family].kinds()
    return [{"kind": kind, **more} for kind in kinds for more in ({}, *VARIANTS.get(family, {}).get(kind, []))]


def label(part: dict) -> str:
    values = (f"{k}={v.get('kind', '…') if isinstance(v, dict) else v}" for k, v in part.items() if k != "kind")
    return "-".join([part["kind"], *values])


def config(where: str, **changes) -> ModelConfig:
    """A small odd-sized model of the family `where`, with some of its parts changed."""
    inner = {k: v for k, v in changes.items() if k in StackConfig.model_fields}
    outer = {k: v for k, v in changes.items() if k not in inner}
    stack = {"n_layers": 2, "residual": "pre", "position": "sinusoidal", **inner}
    if isinstance(stack.get("attention"), dict):
        stack |= SHAPES.get(stack["attention"]["kind"], {})
    decoder = dict(stack)
    if where == "encoder-decoder" and isinstance(inner.get("attention"), dict):
        kind = Attention.kinds()[inner["attention"]["kind"]]
        if "cross" in kind.offers:
            decoder["cross"] = inner["attention"]
    return ModelConfig.from_dict(
        {
            "vocab_size": VOCAB,
            "d_model": 18,
            "n_heads": 3,
            "d_ff": 20,
            "context_length": CONTEXT,
            "encoder": stack if "encoder" in where else None,
            "decoder": decoder if "decoder" in where else None,
            **outer,
        }
    )


NEEDS = {"encoder": {"self"}, "decoder": {"causal"}, "encoder-decoder": {"self", "causal"}}


def fits(where: str, attention: dict, position: dict) -> bool:
    """Whether they may stand there together. (That other pairs are refused is a law of its own.)"""
    needs = Position.kinds()[position["kind"]].needs
    if "causal" in needs and where != "decoder":
        return False
    return NEEDS[where] | (needs - {"causal"}) <= Attention.kinds()[attention["kind"]].offers


def stands(where: str, family: str, part: dict) -> bool:
    """Whether a part may: an encoder's head elsewhere may not, nor one without the labels that it tells apart."""
    kind = FAMILIES[family].kinds()[part["kind"]]
    if family == "head":
        named = "labels" not in kind.model_fields or "labels" in part
        return named and (where == "encoder" or not kind.whole)
    return family != "input" or kind.reads == "ids"


PLAIN = {"kind": "dot"}


def recurrent() -> dict[str, ModelConfig]:
    """Recurrent stacks alone, together, and beside a Transformer's: every cell, order and way to look."""
    listener = {"kind": "recurrent", "n_layers": 2, "bidirectional": True, "cell": "lstm", "pyramid": 1}
    both = {"kind": "recurrent", "n_layers": 2, "bidirectional": True}
    found = {f"decoder recurrent {cell}": {"decoder": {"kind": "recurrent", "cell": cell}} for cell in Cell.kinds()}
    found["encoder recurrent"] = {"encoder": both}
    for encoder, cell, order, cross in (
        (both, "gru", "before", "additive"),
        (listener, "lstm", "fed", "dot"),
        ({"kind": "recurrent"}, "lstm", "after", "general"),
        (both, "gru", "before", "none"),
        ({"n_layers": 1}, "lstm", "before", {"kind": "additive", "bias": "none"}),
    ):
        looks = label(cross) if isinstance(cross, dict) else cross
        name = f"encoder-decoder {encoder.get('kind', 'transformer')} and recurrent {cell} {order} {looks}"
        decoder = {"kind": "recurrent", "n_layers": 2, "cell": cell, "order": order, "cross": cross}
        found[name] = {"encoder": encoder, "decoder": decoder}
    found["encoder-decoder recurrent and transformer"] = {"encoder": both, "decoder": {"n_layers": 1}}
    sizes = {"vocab_size": VOCAB, "d_model": 18, "n_heads": 3, "d_ff": 20, "context_length": CONTEXT, "decoder": None}
    return {name: ModelConfig.from_dict(sizes | stacks) for name, stacks in found.items()}


def doors() -> list[dict]:
    """One position for each set of doors that positions use; whether they look back only makes no difference here."""
    some = [(name, kind) for name, kind in Position.kinds().items() if name != "none"]
    by_doors = {tuple(sorted(kind.needs - {"causal"})): name for name, kind in reversed(some)}
    return [{"kind": by_doors[needs]} for needs in sorted(by_doors, key=lambda needs: (len(needs), needs))]


def meetings(where: str) -> list[tuple[dict, dict]]:
    """Which attention meets which position: the plain one meets all, the others one for each door that they open."""
    found = []
    for attention in parts("attention"):
        every = parts("position") if attention == PLAIN else doors() if len(attention) == 1 else doors()[:1]
        found += [(attention, position) for position in every if fits(where, attention, position)]
    return found


def members() -> dict[str, ModelConfig]:
    """name → settings: attention and position in every family, and every other part in every family."""
    found: dict[str, ModelConfig] = {}
    for where in ("encoder", "decoder", "encoder-decoder"):
        for attention, position in meetings(where):
            name = f"{where} {label(attention)} {label(position)}"
            found[name] = config(where, attention=attention, position=position)
        for family in ("pattern", "norm", "feedforward", "residual", "input", "head"):
            for part in parts(family):
                if stands(where, family, part):
                    found[f"{where} {family} {label(part)}"] = config(where, **{family: part})
        for heads in (1, 3):
            found[f"{where} n_kv_heads={heads} of 6"] = config(
                where, n_heads=6, n_kv_heads=heads, position="rotary", head_dim=4
            )
    for part in parts("input"):
        if Input.kinds()[part["kind"]].reads == "features":
            found[f"encoder-decoder source {label(part)}"] = config("encoder-decoder", source=part)
    found["encoder order"] = config("encoder", order={"weight": 0.5})
    found["encoder-decoder ctc"] = config("encoder-decoder", ctc={"weight": 0.3})
    found["encoder-decoder length"] = config("encoder-decoder", length={"limit": 9})
    found |= recurrent()
    found["decoder layers differ"] = config(
        "decoder",
        pattern=[{"kind": "window", "size": 4}, {"kind": "full"}],
        position=["rotary", "none"],
        feedforward=["gated", "mlp"],
        n_layers=3,
    )
    return found


MEMBERS = members()
DECODERS = {name: c for name, c in MEMBERS.items() if c.decoder is not None}
ENCODERS = {name: c for name, c in MEMBERS.items() if c.family == "encoder"}
TRANSLATORS = {name: c for name, c in MEMBERS.items() if c.family == "encoder-decoder"}


def attentions(config: ModelConfig) -> list[Attention]:
    """The kinds of attention in the first layers of a model."""
    every = [of_layer(getattr(stack, "attention", None), 0) for stack in config.stacks.values()]
    every += [getattr(config.decoder, "cross", None)] if config.family == "encoder-decoder" else []
    return [attention for attention in every if attention is not None]


def rich(config: ModelConfig, seed: int = 0, dtype: torch.dtype = torch.float64) -> Transformer:
    """A model whose every tensor is drawn so large that logits spread by one or more: nothing hides near zero."""
    model = Transformer(config, seed).to(dtype).eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = 0.3 if parameter.dim() > 1 else 0.2
            fresh = torch.randn(parameter.shape, generator=random, dtype=torch.float64) * spread
            if "norm" in name or name.endswith("end.weight"):
                fresh += 1.0
            parameter.copy_(fresh)
    return model


def words(rows: int, length: int, seed: int = 1) -> torch.Tensor:
    """Ids [rows length], the same for the same seed."""
    return torch.randint(VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))


def targets(model: Transformer, rows: int, length: int, seed: int = 7) -> torch.Tensor:
    """What the model's head is to find for `words(rows, length)`."""
    head, random = model.config.head, torch.Generator().manual_seed(seed)
    if head.kind in ("classify", "tag"):
        size = (rows, length) if head.kind == "tag" else (rows,)
        return torch.randint(len(head.labels), size, generator=random)
    if head.kind == "multilabel":
        return torch.randint(2, (rows, len(head.labels)), generator=random).double()
    if head.kind == "regress":
        return torch.randn(rows, generator=random, dtype=torch.float64)
    if head.kind == "answer":
        return torch.randint(length, (rows, 2), generator=random)
    if head.kind == "embed":  # the first half are anchors, and the second what belongs to them
        half = torch.arange(rows // 2)
        return torch.cat([half + rows // 2, torch.full((rows - rows // 2,), -100)])
    return words(rows, length, seed)


def here(output: torch.Tensor, row: int, places: slice | torch.Tensor = slice(None)) -> torch.Tensor:
    """What is said of these places of a row, or of the row where the head speaks of a text as a whole."""
    return output[row, places] if output.dim() == 3 else output[row]


def source(model: Transformer, rows: int, length: int, seed: int = 5) -> torch.Tensor:
    """What the encoder of a translator reads: ids [rows length], or features [rows length f]."""
    reads = model.config.reads("encoder")
    if reads.reads == "ids":
        return words(rows, length, seed)
    random = torch.Generator().manual_seed(seed)
    return torch.randn(rows, length, reads.features.n_mels, generator=random, dtype=torch.float64)


def close(one: torch.Tensor, other: torch.Tensor, tolerance: float = 1e-10) -> None:
    """Fails with the largest difference, relative to the spread, unless both are equal within `tolerance`."""
    assert one.shape == other.shape
    assert torch.isfinite(one).all()
    difference = (one - other).abs().max().item()
    scale = max(1.0, other.abs().max().item())
    assert difference <= tolerance * scale, f"differ by {difference:.2e} at a scale of {scale:.1f}"
