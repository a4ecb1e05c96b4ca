"""`regard predict`: the class, the labels, the number or the tags of texts, and the answers to questions.

Line n of what comes out belongs to line n of what went in; a blank text keeps its place.
"""

from __future__ import annotations

import json as json_
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from cyclopts import Parameter

from regard.cli.lines import one_line, plain, refuse

CHUNK = 512
"""Texts that are read before they are answered; among so many, those of equal length share batches."""
WIDEST = 60
"""Columns that answers take on a terminal, before their texts."""

Format = Literal["auto", "table", "jsonl", "conll", "squad"]


class Asked(NamedTuple):
    """What the model is given, what stands before its answer in JSON, and what is shown beside it."""

    given: Any
    record: dict[str, Any]
    shown: str


def predict(
    model: Annotated[str, Parameter(help="The folder of a run or of a model, or a name of regard models.")],
    file: Annotated[
        str | None,
        Parameter(help="A text a line, or a table as in training; - reads what is piped in."),
    ] = None,
    /,
    *,
    text: Annotated[str | None, Parameter(help="This text, and no file.")] = None,
    second: Annotated[str | None, Parameter(help="The text that goes with it, for a model of pairs.")] = None,
    question: Annotated[str | None, Parameter(help="Answer this; the context is --context or the whole file.")] = None,
    context: Annotated[str | None, Parameter(help="The text that the answer stands in.")] = None,
    column: Annotated[
        str | None, Parameter(help="The column of the texts or words: its name, or number from 1.")
    ] = None,
    second_column: Annotated[str | None, Parameter(help="The column of the second texts; none: there is none.")] = None,
    top: Annotated[int | None, Parameter(help="Show the k likeliest.")] = None,
    long: Annotated[
        Literal["begin", "windows", "refuse"] | None,
        Parameter(help="A text longer than the model reads: its beginning, all of it in windows, or refuse it."),
    ] = None,
    format: Annotated[
        Format, Parameter(help="auto: a table on a terminal, else jsonl. conll is for tags, squad for answers.")
    ] = "auto",
    json: Annotated[bool, Parameter(help="The same as --format jsonl.")] = False,
    encoding: Annotated[
        str, Parameter(help="How the file writes letters, such as gb18030; auto: it is found out.")
    ] = "auto",
    device: Annotated[str | None, Parameter(help="cpu, cuda …; a GPU if there is one.")] = None,
) -> None:
    """Say what texts are: their class, labels, number or tags, or where in them an answer stands."""
    from regard.bundle import load
    from regard.prediction.embed import chunks
    from regard.prediction.verbs import HEADS, verb_of
    from regard.settings import RegardError

    if top is not None and top < 1:
        raise RegardError(f"--top is 1 or more, got {top}.")
    bundle = load(model, device=device)
    kind = bundle.config.head.kind
    answers = verb_of(bundle.config).name == "answer"
    reader = bundle.reader("answer" if answers else "predict", long=long)
    for wanted, own in (("conll", "tag"), ("squad", "answer")):
        if format == wanted and kind != own:
            raise RegardError(f"--format {wanted} is for a model that {HEADS[own].does}.")
    does = verb_of(bundle.config).does
    if answers:
        refuse(bundle.name, does, {"--text": text, "--second": second, "--column": column,
                                   "--second-column": second_column})  # fmt: skip
        asked = _questions(file, question, context, encoding)
    else:
        refuse(bundle.name, does, {"--question": question, "--context": context})
        asked = _texts(kind, file, text, second, column, second_column, encoding)
    show = _writer("jsonl" if json else format, kind, top)
    settings = {"n_best": top or 1} if answers else {}
    for part in chunks(asked, CHUNK):
        show(part, reader.predict([one.given for one in part], **settings))
    show((), ())


# — read —


def _source(file: str | None, otherwise: str) -> str:
    from regard.settings import RegardError

    if file is None and (sys.stdin is None or sys.stdin.isatty()):
        raise RegardError(f"there is nothing to read: name a file, pipe text in, or give {otherwise}.")
    return file or "-"


def _texts(
    kind: str,
    file: str | None,
    text: str | None,
    second: str | None,
    column: str | None,
    second_column: str | None,
    encoding: str,
) -> Iterator[Asked]:
    from regard.data.columns import Task
    from regard.data.inputs import read_inputs
    from regard.data.labelled import LabelledData
    from regard.data.tagged import TaggedData
    from regard.settings import RegardError

    if text is not None:
        if file is not None:
            raise RegardError("give a file or --text, and not both.")
        if not text.strip():
            raise RegardError("the text is empty: give --text a few words.")
        yield _asked(text, second)
        return
    if second is not None:
        raise RegardError("--second goes with --text; in a file the second texts have a column.")
    source = _source(file, "--text")
    if kind == "tag":
        if second_column is not None:
            raise RegardError("tags are of one text, and --second-column would change nothing.")
        for sentence in read_inputs(source, TaggedData(word=column or "auto", encoding=encoding), say=_say):
            whole = " ".join(sentence.words) if sentence.text is None else sentence.text
            yield Asked(sentence.words if sentence.text is None else sentence.text, {"text": whole}, whole)
        return
    data = LabelledData(text=column or "auto", second=second_column or "auto", encoding=encoding)
    task: Task = "multilabel" if kind == "multilabel" else "regress" if kind == "regress" else "classify"
    for example in read_inputs(source, data, task, _say):
        yield _asked(example.text, example.second)


