"""BERT: an encoder with learned positions and segments, a norm on their sum, and norms after each addition.

Source   Devlin et al. 2018, arXiv:1810.04805, §3; names as in `transformers`' BertModel and its heads.
"""

from __future__ import annotations

from typing import Any, ClassVar

from regard.attention import Dot
from regard.feedforward import MLP
from regard.heads import LanguageHead
from regard.inputs import TokenInput
from regard.interop.base import Architecture, Cut, Values
from regard.interop.tasks import head
from regard.layers import LayerNorm
from regard.model import ModelConfig, StackConfig
from regard.model.initialisation import Normal
from regard.positions import Learned
from regard.residual import PostNorm
from regard.settings import RegardError

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}

ENCODER = {
    "encoder.input.tokens": "embeddings.word_embeddings",
    "encoder.input.segments": "embeddings.token_type_embeddings",
    "encoder.input.norm": "embeddings.LayerNorm",
    "encoder.positions.0.table": "embeddings.position_embeddings",
    "encoder.layers.*.attention.q": "encoder.layer.*.attention.self.query",
    "encoder.layers.*.attention.k": "encoder.layer.*.attention.self.key",
    "encoder.layers.*.attention.v": "encoder.layer.*.attention.self.value",
    "encoder.layers.*.attention.o": "encoder.layer.*.attention.output.dense",
    "encoder.layers.*.residual.norms.0": "encoder.layer.*.attention.output.LayerNorm",
    "encoder.layers.*.feedforward.up": "encoder.layer.*.intermediate.dense",
    "encoder.layers.*.feedforward.down": "encoder.layer.*.output.dense",
    "encoder.layers.*.residual.norms.1": "encoder.layer.*.output.LayerNorm",
}

POOLED = {"head.dense": "pooler.dense", "head.output": "classifier"}

HEADS = {
    "language": {
        "head.dense": "cls.predictions.transform.dense",
        "head.norm": "cls.predictions.transform.LayerNorm",
        "head.bias": "cls.predictions.bias",
    },
    "classify": POOLED,
    "multilabel": POOLED,
    "regress": POOLED,
    "tag": {"head.output": "classifier"},
    "answer": {"head.output": "qa_outputs"},
    "embed": {},
}

TIED = {
    "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


class Bert(Architecture):
    model_types: ClassVar[tuple[str, ...]] = ("bert",)
    prefix: ClassVar[str] = "bert."

    def config(self, values: Values) -> ModelConfig:
        config = encoder(values, offset=0)
        if config.head.kind == "language" and values.text("hidden_act", "gelu") != "gelu":
            raise RegardError(f"{values.where}: words are predicted through hidden_act gelu here, and no other.")
        return config

    def names(self, config: ModelConfig) -> dict[str, str | Cut]:
        return {**ENCODER, **HEADS[config.head.kind]}

    def tied(self, config: ModelConfig) -> dict[str, str]:
        return TIED if config.head.kind == "language" else {}

    def unused(self, config: ModelConfig) -> tuple[str, ...]:
        pooler = () if config.head.kind in ("classify", "multilabel", "regress") else ("pooler.*",)
        return ("embeddings.position_ids", "cls.seq_relationship.*", *pooler)


def encoder(values: Values, offset: int) -> ModelConfig:
    """BERT's arithmetic, with positions that begin at row `offset` of their table."""
    values.only(position_embedding_type="absolute", is_decoder=False, add_cross_attention=False)
    norm = LayerNorm(eps=values.number("layer_norm_eps", 1e-12))
    dropout = values.number("hidden_dropout_prob", 0.1)
    language = LanguageHead(bias=True, transform="bert", norm=norm)
    of_head = values.number("classifier_dropout", dropout)
    activation: Any = values.choice("hidden_act", ACTIVATIONS, "gelu")
    return ModelConfig(
        vocab_size=values.whole("vocab_size"),
        d_model=values.whole("hidden_size"),
        n_heads=values.whole("num_attention_heads"),
        d_ff=values.whole("intermediate_size"),
        context_length=values.whole("max_position_embeddings") - offset,
        dropout=dropout,
        input=TokenInput(segments=values.whole("type_vocab_size", 2), norm=norm),
        encoder=StackConfig(
            n_layers=values.whole("num_hidden_layers"),
            attention=Dot(dropout=values.number("attention_probs_dropout_prob", 0.1)),
            position=Learned(offset=offset),
            feedforward=MLP(activation=activation),
            norm=norm,
            residual=PostNorm(),
        ),
        decoder=None,
        head=head(values, language, transform="tanh", dropout=of_head),
        initialisation=Normal(std=values.number("initializer_range", 0.02), residual="plain"),
    )
