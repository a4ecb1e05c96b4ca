"""The settings of a model: one encoder stack, one decoder stack, or both. Which exist is the family.

A stack has a Transformer's layers unless it says `kind = "recurrent"`. Sizes that parts share stand in the model; a
stack may override them (None takes the model's).
"""

from __future__ import annotations

from collections.abc import Set
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from regard.attention import Attention, Dot, Full, Pattern
from regard.attention.base import OFFERS
from regard.feedforward import MLP, FeedForward
from regard.heads import Head, LanguageHead
from regard.heads.ctc import CTC
from regard.heads.length import Length
from regard.heads.order import Order
from regard.inputs import Input, TokenInput
from regard.layers import LayerNorm, Norm, Sizes
from regard.model.base import AnyStack, Number, Width
from regard.model.initialisation import Initialisation, Normal
from regard.model.recurrent import RecurrentConfig
from regard.positions import Position, Sinusoidal
from regard.residual import PostNorm, Residual
from regard.settings import PerLayer, Settings, SettingsError, of_layer

Vocabulary = Annotated[int, Field(ge=1, le=2**32)]
Context = Annotated[int, Field(ge=1, le=2**31)]


class StackConfig(AnyStack, kind="transformer"):
    """A stack of equal layers. A tuple of parts repeats down the stack: `pattern=(Window(size=256), Full())`."""

    attention: PerLayer[Attention] = Dot()
    pattern: PerLayer[Pattern] = Full()
    cross: Attention = Dot()
    position: PerLayer[Position] = Sinusoidal()
    feedforward: PerLayer[FeedForward] = MLP(activation="relu")
    norm: Norm = LayerNorm()
    residual: Residual = PostNorm()
    n_kv_heads: Number | None = None
    head_dim: Width | None = None
    d_ff: Width | None = None


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
    encoder: AnyStack | None = None
    decoder: AnyStack | None = StackConfig()
    head: Head = LanguageHead()
    initialisation: Initialisation = Normal()
    ctc: CTC | None = None
    """CTC on the encoder's output, beside the decoder's loss."""
    length: Length | None = None
    """What says how long the output will be, for decoding in parallel."""
    order: Order | None = None
    """What says, beside an encoder's hidden words, whether two texts follow one another."""

    @property
    def family(self) -> Literal["encoder", "decoder", "encoder-decoder"]:
        if self.encoder is not None and self.decoder is not None:
            return "encoder-decoder"
        return "encoder" if self.encoder is not None else "decoder"

    @property
    def output_vocab_size(self) -> int:
        return self.target_vocab_size or self.vocab_size

    @property
    def stacks(self) -> dict[str, AnyStack]:
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
        n_kv_heads, head_dim, d_ff = n_heads, self.d_model // n_heads, self.d_model
        if isinstance(stack, StackConfig):
            n_kv_heads = stack.n_kv_heads or self.n_kv_heads or n_heads
            head_dim = stack.head_dim or self.head_dim or head_dim
            d_ff = stack.d_ff or self.d_ff or of_layer(stack.feedforward, layer).width(self.d_model)
        context = self.target_context_length if name == "decoder" and self.encoder is not None else None
        return Sizes(
            d_model=self.d_model,
            n_heads=n_heads,
            n_kv_heads=n_kv_heads,
            head_dim=head_dim,
            d_ff=d_ff,
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
        if self.ctc is not None and self.family != "encoder-decoder":
            raise SettingsError("ctc stands beside a decoder that reads an encoder; this model has one stack")
        if self.length is not None:
            self._check_length(self.length)
        if self.head.whole and self.family != "encoder":
            raise SettingsError(
                f"the head {self.head.kind} reads a whole text, so it stands on an encoder, and this model is "
                f"{'a decoder' if self.family == 'decoder' else 'an encoder with a decoder'}"
            )
        if self.order is not None and (self.family != "encoder" or self.head.whole):
            raise SettingsError(
                "order stands beside the hidden words of an encoder: set head.kind=language, no decoder"
            )
        if self.input.reads != "ids":
            raise SettingsError(f"{self.input.kind} is what an encoder reads: set source, and let input read ids")
        for name, stack in self.stacks.items():
            sizes = self.sizes(name)
            given = isinstance(stack, StackConfig) and (stack.head_dim or self.head_dim)
            if not given and self.d_model % sizes.n_heads:
                raise SettingsError(
                    f"d_model {self.d_model} cannot be split into {sizes.n_heads} heads of equal size: "
                    "change n_heads or set head_dim"
                )
            if sizes.n_heads % sizes.n_kv_heads:
                raise SettingsError(
                    f"{sizes.n_heads} heads cannot share {sizes.n_kv_heads} key-value heads equally: "
                    "n_kv_heads must divide n_heads"
                )
            if isinstance(stack, RecurrentConfig):
                self._check_recurrent(name, stack)
            elif isinstance(stack, StackConfig):
                for layer in range(stack.n_layers):
                    self._check_layer(name, stack, layer)
            cross = getattr(stack, "cross", None)
            if self.family == "encoder-decoder" and name == "decoder" and cross is not None:
                self._refuse(cross, {"cross"}, "cannot be cross-attention")
                cross.check(sizes)
        return self

    def _check_length(self, length: Length) -> None:
        if self.family != "encoder-decoder":
            raise SettingsError("length is read off an encoder for its decoder; this model has one stack")
        context = self.sizes("decoder").context_length
        if length.limit is not None and length.limit > context:
            raise SettingsError(f"length.limit is {length.limit} and the decoder's context {context}: lower the limit")

    def _check_recurrent(self, name: str, stack: RecurrentConfig) -> None:
        if name == "decoder" and (stack.bidirectional or stack.pyramid):
            what = "bidirectional" if stack.bidirectional else "pyramid"
            raise SettingsError(f"a decoder writes from left to right, a token a step: {what} is for encoders")
        if stack.bidirectional and self.d_model % 2:
            raise SettingsError(f"d_model {self.d_model} cannot be split between two directions: make it even")
        if stack.pyramid > stack.n_layers:
            raise SettingsError(f"pyramid counts {stack.pyramid} of the layers, and there are {stack.n_layers}")
        if stack.pyramid and self.family == "encoder":
            raise SettingsError("pyramid shortens the row, so it is for an encoder that a decoder reads")

    def _check_layer(self, name: str, stack: StackConfig, layer: int) -> None:
        needs = {"causal"} if name == "decoder" else {"self"}
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
