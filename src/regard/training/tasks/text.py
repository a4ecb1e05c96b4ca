"""Text → the next word; or, of an encoder, its hidden words."""

from __future__ import annotations

import hashlib
from pathlib import Path

from regard.data.batches import Batches, EvaluationBatches
from regard.data.masked_batches import MaskedEvaluation
from regard.data.sources import texts
from regard.data.split import TextData
from regard.data.store import Part, TokenStore, keep_standard_input, prepare
from regard.generation import Generation, Sampling
from regard.model import Transformer
from regard.seeds import derive_seed
from regard.store import TOKENIZER
from regard.text import Tokenizer
from regard.training.config import RunConfig
from regard.training.objectives import MaskedWords
from regard.training.tasks.base import Given, Ready, Say, tokenizer_of, write_down
from regard.training.tasks.masked import masked_batches, sampler


class TextTask:
    def prepare(self, config: RunConfig, folder: Path, given: Given, going_on: bool, say: Say) -> RunConfig:
        data = keep_standard_input(config.data, folder, going_on)
        assert isinstance(data, TextData)
        tokenizer = tokenizer_of(
            config.tokenizer, given, folder / TOKENIZER, going_on,
            lambda: texts(data.source, data.reading(say)), say, ", ".join(data.source),
        )  # fmt: skip
        store = prepare(data, tokenizer, folder / "data", say=say)
        extra = config.training.objective.extra(config.model.context_length)
        config = config.replace(data=data, model=config.model.replace(vocab_size=tokenizer.vocab_size + extra))
        config.training.objective.ready(config.model, tokenizer)
        if isinstance(config.training.objective, MaskedWords) and store.train.documents < 2:
            single = {"next": "what does not come next is taken from elsewhere in it", "order": "", "none": ""}
            if said := single[config.training.objective.second]:
                say(f"The text is a single document: {said}.")
        write_down(config, folder, tokenizer)
        say(
            f"{len(store.train.ids):,} tokens to train on, {len(store.validation.ids) if store.validation else 0:,} to "
            f"validate; {tokenizer.vocab_size:,} in the vocabulary."
        )
        return config

    def open(self, config: RunConfig, folder: Path) -> Ready:
        training, context, data = config.training, config.model.context_length, config.data
        assert isinstance(data, TextData)
        tokenizer, store = Tokenizer.load(folder / TOKENIZER), TokenStore.open(folder / "data")
        if isinstance(training.objective, MaskedWords):
            return _masked(config, tokenizer, store)
        apart = data.separate_documents
        batches = Batches(store.train, training.batch_size, context, training.seed, training.accumulate, apart)
        rows = max(1, training.batch_size // training.accumulate)
        validation = None
        if store.validation is not None:
            validation = EvaluationBatches(store.validation, rows, context, apart, training.evaluate_windows)
        prompt = tokenizer.prompt(training.sample_prompt) or [0]

        def sample(model: Transformer, step: int) -> str:
            if model.config.family != "decoder":
                return ""
            sampling = Sampling(temperature=0.8, top_k=50, seed=derive_seed(training.seed, "sample", step) % 2**32)
            steps = Generation(model, [prompt], sampling, training.sample_tokens, end=tokenizer.end)
            return tokenizer.decode([step.id for step in steps])

        return Ready(
            tokenizer,
            batches,
            validation,
            f"{training.steps:,} steps of {training.batch_size} × {context} tokens, "
            f"{batches.epochs(training.steps):.2f} times the text",
            sample,
            {"tokenizer": tokenizer.fingerprint, "text": _fingerprint(store)},
            objective=training.objective.ready(config.model, tokenizer),
        )


def _masked(config: RunConfig, tokenizer: Tokenizer, store: TokenStore) -> Ready:
    training = config.training
    objective = training.objective.ready(config.model, tokenizer)
    assert isinstance(objective, MaskedWords)
    batches, validation = masked_batches(config, store, tokenizer, objective)
    return Ready(
        tokenizer,
        batches,
        validation,
        f"{training.steps:,} steps of {training.batch_size} × {config.model.context_length} tokens, "
        f"{objective.rate:.0%} of them hidden, {batches.epochs(training.steps):.2f} times the text",
        sampler(config, store, tokenizer, objective, validation or MaskedEvaluation(batches.rows, 1)),
        {"tokenizer": tokenizer.fingerprint, "text": _fingerprint(store)},
        objective=objective,
    )


def _fingerprint(store: TokenStore) -> str:
    """Of the ids themselves, by their number and both ends: a copied or touched text is still the same."""
    digest = hashlib.sha256()
    parts: list[Part] = [part for part in (store.train, store.validation) if part is not None]
    for part in parts:
        digest.update(f"{len(part.ids)} {part.documents} {part.bytes} ".encode())
        digest.update(part.ids[: 1 << 19].tobytes() + part.ids[-(1 << 19) :].tobytes())
    return digest.hexdigest()[:32]