def _asked(text: str, second: str | None) -> Asked:
    if second is None:
        return Asked(text, {"text": text}, text)
    return Asked((text, second), {"text": text, "second": second}, f"{text} │ {second}")


def _questions(file: str | None, question: str | None, context: str | None, encoding: str) -> Iterator[Asked]:
    from regard.data.examples import Question
    from regard.data.formats import Reading, text_of
    from regard.data.inputs import read_inputs
    from regard.data.questions import QuestionData
    from regard.settings import RegardError

    asked: Iterable[Question]
    if question is None:
        if context is not None:
            raise RegardError("--context goes with --question: ask something.")
        asked = read_inputs(_source(file, "--question and --context"), QuestionData(encoding=encoding), say=_say)
    else:
        if context is not None and file is not None:
            raise RegardError("give a file or --context, and not both.")
        if context is None:
            source = _source(file, "--context")
            context = "".join(text_of(None if source == "-" else Path(source), Reading(say=_say, encoding=encoding)))
        for name, given in (("question", question), ("context", context)):
            if not given.strip():
                raise RegardError(f"the {name} is empty: give a few words.")
        asked = [Question("1", question, context, None, "")]
    for one in asked:
        yield Asked((one.question, one.context), {"id": one.id, "question": one.question}, one.question)


def _say(message: str) -> None:
    print(f"regard: {message}", file=sys.stderr, flush=True)


# — written —

Writer = Callable[[Iterable[Asked], Iterable[Any]], None]


def _writer(format: str, kind: str, top: int | None) -> Writer:
    """Writes a part of the answers; called with none at the end."""
    if format == "auto":
        format = "table" if sys.stdout.isatty() else "jsonl"
    if format == "squad":
        return _squad()
    if format == "table":
        return _blocks if kind in ("tag", "answer") else _table(top)
    return _conll if format == "conll" else _jsonl(top)


def _jsonl(top: int | None) -> Writer:
    def write(asked: Iterable[Asked], found: Iterable[Any]) -> None:
        for one, answer in zip(asked, found, strict=True):
            print(json_.dumps({**one.record, **answer.to_dict(top)}, ensure_ascii=False))
        sys.stdout.flush()

    return write


def _conll(asked: Iterable[Asked], found: Iterable[Any]) -> None:
    for answer in found:
        print(answer.conll(), end="", flush=True)


def _squad() -> Writer:
    texts: dict[str, str] = {}

    def write(asked: Iterable[Asked], found: Iterable[Any]) -> None:
        own = {one.record["id"]: answer.text for one, answer in zip(asked, found, strict=True)}
        texts.update(own)
        if not own:
            print(json_.dumps(texts, ensure_ascii=False, indent=1), flush=True)

    return write


def _blocks(asked: Iterable[Asked], found: Iterable[Any]) -> None:
    """Each text, and below it what was found in it."""
    for one, answer in zip(asked, found, strict=True):
        below = "\n".join(f"  {line}" for line in plain(str(answer)).split("\n"))
        print(f"{one_line(one.shown)}\n{below}", flush=True)


def _table(top: int | None) -> Writer:
    """A line each: what was found, and the text as far as there is room."""
    import shutil

    from rich.cells import cell_len, set_cell_size

    def shown(answer: Any) -> str:
        best = top or 1
        if not hasattr(answer, "top") or (top is None and not hasattr(answer, "label")):
            return str(answer)
        return "  ".join(f"{label} {p:6.1%}" for label, p in answer.top(best)) or "–"

    def write(asked: Iterable[Asked], found: Iterable[Any]) -> None:
        rows = [(one_line(shown(answer)), one_line(one.shown)) for one, answer in zip(asked, found, strict=True)]
        width = min(WIDEST, max((cell_len(answer) for answer, _ in rows), default=0))
        room = max(20, shutil.get_terminal_size().columns - width - 2)
        for answer, text in rows:
            answer = answer if cell_len(answer) > width else set_cell_size(answer, width)
            cut = text if cell_len(text) <= room else set_cell_size(text, room - 1) + "…"
            print(f"{answer}  {cut}", flush=True)

    return write
