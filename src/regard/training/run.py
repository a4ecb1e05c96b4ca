"""A whole run: data → tokenizer → store → model → training → a folder.

run.toml            all settings of the run
config.json, model.safetensors, tokenizer.json
                    the best model so far, as `regard.load` opens it
checkpoints/        the newest states, from which training goes on
data/               the text as ids
metrics.jsonl, timings.jsonl
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from regard.data.store import STANDARD_INPUT
from regard.model import Transformer
from regard.settings import RegardError, SettingsError, override
from regard.text import Tokenizer
from regard.training import checkpoint, devices
from regard.training.config import RunConfig, completed, differences
from regard.training.loop import Run, fit
from regard.training.metrics import progress
from regard.training.recipes import recipe
from regard.training.recipes_encoders import fine_tuning
from regard.training.start import Start
from regard.training.tasks import Ready, task_of
from regard.training.tasks.base import SETTINGS, Say
from regard.training.vectors import check_vectors, take_vectors

Paths = str | os.PathLike[str]


def train(
    what: str | RunConfig | os.PathLike[str] | None = None,
    data: Paths | Iterable[Paths] | None = None,
    out: Paths | None = None,
    *,
    target: Paths | Iterable[Paths] | None = None,
    validation: Paths | Iterable[Paths] | None = None,
    start: Paths | None = None,
    steps: int | None = None,
    size: str | None = None,
    seed: int | None = None,
    tokenizer: Tokenizer | Paths | None = None,
    overrides: Iterable[str] = (),
    resume: bool = True,
    quiet: bool = False,
) -> Run:
    """Trains a model into a folder; goes on where it stopped if the folder has a checkpoint.

    what        a recipe (`gpt`, `translate` …), a preset, a TOML file, or settings; None: `gpt`, or what the folder
                holds
    data        files, folders, `hf:…`, `builtin:…` (see `regard.data.sources`, `.pairs`)
    target      files with the other side of pairs, line by line, where `data` has one only
    validation  what to validate on; None: a part of `data`
    start       a model to begin with: a run, a Hugging Face folder, or a name of `regard models`
    out         the folder; None: runs/ and the recipe's name
    size        tiny, small or base, from which a recipe derives the rest
    tokenizer   one to use instead of learning it
    overrides   more settings, such as "training.batch_size=16" or "model.decoder.n_layers=6"
    resume      False starts afresh

    Raises `RegardError`: one sentence that says what to do.
    """
    folder = Path(out) if out is not None else Path("runs") / _name(what)
    checkpoint.prepare(folder)
    going_on = resume and checkpoint.newest_step(folder / "checkpoints") is not None
    before = _stored(folder) if going_on or what is None else None
    given = {"source": data, "target": target, "validation": validation}
    config, begun = _settle(what, before, given, start, steps, size, seed, tokenizer, overrides, going_on)
    if going_on and before is not None:
        _refuse_changes(before, config, folder)
    rank, world = devices.join(config.training.device)
    try:
        say = _silent if quiet or rank else _sayer()
        task = task_of(config)
        if rank == 0:
            if config.vectors and not going_on:
                check_vectors(config.vectors, config.model)
            config = task.prepare(config, folder, begun.tokenizer if begun else tokenizer, going_on, say)
        devices.wait()
        config = _stored(folder) or config
        return _fit(config, folder, task.open(config, folder), begun, resume, quiet or rank > 0, say, world)
    finally:
        devices.leave()


def _fit(
    config: RunConfig,
    folder: Path,
    ready: Ready,
    begun: Start | None,
    resume: bool,
    quiet: bool,
    say: Say,
    world: int,
) -> Run:
    training = config.training
    model = Transformer(config.model, training.seed)
    say(f"{sum(p.numel() for p in model.parameters()):,} parameters; {ready.described}.")
    done = checkpoint.newest_step(folder / "checkpoints") if resume else None
    if config.vectors and done is None:
        say(take_vectors(config.vectors, model, ready.tokenizer))
    if begun is not None and done is None:
        say(begun.give(model))
    sharded = world > 1 and training.spread == "fsdp"
    run = fit(
        model,
        ready.batches,
        training,
        folder,
        tokenizer=ready.tokenizer,
        target_tokenizer=ready.target_tokenizer,
        objective=ready.objective,
        validation=ready.validation,
        measures=ready.measure,
        identity=ready.identity,
        resume=resume,
        show=progress(training.steps, done or 0, quiet, unit="tokens" if ready.measure is None else "targets"),
        sample=None if sharded or not training.sample_tokens else lambda step: ready.sample(model, step),
    )
    if run.ended == "interrupted":
        say(f"Stopped after step {run.step:,}, and all is saved: run the same command again to go on.")
    return run


def _settle(
    what: str | RunConfig | os.PathLike[str] | None,
    before: RunConfig | None,
    data: dict[str, Paths | Iterable[Paths] | None],
    start: Paths | None,
    steps: int | None,
    size: str | None,
    seed: int | None,
    tokenizer: Tokenizer | Paths | None,
    overrides: Iterable[str],
    going_on: bool,
) -> tuple[RunConfig, Start | None]:
    """The settings from all that was asked for, and what to begin with. What was not asked for is as it was before,
    else as the recipe has it.

    So the same command goes on with a run, and so does one that only names its folder.
    """
    overrides = list(overrides)
    if isinstance(what, RunConfig):
        config = what
    elif what is not None and str(what).endswith(".toml"):
        config = read_settings(Path(what))
    elif before is not None and (what is None or str(what) == before.recipe) and size in (None, before.size):
        config = before
    else:
        config = recipe(str(what or "gpt"), size or "tiny", 2000 if steps is None else steps)
    named = [one.removeprefix("start=") for one in overrides if one.startswith("start=")]
    name = str(start) if start is not None else named[-1] if named else config.start
    begun = None
    if before is not None:
        config = completed(config.replace(start=name), before)
    if name and not going_on:
        if tokenizer is not None:
            raise SettingsError(f"{name} brings its own tokenizer: leave the other one out.")
        begun = Start(name)
        settled = before is not None or isinstance(what, RunConfig) or str(what).endswith(".toml")
        tuned = config if settled else fine_tuning(config)
        config = tuned.replace(start=name, model=begun.settings(config.model))
    values = config.to_dict()
    for name, given in data.items():
        if given is not None:
            values["data"][name] = [str(given)] if isinstance(given, (str, os.PathLike)) else [str(g) for g in given]
    if steps is not None:
        values["training"] |= {"steps": steps, "epochs": None}
    if seed is not None:
        values["training"]["seed"] = seed
    if tokenizer is not None and not isinstance(tokenizer, Tokenizer):
        values["tokenizer"] = str(tokenizer)
    return RunConfig.from_dict(override(values, overrides)), begun


def _refuse_changes(before: RunConfig, now: RunConfig, folder: Path) -> None:
    source = tuple(str(folder / STANDARD_INPUT) if name == "-" else name for name in now.data.source)
    changed = differences(before, now.replace(data=now.data.replace(source=source)))
    if changed:
        name, old, new = changed[0]
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise SettingsError(
            f"{folder} was begun with {name} = {_short(old)}, and now it is {_short(new)}{more}: keep the old value "
            "to go on, train into another folder, or start afresh (resume=False, --fresh)."
        )


def _stored(folder: Path) -> RunConfig | None:
    return read_settings(folder / SETTINGS) if (folder / SETTINGS).exists() else None


def read_settings(path: Path) -> RunConfig:
    """The settings in a TOML file. Raises `RegardError`, which names the file."""
    try:
        return RunConfig.from_toml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RegardError(f"the settings {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None


def _name(what: str | RunConfig | os.PathLike[str] | None) -> str:
    if isinstance(what, RunConfig):
        return what.recipe or "run"
    return Path(what).stem if what is not None else "gpt"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _sayer() -> Callable[[str], None]:
    console = Console(stderr=True)
    return lambda line: console.print(Text(line), soft_wrap=True)


def _silent(line: str) -> None: ...
