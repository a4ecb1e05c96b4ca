"""`regard evaluate`: loss, perplexity and bits per byte of a text, with the conventions beside them."""

from __future__ import annotations

import json as json_
from typing import Annotated

from cyclopts import Parameter


def evaluate(
    model: Annotated[str, Parameter(help="The folder of a run or of a model.")],
    /,
    *,
    data: Annotated[
        list[str] | None,
        Parameter(
            help="Files, folders, -, hf:OWNER/NAME or builtin:python-docs. Default: the run's validation part.",
            allow_leading_hyphen=True,
        ),
    ] = None,
    stride: Annotated[int | None, Parameter(help="Tokens between windows. Default: a whole context.")] = None,
    context_length: Annotated[int | None, Parameter(help="Tokens a window. Default: what the model sees.")] = None,
    batch_size: Annotated[int, Parameter(help="Windows at once; changes no number.")] = 16,
    tokenizer: Annotated[str | None, Parameter(help="Another tokenizer than the folder's.")] = None,
    device: Annotated[str | None, Parameter(help="cpu, cuda …; a GPU if there is one.")] = None,
    json: Annotated[bool, Parameter(help="One JSON object, for programs.")] = False,
) -> None:
    """Measure how well a model predicts a text.

    Each token is predicted once, from what stands before it in its window and document.
    """
    from regard.bundle import load
    from regard.evaluation import evaluate

    lm = load(model, tokenizer=tokenizer, device=device)
    found = evaluate(lm, data, stride=stride, context_length=context_length, batch_size=batch_size)
    print(json_.dumps({"model": model, "data": data, **found.to_dict()}, ensure_ascii=False) if json else found)
