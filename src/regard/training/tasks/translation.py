"""Pairs → a text for a text: translation, dates, summaries."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

from regard.bundle import load
from regard.data.pair_batches import EvaluationPairs, PairBatches
from regard.data.pair_store import PairStore, prepare_pairs
from regard.data.pairs import PairsData, pairs
from regard.data.store import keep_standard_input, writing
from regard.generation import Beam, Refinement
from regard.generation.distil import distil
from regard.generation.translating import Translator
from regard.model import ModelConfig, StackConfig, Transformer
from regard.settings import RegardError, SettingsError, of_layer
from regard.store import TARGET_TOKENIZER, TOKENIZER
from regard.text import Tokenizer
from regard.training.config import RunConfig
from regard.training.objectives import MaskPredict
from regard.training.tasks.base import Given, Ready, Say, tokenizer_of, write_down


class TranslationTask:
    def prepare(self, config: RunConfig, folder: Path, given: Given, going_on: bool, say: Say) -> RunConfig:
        if config.model.family != "encoder-decoder":
            raise SettingsError(
                f"pairs are learnt by an encoder with a decoder, and this model is {config.model.family} only: "
                "take the recipe translate, or give model.encoder."
            )
        own = keep_standard_input(config.data, folder, going_on)
        assert isinstance(own, PairsData)
        data = own
        if config.distil:
            data = distilled(own, config.distil, folder / "distilled", going_on, say)
        shared = config.target_tokenizer == "shared"

        def side(*names: str) -> Iterator[str]:
            train = (pair for pair in pairs(data) if pair.part == 0)
            return itertools.chain.from_iterable((getattr(pair, name) + "\n" for name in names) for pair in train)

        what = ", ".join(data.source + data.target)
        both = ("source", "target") if shared else ("source",)
        tokenizer = tokenizer_of(config.tokenizer, given, folder / TOKENIZER, going_on, lambda: side(*both), say, what)
        target = None
        if not shared:
            target = tokenizer_of(
                config.target_tokenizer, None, folder / TARGET_TOKENIZER, going_on, lambda: side("target"), say,
                f"the targets of {what}",
            )  # fmt: skip
        writes = target or tokenizer
        begin_and_end(writes)
        store = prepare_pairs(data, tokenizer, writes, folder / "data", say, longest(config.model))
        sizes = {"vocab_size": tokenizer.vocab_size, "target_vocab_size": target.vocab_size if target else None}
        config = config.replace(data=own, model=config.model.replace(**sizes))
        config.training.objective.ready(config.model, writes)
        write_down(config, folder, tokenizer, target)
        vocabularies = f"{tokenizer.vocab_size:,}" + (f" and {target.vocab_size:,}" if target else "")
        say(
            f"{len(store.train):,} pairs to train on ({len(store.train.target.ids):,} target tokens), "
            f"{len(store.validation) if store.validation else 0:,} to validate; {vocabularies} in the vocabulary."
        )
        return config

    def open(self, config: RunConfig, folder: Path) -> Ready:
        training = config.training
        tokenizer, store = Tokenizer.load(folder / TOKENIZER), PairStore.open(folder / "data")
        own = folder / TARGET_TOKENIZER
        target = Tokenizer.load(own) if config.target_tokenizer != "shared" else None
        writes = target or tokenizer
        begin, end = begin_and_end(writes)
        batches = PairBatches(
            store.train, begin, end, training.batch_tokens, training.batch_size, training.seed, training.accumulate
        )
        validation = None
        if store.validation is not None:
            validation = EvaluationPairs(store.validation, begin, end, limit=training.evaluate_windows)

        how = Refinement() if isinstance(training.objective, MaskPredict) else Beam(size=1)

        def sample(model: Transformer, step: int) -> str:
            part = store.validation or store.train
            number = (step // max(1, training.evaluate_every)) % len(part)
            given, expected = tokenizer.decode(part.source.row(number)), writes.decode(part.target.row(number))
            was = model.training
            [[best]] = Translator(model, tokenizer, target).translate(
                [given], how, limit=max(1, training.sample_tokens), overlong="split"
            )
            model.train(was)
            return f"{given} → {best.text}   ({expected})"

        rows = f"{training.batch_tokens:,} tokens" if training.batch_tokens else f"{training.batch_size} pairs"
        return Ready(
            tokenizer,
            batches,
            validation,
            f"{training.steps:,} steps of {rows}, {batches.epochs(training.steps):.2f} times the pairs",
            sample,
            {"tokenizer": tokenizer.fingerprint, "target tokenizer": writes.fingerprint, "text": store.fingerprint},
            target,
            training.objective.ready(config.model, writes),
        )


def longest(model: ModelConfig) -> int | None:
    """How many tokens of a side its positions reach, beside a begin or end token; None: as many as you like."""
    bounds = [
        model.sizes(name).context_length - 1
        for name, stack in model.stacks.items()
        if isinstance(stack, StackConfig)
        and any(of_layer(stack.position, layer).bounded for layer in range(stack.n_layers))
    ]
    return max(1, min(bounds)) if bounds else None


def begin_and_end(tokenizer: Tokenizer) -> tuple[int, int]:
    """The tokens that a target begins and ends with. Raises `RegardError` where the tokenizer has none."""
    if tokenizer.opening is None or tokenizer.end is None:
        raise RegardError(
            "the tokenizer of the targets has no end token, so nothing would ever end: "
            'give it one (tokenizer.special=["begin", "end"]).'
        )
    return tokenizer.opening, tokenizer.end


def distilled(data: PairsData, teacher: str, folder: Path, going_on: bool, say: Say) -> PairsData:
    """The pairs with the targets of training as the teacher writes them; those of validation stay as they are."""
    places = {name: folder / f"{name}.jsonl" for name in ("train", "validation")}
    if not (going_on and all(place.exists() for place in places.values())):
        _distil(data, teacher, places, say)
    kept = {name: (str(place),) if place.stat().st_size else () for name, place in places.items()}
    plain = {"target": (), "validation_target": (), "validation_fraction": 0, "swap": False}
    return data.replace(source=kept["train"], validation=kept["validation"], columns="auto", format="auto", **plain)


def _distil(data: PairsData, teacher: str, places: dict[str, Path], say: Say) -> None:
    """Writes the pairs of each part, whole or not at all."""
    model = load(teacher)
    if model.family != "encoder-decoder":
        raise RegardError(f"{model.name} translates nothing, so it cannot be the teacher: name a run of pairs.")
    say(f"Writing {model.name}'s translations of the sources.")
    found = list(pairs(data))
    sources = [pair.source for pair in found if pair.part == 0]
    translator = Translator(model.transformer, model.tokenizer, model.target_tokenizer)
    sides = {
        "train": distil(translator, sources),
        "validation": ((pair.source, pair.target) for pair in found if pair.part == 1),
    }
    for name, rows in sides.items():
        beside = places[name].with_suffix(".partial")
        with writing(beside.parent), beside.open("w", encoding="utf-8") as file:
            for count, (source, target) in enumerate(rows, start=1):
                file.write(json.dumps({"source": source, "target": target}, ensure_ascii=False) + "\n")
                if name == "train" and count % 10_000 == 0:
                    say(f"Wrote {count:,} of {len(sources):,}.")
        beside.replace(places[name])
