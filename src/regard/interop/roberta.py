"""RoBERTa, XLM-RoBERTa and CamemBERT: BERT's arithmetic, without segments, positions counted from the pad's id + 1.

Source   Liu et al. 2019, arXiv:1907.11692; Conneau et al. 2019, arXiv:1911.02116; Martin et al. 2019, arXiv:1911.03894;
         names as in `transformers`' RobertaModel and its heads.
"""

from __future__ import annotations

from typing import ClassVar

from regard.interop.base import Architecture, Cut, Values
from regard.interop.bert import ENCODER, encoder
from regard.model import ModelConfig
from regard.settings import RegardError

POOLED = {"head.dense": "classifier.dense", "head.output": "classifier.out_proj"}

HEADS = {
    "language": {
        "head.dense": "lm_head.dense",
        "head.norm": "lm_head.layer_norm",
        "head.bias": "lm_head.bias",
    },
    "classify": POOLED,
    "multilabel": POOLED,
    "regress": POOLED,
    "tag": {"head.output": "classifier"},
    "answer": {"head.output": "qa_outputs"},
    "embed": {},
}

TIED = {"lm_head.decoder.weight": "embeddings.word_embeddings.weight", "lm_head.decoder.bias": "lm_head.bias"}


class Roberta(Architecture):
    model_types: ClassVar[tuple[str, ...]] = ("roberta", "xlm-roberta", "camembert")
    prefix: ClassVar[str] = "roberta."

    def config(self, values: Values) -> ModelConfig:
        pad = values.whole("pad_token_id", 1)
        if pad < 0:
            raise RegardError(f"{values.where}: pad_token_id {pad} is no id.")
        return encoder(values, offset=pad + 1)

    def names(self, config: ModelConfig) -> dict[str, str | Cut]:
        return {**ENCODER, **HEADS[config.head.kind]}

    def tied(self, config: ModelConfig) -> dict[str, str]:
        return TIED if config.head.kind == "language" else {}

    def unused(self, config: ModelConfig) -> tuple[str, ...]:
        return ("embeddings.position_ids", "embeddings.token_type_ids", "pooler.*")
