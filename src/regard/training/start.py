"""A run that begins with another model: its stacks, its input and its tokenizer, and the weights that fit.

The head is the task's own. What a published BERT calls its pooler is taken into a head that has the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from regard.bundle import Model, load
from regard.heads import Head, LanguageHead
from regard.model import ModelConfig, Transformer
from regard.settings import SettingsError
from regard.store import tensors_of
from regard.text import Tokenizer

POOLER = ("head.dense.weight", "head.dense.bias")


class Start:
    """What `--from` names: a run's folder, a Hugging Face folder, or a name of `regard models`."""

    def __init__(self, name: str) -> None:
        """Raises `RegardError` where there is no such model."""
        self.name = name
        self.model: Model = load(name, device="cpu", dtype=torch.float32)

    @property
    def tokenizer(self) -> Tokenizer:
        return self.model.tokenizer

    def settings(self, asked: ModelConfig) -> ModelConfig:
        """This model with the head that was asked for. Raises `SettingsError` where the families differ."""
        own: ModelConfig = self.model.config
        if own.family != asked.family:
            verbs = {"encoder": "classify or tag", "decoder": "gpt", "encoder-decoder": "translate"}
            raise SettingsError(
                f"{self.name} is of the family {own.family}, and this recipe trains one of the family {asked.family}: "
                f"take a recipe such as {verbs[own.family]}, or begin with another model"
            )
        return own.replace(head=self._head(asked.head, own.head))

    def _head(self, asked: Head, own: Head) -> Head:
        """The head that was asked for; how it pools is as it was learnt. Words are predicted as they were."""
        if isinstance(asked, LanguageHead) and isinstance(own, LanguageHead):
            return own
        fields = type(asked).model_fields
        pooled = {
            name: getattr(own, name) for name in ("pooling", "transform") if name in fields and hasattr(own, name)
        }
        return asked.replace(**pooled)

    def give(self, model: Transformer) -> str:
        """Copies the weights that fit into a model, and says what was taken and what is new."""
        mine, theirs = tensors_of(model), tensors_of(self.model.transformer)
        taken = {name for name in mine if self._fits(name, mine, theirs, model.config)}
        with torch.no_grad():
            for name in taken:
                mine[name].copy_(theirs[name])
        numbers = sum(mine[name].numel() for name in taken)
        new = sorted({".".join(name.split(".")[:2]) for name in mine.keys() - taken})
        left = ", ".join(new[:4]) + (" …" if len(new) > 4 else "")
        return (
            f"From {self.name}: {numbers:,} weights and the tokenizer; {f'new is {left}' if new else 'nothing is new'}."
        )

    def _fits(self, name: str, mine: dict[str, Tensor], theirs: dict[str, Tensor], config: ModelConfig) -> bool:
        if name not in theirs or theirs[name].shape != mine[name].shape:
            return False
        if not name.startswith("head."):
            return True
        own: Any = self.model.config.head
        head: Any = config.head
        if head.kind == own.kind and getattr(head, "labels", ()) == getattr(own, "labels", ()):
            return True
        pools = getattr(head, "pooling", None) == getattr(own, "pooling", "") == "first"
        return name in POOLER and pools and head.transform == own.transform
