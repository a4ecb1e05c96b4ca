"""`regard train`: text to a model, in one command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def train(
    *what: Annotated[
        str,
        Parameter(
            name="RECIPE|run.toml key=value",
            help="A recipe (gpt, translate, classify, tag …), a preset (gpt2 …) or a TOML file; then settings, such as "
            "model.decoder.n_layers=4. Without one: gpt, or what the folder of --out holds.",
        ),
    ],
    data: Annotated[
        list[str] | None,
        Parameter(
            help="Files, folders, - (standard input), hf:OWNER/NAME or builtin:… (the recipe's own by default).",
            allow_leading_hyphen=True,
        ),
    ] = None,
    target: Annotated[
        list[str] | None, Parameter(help="Pairs: files with the other side, line by line, where --data has one only.")
    ] = None,
    validation: Annotated[
        list[str] | None, Parameter(help="The same for validation. Default: a part of --data is kept apart.")
    ] = None,
    start: Annotated[
        str | None,
        Parameter(name="--from", help="Begin with a run, a Hugging Face folder, or a name of regard models."),
    ] = None,
    task: Annotated[str | None, Parameter(help="The recipe: classify, tag, answer, embed …")] = None,
    out: Annotated[str | None, Parameter(help="The run's folder. Default: runs/ and the recipe's name.")] = None,
    steps: Annotated[int | None, Parameter(help="Updates to make.")] = None,
    seed: Annotated[int | None, Parameter(help="What all random draws depend on.")] = None,
    size: Annotated[
        Literal["tiny", "small", "base"] | None, Parameter(help="From which a recipe derives the rest.")
    ] = None,
    checkpoint_every: Annotated[int | None, Parameter(help="Steps between checkpoints.")] = None,
    tokenizer: Annotated[
        str | None, Parameter(help="A tokenizer.json or .tiktoken to use instead of learning one.")
    ] = None,
    fresh: Annotated[bool, Parameter(help="Start anew, even if the folder holds a checkpoint.")] = False,
    quiet: Annotated[bool, Parameter(help="Show no progress.")] = False,
) -> int:
    """Train a model on text, pairs of texts, speech, or labelled examples.

    The same command goes on where it was stopped. `regard show RUN` tells what was trained.
    """
    from regard import training
    from regard.settings import RegardError

    recipe = what[0] if what and "=" not in what[0] else None
    overrides = list(what[1:] if recipe else what)
    if recipe and task and recipe != task:
        raise RegardError(f"the recipe {recipe!r} and --task {task} are two things to train: give one of them.")
    recipe = recipe or task
    for name in overrides:
        if "=" not in name and Path(name).exists():
            raise RegardError(f"{name!r} is no setting but a file or folder: to train on it, give --data {name}.")
    if checkpoint_every is not None:
        overrides.append(f"training.checkpoint_every={checkpoint_every}")
    run = training.train(
        recipe,
        data,
        out,
        target=target,
        validation=validation,
        start=start,
        steps=steps,
        size=size,
        seed=seed,
        tokenizer=tokenizer,
        overrides=overrides,
        resume=not fresh,
        quiet=quiet,
    )
    print(run)
    if run.ended == "interrupted":
        return 130
    if not quiet:
        print(f"Next: {_next(run.folder)}", file=sys.stderr)
    return 0


def _next(folder: Path) -> str:
    """The command that uses what was trained."""
    from regard.training.run import read_settings

    settings = Path(folder) / "run.toml"
    config = read_settings(settings) if settings.is_file() else None
    kind = config.data.kind if config else "text"
    if config and config.model.family == "encoder":
        verbs = {"text": f'fill {folder} "…"', "pairs": f"embed {folder} FILE"}
        return f"regard {verbs.get(kind, f'predict {folder} FILE')}, and regard evaluate {folder}"
    verbs = {"text": f"generate {folder} --show-probabilities", "speech": f"transcribe {folder} FILE"}
    return f"regard {verbs.get(kind, f'generate {folder} - < FILE, and regard evaluate {folder}')}"
