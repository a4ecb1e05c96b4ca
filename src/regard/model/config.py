"""The settings of a model: one encoder stack, one decoder stack, or both. Which exist is the family.

Sizes that parts share stand here; a stack may override them (None takes the model's).
"""

from __future__ import annotations

from collections.abc import Set
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from regard.attention import Attention, Dot, Full, Pattern
from regard.attention.base import OFFERS
from regard.feedforward import MLP, FeedForward
from regard.inputs import Input, TokenInput
from regard.layers import LayerNorm, Norm, Sizes
from regard.model.heads import Head, LanguageHead
from regard.model.initialisation import Initialisation, Normal
from regard.positions import Position, Sinusoidal
from regard.residual import PostNorm, Residual
from regard.settings import PerLayer, Settings, SettingsError, of_layer

# Bounds keep every product of sizes countable, and a hostile file from building layers without end.
Width = Annotated[int, Field(ge=1, le=2**24)]
Number = Annotated[int, Field(ge=1, le=2**12)]
Vocabulary = Annotated[int, Field(ge=1, le=2**32)]
Context = Annotated[int, Field(ge=1, le=2**31)]


class StackConfig(Settings):
    """A stack of equal layers. A tuple of parts repeats down the stack: `pattern=(Window(size=256), Full())`."""

    n_layers: Number = 12
    attention: PerLayer[Attention] = Dot()
    pattern: PerLayer[Pattern] = Full()
    cross: Attention = Dot()
    position: PerLayer[Position] = Sinusoidal()
    feedforward: PerLayer[FeedForward] = MLP(activation="relu")
    norm: Norm = LayerNorm()
    residual: Residual = PostNorm()
    n_heads: Number | None = None
    n_kv_heads: Number | None = None
    head_dim: Width | None = None
    d_ff: Width | None = None
    dropout: float | None = Field(None, ge=0, lt=1)


class ModelConfig(Settings):
    """A whole model. The defaults are the 2017 decoder; presets hold published recipes."""

    vocab_size: Vocabulary
    target_vocab_size: Vocabulary | None = None
    d_model: Width = 512
    n_heads: Number = 8
    n_kv_heads: Number | None = None
    head_dim: Width | None = None
    d_ff: Width | None = None
    context_length: Context = 1024
    target_context_length: Context | None = None
    dropout: float = Field(0.0, ge=0, lt=1)
    input: Input = TokenInput()
    source: Input | None = None
    """How the encoder of an encoder–decoder reads; None: as the decoder does."""
    encoder: StackConfig | None = None
    decoder: StackConfig | None = StackConfig()
    head: Head = LanguageHead()
    initialisation: Initialisation = Normal()

    @property
    def family(self) -> Literal["encoder", "decoder", "encoder-decoder"]:
        if self.encoder is not None and self.decoder is not None:
            return "encoder-decoder"
        return "encoder" if self.encoder is not None else "decoder"

    @property
    def output_vocab_size(self) -> int:
        return self.target_vocab_size or self.vocab_size

    @property
    def stacks(self) -> dict[str, StackConfig]:
        """The stacks that exist, by name."""
        named = {"encoder": self.encoder, "decoder": self.decoder}
        return {name: stack for name, stack in named.items() if stack is not None}

    def reads(self, name: str) -> Input:
        """The input of the stack `name`."""
        return self.source if name == "encoder" and self.source is not None else self.input

    def sizes(self, name: str, layer: int = 0) -> Sizes:
        """The resolved sizes of layer number `layer` of the stack `name`."""
        stack = self.stacks[name]
        n_heads = stack.n_heads or self.n_heads
        feedforward = of_layer(stack.feedforward, layer)
        context = self.target_context_length if name == "decoder" and self.encoder is not None else None
        return Sizes(
            d_model=self.d_model,
            n_heads=n_heads,
            n_kv_heads=stack.n_kv_heads or self.n_kv_heads or n_heads,
            head_dim=stack.head_dim or self.head_dim or self.d_model // n_heads,
            d_ff=stack.d_ff or self.d_ff or feedforward.width(self.d_model),
            context_length=context or self.context_length,
            dropout=self.dropout if stack.dropout is None else stack.dropout,
            layer=layer,
            depth=stack.n_layers,
            other_depth=sum(other.n_layers for other in self.stacks.values()) - stack.n_layers,
            causal=name == "decoder",
            place=f"{name}.{layer}",
        )

    @model_validator(mode="after")
    def _check(self) -> Any:
        if not self.stacks:
            raise SettingsError("a model needs an encoder, a decoder, or both, and this one has neither")
        if self.target_vocab_size is not None and self.family != "encoder-decoder":
            raise SettingsError("target_vocab_size is for an encoder with a decoder; this model has one stack")
        if self.source is not None and self.family != "encoder-decoder":
            raise SettingsError("source is for an encoder with a decoder; this model has one stack, which reads input")
        for name, stack in self.stacks.items():
            sizes = self.sizes(name)
            if not (stack.head_dim or self.head_dim) and self.d_model % sizes.n_heads:
                raise SettingsError(
                    f"d_model {self.d_model} cannot be split into {sizes.n_heads} heads of equal size: "
                    "change n_heads or set head_dim"
                )
            if sizes.n_heads % sizes.n_kv_heads:
                raise SettingsError(
                    f"{sizes.n_heads} heads cannot share {sizes.n_kv_heads} key-value heads equally: "
                    "n_kv_heads must divide n_heads"
                )
            needs = {"causal"} if name == "decoder" else {"self"}
            for layer in range(stack.n_layers):
                self._check_layer(name, stack, layer, needs)
            if self.family == "encoder-decoder" and name == "decoder":
                self._refuse(stack.cross, {"cross"}, "cannot be cross-attention")
                stack.cross.check(sizes)
        return self

    def _check_layer(self, name: str, stack: StackConfig, layer: int, needs: set[str]) -> None:
        attention, position = of_layer(stack.attention, layer), of_layer(stack.position, layer)
        pattern = of_layer(stack.pattern, layer)
        self._refuse(attention, needs, f"cannot stand in {'an' if name == 'encoder' else 'a'} {name}")
        self._refuse(attention, position.needs - {"causal"}, f"does not go with {position.kind} positions")
        if "causal" in position.needs and name != "decoder":
            raise SettingsError(f"{position.kind} positions count what came before, so they stand in a decoder only")
        if not isinstance(pattern, Full):
            self._refuse(attention, {"patterns"}, f"does not go with a {pattern.kind} pattern")
        sizes = self.sizes(name, layer)
        attention.check(sizes)
        position.check(attention.doors(sizes))
        of_layer(stack.feedforward, layer).check(sizes)

    def _refuse(self, attention: Attention, needs: Set[str], where: str) -> None:
        missing = needs - attention.offers
        if missing:
            raise SettingsError(f"{attention.kind} attention {where}: it cannot {OFFERS[min(missing)]}")
