"""The model: ids in, logits or a loss out. An encoder stack, a decoder stack, or both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.attention import Cache, Mask
from regard.feedforward.base import FeedForwardModule
from regard.heads.ctc import CTCHead
from regard.heads.length import LengthHead
from regard.heads.losses import Loss
from regard.heads.order import OrderHead
from regard.layers import Table
from regard.model.base import Encoded, StackModule
from regard.model.config import ModelConfig
from regard.model.initialisation import initialise
from regard.model.recurrent import RecurrentConfig, RecurrentStack
from regard.model.stack import Stack
from regard.settings import RegardError


class Transformer(nn.Module):
    """A model built from its settings, its weights drawn from `seed`. To count only, build it on the meta device."""

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.encoder = _stack(config, "encoder", config.vocab_size) if config.encoder is not None else None
        self.decoder = None
        if config.decoder is not None:
            shared = self.encoder is not None and config.target_vocab_size is None and config.source is None
            tokens = self.encoder.input.tokens if shared and self.encoder is not None else None
            self.decoder = _stack(config, "decoder", config.output_vocab_size, tokens)
        last = "decoder" if config.decoder is not None else "encoder"
        sizes = replace(config.sizes(last), place="head")
        self.head = config.head.build(config.output_vocab_size, sizes, self.last_stack.input.tokens)
        self.ctc = CTCHead(config.ctc, config.output_vocab_size, config.d_model) if config.ctc is not None else None
        context = config.sizes(last).context_length
        self.length = LengthHead(config.length, context, config.d_model) if config.length is not None else None
        self.order = OrderHead(config.order, config.d_model) if config.order is not None else None
        initialise(self, config.initialisation, seed)

    @property
    def last_stack(self) -> StackModule:
        """The stack that the head reads."""
        stack = self.decoder if self.decoder is not None else self.encoder
        assert stack is not None
        return stack

    def encode(self, source: Tensor, mask: Mask | None = None) -> Encoded:
        """What the encoder makes of the source, ids [b s] or features [b s f], once for all steps of decoding."""
        if self.encoder is None:
            raise RegardError("this model has no encoder: give it ids, not a source.")
        return self.encoder.encode(source, mask)

    def hidden(
        self,
        ids: Int[Tensor, "b t"],
        *,
        mask: Mask | None = None,
        cache: Cache | None = None,
        encoded: Encoded | None = None,
        segments: Int[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b t d"]:
        """The last layer's output, before the head."""
        if self.config.family == "encoder-decoder" and encoded is None:
            raise RegardError("this model translates: give it source=…, or encoded=model.encode(source).")
        return self.last_stack(ids, mask, cache, encoded, segments)

    def forward(
        self,
        ids: Int[Tensor, "b t"],
        targets: Tensor | None = None,
        *,
        mask: Mask | None = None,
        source: Tensor | None = None,
        source_mask: Mask | None = None,
        encoded: Encoded | None = None,
        cache: Cache | None = None,
        segments: Int[Tensor, "b t"] | None = None,
        order: Int[Tensor, "b"] | None = None,
        **objective: Any,
    ) -> Tensor | Loss:
        """What the head makes of the last layer, such as logits [b t v], or with targets the loss.

        `smoothing=…`, `z_loss=…` go to the head. A decoder is causal by itself; `mask` says the rest: padding,
        documents, a prefix. With a cache, ids continue what it has seen, padded on the right if `mask` has lengths.
        """
        if source is not None:
            encoded = self.encode(source, source_mask)
        x = self.hidden(ids, mask=mask, cache=cache, encoded=encoded, segments=segments)
        result = self.head(x, self.last_stack.input.tokens, targets, mask=mask, **objective)
        if targets is None or not self.training:
            return result
        if self.ctc is not None and encoded is not None:
            result = self.ctc.joined(result, encoded.x, encoded.mask.lengths, targets)
        if self.length is not None and encoded is not None:
            lengths = mask.lengths if mask is not None else None
            result = self.length.joined(result, encoded.x, encoded.mask, lengths)
        if self.order is not None and order is not None:
            result = self.order.joined(result, x, order)
        return self._with_balance(result)

    def _with_balance(self, loss: Loss) -> Loss:
        """The loss with what feed-forwards ask for beside it, in training: that their experts be used alike."""
        for module in self.modules():
            if isinstance(module, FeedForwardModule) and module.balance is not None:
                loss = loss._replace(objective=loss.objective + module.balance * loss.target_count)
                module.balance = None
        return loss

    def cache(self, batch: int, capacity: int | None = None) -> Cache:
        """An empty cache for `batch` rows, of room for `capacity` tokens each (None: it grows)."""
        if self.decoder is None:
            raise RegardError("an encoder sees all of a text at once, so it has nothing to cache.")
        memories = self.decoder.memories() if self.encoder is not None else []
        return Cache(batch, self.decoder.entries(capacity), memories, next(self.parameters()).device)


def _stack(config: ModelConfig, name: str, vocab_size: int, tokens: Table | None = None) -> StackModule:
    kind = RecurrentStack if isinstance(config.stacks[name], RecurrentConfig) else Stack
    return kind(config, name, vocab_size, tokens)
