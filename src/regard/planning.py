"""What a model costs, counted before anything runs: parameters, bytes, operations, cache, memory of training.

    forward    Σ over linear maps 2 · d_in · d_out  +  Σ over attention layers 4 · s · h · e     FLOPs a token
    training   3 × forward, or by the rule 6 N + 12 · L · d · T, N all active parameters but positions
    memory     16 N bytes (weights, gradients, AdamW's two moments in float32) + activations

A token looks at all s = T tokens of a full context, causal or not, as the rule and most kernels' counters have it; an
encoder–decoder is counted for one source and one target token, both of full length. Softmax, norms and activations
are left out. Activations are estimated as twice what the linear maps put out, which is about what autograd keeps.

Source   Kaplan et al. 2020, arXiv:2001.08361, §2.1 (6 N); Chowdhery et al. 2022, arXiv:2204.02311, appendix B.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from math import lcm, prod

import torch

from regard.attention import Attention, Mask
from regard.heads import Embed
from regard.heads.pooling import Pooled
from regard.layers import Linear, Linears
from regard.model import Encoded, LanguageHead, ModelConfig, RecurrentConfig, StackConfig, Transformer
from regard.settings import of_layer

BYTES = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "int4": 0.5}

PARTS = ("embedding", "positions", "attention", "feed-forward", "norms", "head")


@dataclass(frozen=True)
class Plan:
    """What a model costs. Counts are exact unless their line says estimate; `print` it to read it."""

    config: ModelConfig
    parameters: dict[str, int]
    """By part; a shared table is counted once, where it is an embedding."""
    active: int
    """Parameters that one token meets: fewer than all where it chooses among experts."""
    feedforward_of_layer: dict[str, float]
    """The feed-forward share of the parameters of a stack's layers, by stack."""
    matmul_flops: int
    """Of the linear maps, forward, a token."""
    attention_flops: int
    """Of scores and mixtures, forward, a token in a full context."""
    rule_flops: int
    """Training by the rule 6 N + 12 L d T, a token; N are the active parameters."""
    cache_values: int
    """Numbers that generation keeps for each token seen."""
    state_values: int
    """Numbers that generation keeps whatever the length."""
    activation_values: int
    """Numbers that training keeps a token; an estimate."""

    @property
    def total(self) -> int:
        """The number of parameters."""
        return sum(self.parameters.values())

    @property
    def forward_flops(self) -> int:
        """FLOPs of reading one token."""
        return self.matmul_flops + self.attention_flops

    @property
    def training_flops(self) -> int:
        """FLOPs of training on one token: the backward pass does each product twice."""
        return 3 * self.forward_flops

    def weight_bytes(self, dtype: str = "float32") -> int:
        return round(self.total * BYTES[dtype])

    def cache_bytes(self, tokens: int = 1, dtype: str = "float32") -> int:
        """Memory of the cache of one sequence of so many tokens."""
        return round((self.cache_values * tokens + self.state_values) * BYTES[dtype])

    def training_bytes(self, batch: int = 1, context: int | None = None, dtype: str = "float32") -> int:
        """Memory of a training step with AdamW, an estimate. `dtype` is that of the activations."""
        tokens = batch * (context or self.config.context_length)
        return round(16 * self.total + self.activation_values * tokens * BYTES[dtype])

    def __str__(self) -> str:
        return "\n".join([*_settings(self.config), "", *self._parameters(), "", *self._costs()])

    def _parameters(self) -> list[str]:
        lines = [f"{'parameters':<16}{self.total:>16,}"]
        if self.active != self.total:
            lines.append(f"{'active a token':<16}{self.active:>16,}{self.active / self.total:>8.1%}")
        for part, count in self.parameters.items():
            note = ""
            if part == "feed-forward" and count:
                shares = {f"{share:.1%}" for share in self.feedforward_of_layer.values()}
                named = [f"{share:.1%} of a layer of the {name}" for name, share in self.feedforward_of_layer.items()]
                note = f"{shares.pop()} of a layer" if len(shares) == 1 else ", ".join(named)
            elif part == "head" and isinstance(self.config.head, LanguageHead) and self.config.head.tied:
                note = "tied to the embedding"
            lines.append(f"  {part:<14}{count:>16,}{count / self.total:>8.1%}  {note}".rstrip())
        return lines

    def _costs(self) -> list[str]:
        context = self.config.context_length
        lines = [
            _line("weights", ", ".join(f"{_bytes(self.weight_bytes(dtype))} in {dtype}" for dtype in BYTES)),
            _line(
                "FLOPs a token",
                f"{_count(self.forward_flops)} forward ({_count(self.matmul_flops)} linear maps + "
                f"{_count(self.attention_flops)} attention over {context:,} tokens)",
            ),
            _line(
                "",
                f"{_count(self.training_flops)} training (the rule 6N + 12LdT says {_count(self.rule_flops)})",
            ),
        ]
        if self.config.decoder is not None:
            lines.append(
                _line(
                    "cache a token",
                    f"{_bytes(self.cache_bytes())} in float32, {_bytes(self.cache_bytes(dtype='bfloat16'))} in "
                    f"bfloat16; {_bytes(self.cache_bytes(context, 'bfloat16'))} for a full context in bfloat16",
                )
            )
        lines.append(
            _line(
                "training",
                f"{_bytes(16 * self.total)} for weights, gradients and AdamW, and about "
                f"{_bytes(self.training_bytes() - 16 * self.total)} for each sequence of {context:,} tokens",
            )
        )
        return lines


