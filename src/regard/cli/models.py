"""`regard models`: the models that can be had by name."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter


def models(
    action: Annotated[Literal["get"] | None, Parameter(help="get: fetch a model, if it is not here.")] = None,
    name: Annotated[str | None, Parameter(help="Which one.")] = None,
    /,
) -> None:
    """List the models that can be had by name, or fetch one: regard models get minilm.

    A name stands wherever a run's folder does, and its first use fetches the model too.
    """
    from regard.interop.models import MODELS, get
    from regard.settings import RegardError

    if action is None:
        print("\n\n".join(map(_entry, MODELS)))
    elif name is None:
        raise RegardError(f"say which model to get, of {', '.join(MODELS)}.")
    else:
        print(get(name))


def _entry(name: str) -> str:
    """What is known of a model, a line each."""
    from regard.interop.models import MODELS, here

    known, place = MODELS[name], here(name)
    weights = known.files["model.safetensors"]
    facts = {
        "package": f"{known.package} {known.version}",
        "size": f"{known.size / 1e6:.0f} MB",
        "licence": known.licence,
        "sha256": weights.sha256,
        "here": f"no: regard models get {name}" if place is None else str(place),
    }
    return "\n".join([f"{name}: {known.what}", *(f"  {fact:<10}{value}" for fact, value in facts.items())])
