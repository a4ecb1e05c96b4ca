"""`regard lint`: what is wrong with data, before a model learns it."""

from __future__ import annotations

import json as json_
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from regard.data.examples import Example


def lint(
    files: Annotated[list[str], Parameter(help="Files or folders, as training takes them.", negative=())],
    /,
    *,
    validation: Annotated[str | None, Parameter(help="A file that is validated on.")] = None,
    task: Annotated[
        Literal["bert", "classify", "pair", "multilabel", "regress", "tag", "answer"],
        Parameter(help="What the data is for; bert: plain text, a line each."),
    ] = "bert",
    model: Annotated[
        str | None, Parameter(help="A run, a name of regard models, or a tokenizer.json, to count its tokens.")
    ] = None,
    length: Annotated[int | None, Parameter(help="Tokens that are read of a text; the model's context.")] = None,
    rate: Annotated[float, Parameter(help="bert: the part of tokens that is to be hidden.")] = 0.15,
    json: Annotated[bool, Parameter(help="One JSON object a finding, for programs.")] = False,
) -> None:
    """Look through data for what spoils training: repeats, empty texts, labels that contradict, texts that are cut."""
    from pathlib import Path

    from rich.console import Console
    from rich.text import Text

    from regard.bundle import load
    from regard.data.lint import lint as look
    from regard.settings import RegardError
    from regard.store import CONFIG
    from regard.text import Tokenizer

    if not files:
        raise RegardError("there is nothing to look at: name a file.")
    tokenizer = None
    if model is not None:
        if (Path(model) / CONFIG).is_file() or not Path(model).exists():
            lm = load(model)
            tokenizer, length = lm.tokenizer, length or lm.context_length
        else:
            tokenizer = Tokenizer.load(model)
    found = look(
        _rows(tuple(files), validation, task), tokenizer=tokenizer, length=length, rate=rate if task == "bert" else None
    )
    console = Console(highlight=False)
    for one in found:
        if json:
            print(json_.dumps(one.to_dict(), ensure_ascii=False))
            continue
        style = "yellow" if one.level == "warning" else ""
        console.print(
            Text(f"{'!' if one.level == 'warning' else ' '} {one.what:<15} {one.says}", style), soft_wrap=True
        )
        for example in one.examples:
            console.print(Text(f"    {example}"), soft_wrap=True)


def _rows(files: tuple[str, ...], validation: str | None, task: str) -> Iterator[tuple[int, Example]]:
    from typing import cast

    from regard.data.columns import Task
    from regard.data.examples import Example
    from regard.data.inputs import read_inputs
    from regard.data.labelled import LabelledData
    from regard.data.questions import QuestionData
    from regard.data.tagged import TaggedData

    for part, sources in enumerate((files, (validation,) if validation else ())):
        for source in sources:
            if task == "tag":
                for sentence in read_inputs(source, TaggedData()):
                    yield part, Example(" ".join(sentence.words), None, sentence.tags, sentence.where)
            elif task == "answer":
                for question in read_inputs(source, QuestionData()):
                    yield part, Example(question.context, question.question, None, question.where)
            elif task == "bert":
                yield from ((part, one) for one in _lines(source))
            else:
                data = LabelledData(second="auto" if task == "pair" else "none")
                kind = cast(Task, "classify" if task == "pair" else task)
                yield from ((part, one) for one in read_inputs(source, data, kind))


def _lines(source: str) -> Iterator[Example]:
    """The lines of a text, or the texts of a table; blank lines part paragraphs, and are nothing to complain of."""
    from regard.data.examples import Example
    from regard.data.formats import Reading
    from regard.data.sources import each, pieces

    for number, text in enumerate(each(pieces((source,), Reading(separator="line"))), start=1):
        yield Example("".join(text), None, None, f"{source}, text {number}")