def plan(config: ModelConfig) -> Plan:
    """Count what the model of these settings costs; nothing is allocated."""
    with torch.device("meta"):
        model = Transformer(config)
    parameters = dict.fromkeys(PARTS, 0)
    layers: dict[str, dict[str, int]] = {name: dict.fromkeys(PARTS, 0) for name in config.stacks}
    for name, parameter in model.named_parameters():
        part = _part(name)
        parameters[part] = parameters.get(part, 0) + parameter.numel()
        if ".layers." in name:
            of_stack = layers[name.split(".")[0]]
            of_stack[part] = of_stack.get(part, 0) + parameter.numel()

    length = config.context_length
    shapes: list[tuple[int, ...]] = []  # of the matrices that a token goes through
    seldom, idle = 0, 0
    for name, module in model.named_modules():
        if isinstance(module, Linear):
            shapes.append(tuple(module.matrix().shape))
            seldom += round(2 * prod(shapes[-1]) * (1 - _share(config, name)))
        elif isinstance(module, Linears):
            count, *shape = module.matrix().shape
            shapes += module.used * [tuple(shape)]
            idle += (count - module.used) * prod(shape)
    if isinstance(config.head, LanguageHead) and config.head.tied:
        x = torch.empty(1, config.d_model, device="meta")
        x, table = model.last_stack.input.tokens.tied(x)
        shapes.append(tuple(table.shape))
        if x.shape[1] != config.d_model:  # it comes down to the width of the table
            shapes.append((x.shape[1], config.d_model))

    attention, width, words = 0, 0, 0
    for name, stack in config.stacks.items():
        vocab_size = config.output_vocab_size if name == "decoder" else config.vocab_size
        words += config.reads(name).flops(vocab_size, config.sizes(name))
        seen = _share(config, f"{name}.cross.attention.k")
        for layer in range(stack.n_layers):
            sizes = config.sizes(name, layer)
            for mechanism in _attentions(config, name, layer):
                attention += mechanism.flops(sizes, length, round(length * seen)) // length
                width += sizes.n_heads * sizes.head_dim

    cache_values, state_values = _cache(config) if config.decoder is not None else (0, 0)
    positions = parameters["positions"]
    return Plan(
        config=config,
        parameters=parameters,
        active=sum(parameters.values()) - idle,
        feedforward_of_layer={
            name: of["feed-forward"] / sum(of.values()) for name, of in layers.items() if any(of.values())
        },
        matmul_flops=words + sum(2 * prod(shape) for shape in shapes) - seldom,
        attention_flops=attention,
        rule_flops=6 * (sum(parameters.values()) - idle - positions) + 12 * width * length,
        cache_values=cache_values,
        state_values=state_values,
        activation_values=sum(2 * shape[0] for shape in shapes),
    )


def _attentions(config: ModelConfig, name: str, layer: int) -> list[Attention]:
    """What looks around in a layer; a recurrent decoder looks in one of its layers."""
    stack, reads = config.stacks[name], name == "decoder" and config.encoder is not None
    if isinstance(stack, RecurrentConfig):
        return [stack.cross] if reads and stack.cross is not None and layer == 0 else []
    assert isinstance(stack, StackConfig)
    return [of_layer(stack.attention, layer), *([stack.cross] if reads else [])]


def _share(config: ModelConfig, name: str) -> float:
    """How many times a token goes through a linear map: once, but where a pyramid has joined it with its neighbours."""
    steps, encoder = name.split("."), config.encoder
    once = isinstance(config.head, Pooled | Embed) and steps[0] == "head"
    if once or steps[1:] == ["start"] or steps[0] in ("length", "order"):
        return 1 / config.context_length
    if not isinstance(encoder, RecurrentConfig):
        return 1.0
    single = encoder.n_layers - encoder.pyramid
    if steps[:2] == ["encoder", "layers"]:
        return 0.5 ** max(0, int(steps[2]) - single + 1)
    return 0.5**encoder.pyramid if "cross" in steps and steps[-1] in ("k", "v") else 1.0


