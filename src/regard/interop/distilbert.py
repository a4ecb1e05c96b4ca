"""DistilBERT: BERT's arithmetic in half the layers, without segments.

Source   Sanh et al. 2019, arXiv:1910.01108, §2; names as in `transformers`' DistilBertModel and its heads. In training
         its own code has no dropout on what attention adds.
"""

from __future__ import annotations

from typing import Any, ClassVar

from regard.attention import Dot
from regard.feedforward import MLP
from regard.heads import LanguageHead
from regard.inputs import TokenInput
from regard.interop.base import Architecture, Cut, Values
from regard.interop.bert import ACTIVATIONS
from regard.interop.tasks import head
from regard.layers import LayerNorm
from regard.model import ModelConfig, StackConfig
from regard.model.initialisation import Normal
from regard.positions import Learned
from regard.residual import PostNorm

ENCODER = {
    "encoder.input.tokens": "embeddings.word_embeddings",
    "encoder.input.norm": "embeddings.LayerNorm",
    "encoder.positions.0.table": "embeddings.position_embeddings",
    "encoder.layers.*.attention.q": "transformer.layer.*.attention.q_lin",
    "encoder.layers.*.attention.k": "transformer.layer.*.attention.k_lin",
    "encoder.layers.*.attention.v": "transformer.layer.*.attention.v_lin",
    "encoder.layers.*.attention.o": "transformer.layer.*.attention.out_lin",
    "encoder.layers.*.residual.norms.0": "transformer.layer.*.sa_layer_norm",
    "encoder.layers.*.feedforward.up": "transformer.layer.*.ffn.lin1",
    "encoder.layers.*.feedforward.down": "transformer.layer.*.ffn.lin2",
    "encoder.layers.*.residual.norms.1": "transformer.layer.*.output_layer_norm",
}

POOLED = {"head.dense": "pre_classifier", "head.output": "classifier"}

HEADS = {
    "language": {
        "head.dense": "vocab_transform",
        "head.norm": "vocab_layer_norm",
        "head.bias": "vocab_projector.bias",
    },
    "classify": POOLED,
    "multilabel": POOLED,
    "regress": POOLED,
    "tag": {"head.output": "classifier"},
    "answer": {"head.output": "qa_outputs"},
    "embed": {},
}

TIED = {"vocab_projector.weight": "embeddings.word_embeddings.weight"}


class DistilBert(Architecture):
    model_types: ClassVar[tuple[str, ...]] = ("distilbert",)
    prefix: ClassVar[str] = "distilbert."

    def config(self, values: Values) -> ModelConfig:
        norm = LayerNorm(eps=1e-12)
        language = LanguageHead(bias=True, transform="bert", norm=norm)
        activation: Any = values.choice("activation", ACTIVATIONS, "gelu")
        return ModelConfig(
            vocab_size=values.whole("vocab_size"),
            d_model=values.whole("dim"),
            n_heads=values.whole("n_heads"),
            d_ff=values.whole("hidden_dim"),
            context_length=values.whole("max_position_embeddings"),
            dropout=values.number("dropout", 0.1),
            input=TokenInput(norm=norm),
            encoder=StackConfig(
                n_layers=values.whole("n_layers"),
                attention=Dot(dropout=values.number("attention_dropout", 0.1)),
                position=Learned(),
                feedforward=MLP(activation=activation),
                norm=norm,
                residual=PostNorm(),
            ),
            decoder=None,
            head=head(values, language, transform="relu", dropout=values.number("seq_classif_dropout", 0.2)),
            initialisation=Normal(std=values.number("initializer_range", 0.02), residual="plain"),
        )

    def names(self, config: ModelConfig) -> dict[str, str | Cut]:
        return {**ENCODER, **HEADS[config.head.kind]}

    def tied(self, config: ModelConfig) -> dict[str, str]:
        return TIED if config.head.kind == "language" else {}

    def unused(self, config: ModelConfig) -> tuple[str, ...]:
        return ("embeddings.position_ids",)
