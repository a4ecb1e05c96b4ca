"""`regard show`: a model's key variables and what it costs, or the page of a mechanism."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from regard.settings import RegardError, nearest

if TYPE_CHECKING:
    from regard.pages import Page


def show(
    name: Annotated[
        str | None,
        Parameter(
            help="A preset (gpt2), a folder, a model's name (minilm), a mechanism (rotary), a family (attention)."
        ),
    ] = None,
    /,
) -> None:
    """Show a model's key variables and what it costs, or how a mechanism works.

    Without a name: what there is.
    """
    from regard import pages
    from regard.interop.models import MODELS, get

    if name is None:
        print(_overview())
    elif found := pages.find(name):
        print(_family(found) if len(found) > 1 and name not in found[0].kinds else _texts(found))
    elif Path(name).exists() or name in MODELS:
        print(_folder(Path(name) if Path(name).exists() else get(name)))
    else:
        print(_preset(name))


def _overview() -> str:
    """All names with a few words on each."""
    from regard import pages
    from regard.model.presets import PRESETS

    lines = ["Published models (regard show gpt2):", ""]
    lines += [f"  {name:<18}{preset.parameters:>16,}  {preset.source}" for name, preset in PRESETS.items()]
    lines += ["", "Mechanisms (regard show rotary):"]
    every = pages.pages()
    for family, (_, asks, _) in pages.FAMILIES.items():
        lines += ["", f"  {family}: {asks}", *_lines([found for found in every if found.family == family])]
    lines += ["", "A run or a model of your own: regard show FOLDER"]
    return "\n".join(lines)


def _family(found: list[Page]) -> str:
    """A family's mechanisms, and how to choose one."""
    from regard import pages

    _, asks, setting = pages.FAMILIES[found[0].family]
    kind = found[-1].kinds[0]
    recipe = kind if found[0].family == "head" else f"gpt {setting}.kind={kind}"  # a task's recipe has its head's name
    choose = f"Read one: regard show {kind}\nUse one:  regard train {recipe}"
    return "\n".join([f"{found[0].family}: {asks}", "", *_lines(found), "", choose])


def _lines(found: list[Page]) -> list[str]:
    """A line of at most 100 letters for each page."""
    names = [", ".join(page.kinds) for page in found]
    columns = [max(18, len(name) + 2) for name in names]
    return [f"    {name:<{c}}{page.short(96 - c)}" for name, c, page in zip(names, columns, found, strict=True)]


def _texts(found: list[Page]) -> str:
    """A page, or all that have the name, each in its family."""
    if len(found) == 1:
        return found[0].text
    return "\n\n".join(f"{page.family}\n\n{page.text}" for page in found)


def _preset(name: str) -> str:
    from regard import pages
    from regard.model.presets import PRESETS
    from regard.planning import plan

    if name not in PRESETS and Path(name).name != name:
        raise RegardError(f"there is no folder {name!r}: name the folder of a run or of a model.")
    if name not in PRESETS:
        raise RegardError(
            f"there is no preset, mechanism or folder {name!r}{nearest(name, [*PRESETS, *pages.names()])}"
        )
    preset = PRESETS[name]
    return f"{name}, {preset.source}: printed as {preset.printed}\n\n{plan(preset.config)}"


def _folder(folder: Path) -> str:
    """A run with its batch and the tokens it saw, or a model that somebody gave a name."""
    from regard.interop import llama2c
    from regard.interop.folder import config_of, is_foreign
    from regard.planning import plan
    from regard.store import CONFIG, load_config

    if folder.is_file():
        return f"{folder}\n\n{plan(llama2c.config_of(folder))}"
    settings = folder / "run.toml"
    if not settings.is_file():
        return f"{folder}\n\n{plan(config_of(folder) if is_foreign(folder) else load_config(folder))}"

    from regard.training.metrics import read
    from regard.training.run import read_settings

    run = read_settings(settings)
    model = load_config(folder) if (folder / CONFIG).is_file() else run.model
    training = run.training
    lines = [line for line in read(folder / "metrics.jsonl") if "tokens" in line]
    step, tokens = (lines[-1]["step"], lines[-1]["tokens"]) if lines else (0, 0)
    context = model.context_length
    cost = plan(model)
    trained = f"{tokens:,} tokens in {step:,} of {training.steps:,} steps"
    if tokens:
        trained += f", {tokens / cost.total:.2g} for each parameter, {cost.training_flops * tokens:.2g} FLOPs"
    return "\n".join(
        [
            f"{folder}: {run.recipe or 'a run'} on {', '.join(run.data.source)}",
            "",
            f"{'batch':<16}{training.batch_size:,} rows of {context:,} = {training.batch_size * context:,} tokens",
            f"{'trained on':<16}{trained}",
            str(cost),
        ]
    )