def _part(name: str) -> str:
    """Which part a parameter belongs to, by its name."""
    steps = name.split(".")
    if steps[0] in ("head", "ctc", "length", "order"):
        return "head"
    if "cell" in steps or "backwards" in steps or steps[1] in ("start", "cross"):
        return "attention" if "attention" in steps else "recurrent"
    if steps[1] == "input":
        return "norms" if steps[2] == "norm" else "embedding"
    if steps[1] == "layers":
        return {"attention": "attention", "cross": "attention", "feedforward": "feed-forward"}.get(steps[3], "norms")
    return "positions" if steps[1] == "positions" else "norms"


def _cache(config: ModelConfig) -> tuple[int, int]:
    """How many numbers the cache holds a token, and beside them; measured on the caches of one and of two tokens.

    Layers that repeat keep the same, so a model of one round of the decoder's layers is enough.
    """
    stack = config.decoder
    assert stack is not None
    round_ = stack.n_layers
    if isinstance(stack, StackConfig):
        round_ = lcm(*(len(part) for part in (stack.attention, stack.position) if isinstance(part, tuple)))
    encoder = RecurrentConfig() if config.encoder is not None else None  # any will do
    with torch.device("meta"):
        model = Transformer(config.replace(encoder=encoder, decoder=stack.replace(n_layers=round_)))

    def values(tokens: int) -> int:
        ids = torch.zeros(1, tokens, dtype=torch.long, device="meta")
        cache = model.cache(1)
        encoded = Encoded(torch.zeros(1, tokens, config.d_model, device="meta"), Mask()) if encoder else None
        with torch.no_grad():
            model.hidden(ids, cache=cache, encoded=encoded)
        kept = zip_longest(
            (entry.bytes for entry in cache.entries), (memory.bytes for memory in cache.memories), fillvalue=0
        )
        every = [sum(both) // 4 for both in kept]
        return sum(every[layer % round_] for layer in range(stack.n_layers))

    one, two = values(1), values(2)
    return two - one, 2 * one - two


def _settings(config: ModelConfig) -> list[str]:
    """The key variables, one a line."""
    vocabulary = f"{config.vocab_size:,}"
    if config.target_vocab_size is not None:
        vocabulary += f", target {config.target_vocab_size:,}"
    lines = [
        _line("family", config.family),
        _line("vocabulary", vocabulary),
        _line("d_model", f"{config.d_model:,}"),
        _line("context", f"{config.context_length:,} tokens"),
    ]
    for name, stack in config.stacks.items():
        sizes = config.sizes(name)
        if isinstance(stack, RecurrentConfig):
            reads = name == "decoder" and config.encoder is not None
            lines += _recurrent(name, stack, reads)
            continue
        assert isinstance(stack, StackConfig)
        shared = f" sharing {sizes.n_kv_heads} key-value heads" if sizes.n_kv_heads != sizes.n_heads else ""
        lines += [
            _line(name, f"{stack.n_layers} layers of {sizes.n_heads} heads of {sizes.head_dim}{shared}"),
            _line("", f"attention {_kinds(stack.attention)}, positions {_kinds(stack.position)}"),
            _line("", f"feed-forward {sizes.d_ff:,} wide, {_kinds(stack.feedforward)}"),
            _line("", f"norm {_kinds(stack.norm)}, residual {_kinds(stack.residual)}"),
        ]
    if config.head.whole:
        labels = getattr(config.head, "labels", ())
        some = ", ".join(labels[:8]) + (f" … ({len(labels):,})" if len(labels) > 8 else "")
        lines.append(_line("head", f"{config.head.kind}: {some}" if labels else config.head.kind))
    return lines


def _recurrent(name: str, stack: RecurrentConfig, reads: bool) -> list[str]:
    """The key variables of a recurrent stack."""
    ways = ", in both directions" if stack.bidirectional else ""
    pairs = f", the upper {stack.pyramid} reading pairs" if stack.pyramid else ""
    lines = [_line(name, f"{stack.n_layers} layers of {stack.cell.kind} cells{ways}{pairs}")]
    if reads:
        when = {
            "before": "before each step",
            "after": "after each step",
            "fed": "after each step, and fed into the next",
        }
        looks = "none" if stack.cross is None else f"{_kinds(stack.cross)}, {when[stack.order]}"
        lines.append(_line("", f"attention {looks}"))
    return lines


def _kinds(part: object) -> str:
    """What stands in a setting, from layer to layer: its kind, and what differs from the kind's defaults."""

    def one(part: object) -> str:
        given = part.model_dump(exclude_defaults=True)  # type: ignore[attr-defined]
        changes = ", ".join(f"{key} {value}" for key, value in given.items() if key != "kind")
        return f"{part.kind} ({changes})" if changes else part.kind  # type: ignore[attr-defined]

    return " / ".join(one(each) for each in part) if isinstance(part, tuple) else one(part)


def _line(name: str, value: str) -> str:
    return f"{name:<16}{value}"


def _count(number: float) -> str:
    """A large number in three digits: 285 M."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g}"


def _bytes(number: float) -> str:
    """Bytes in three digits, in powers of ten: 498 MB."""
    return f"{_count(number)}B" if number >= 1e3 else f"{number:.0f} B"
