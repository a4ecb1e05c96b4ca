"""What an encoder with a task's head is evaluated on: the validation part of its run, or files."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from regard.bundle import Model
from regard.data import columns
from regard.data.example_store import MANIFEST, ExampleStore
from regard.data.examples import AnswerSpan, Example, Question, Sentence
from regard.data.kinds import Data
from regard.data.labelled import LabelledData, read_labelled
from regard.data.pairs import PairsData, pairs
from regard.data.questions import QuestionData, read_questions
from regard.data.sources import tables
from regard.data.tagged import TaggedData, read_tagged
from regard.settings import RegardError, override
from regard.text.words import marks_entities

Say = Callable[[str], None]
D = TypeVar("D", bound=Data)


class Given(NamedTuple):
    """What is evaluated on, and what to call it."""

    examples: list[Any]
    name: str


def labelled(model: Model, source: Sequence[str] | None, settings: Iterable[str], say: Say) -> Given:
    """`Example`s with the label that the model's head learns."""
    if source is None:
        return _kept(model, lambda row, where: Example(row[0], row[1], _label(row[2]), where))
    config = _config(model, LabelledData, settings)
    kind = model.config.head.kind
    # What is named for validation is read whole, and of a built-in set only what was not learnt from.
    config = config.replace(source=(), validation=tuple(source))
    return _all((example for _, example in read_labelled(config, kind, say)), source)


def tagged(model: Model, source: Sequence[str] | None, settings: Iterable[str], say: Say) -> Given:
    """`Sentence`s with a tag a word."""
    if source is None:
        return _kept(model, lambda row, where: Sentence(tuple(row[0]), tuple(row[1]), where))
    config = _config(model, TaggedData, settings).replace(source=tuple(source), validation=(), validation_fraction=0)
    return _all((sentence for _, sentence in read_tagged(config, say)), source)


def questions(model: Model, source: Sequence[str] | None, settings: Iterable[str], say: Say) -> Given:
    """`Question`s whose answers are known."""
    if source is None:
        return _kept(model, _question)
    config = _config(model, QuestionData, settings).replace(source=tuple(source), validation=(), validation_fraction=0)
    return _all((question for _, question in read_questions(config, say)), source)


def related(model: Model, source: Sequence[str] | None, settings: Iterable[str], say: Say) -> Given:
    """Two texts that belong together; or where a number says how near they are, `Example`s with it."""
    if source is None:
        return _kept(model, lambda row, where: Example(row[0], row[1], None, where))
    settings = list(settings)
    if isinstance(_of_run(model), LabelledData) or _similarities(source, say):
        config = _config(model, LabelledData, settings).replace(source=(), validation=tuple(source))
        found = [example for _, example in read_labelled(config, "regress", say)]
        for example in found:
            if example.second is None:
                raise RegardError(f"{example.where}, has one text, and two and their similarity were expected.")
        return _all(iter(found), source)
    pair_config = _config(model, PairsData, settings).replace(
        source=tuple(source), validation=(), validation_fraction=0
    )
    rows = (
        (pair.source, pair.target) for pair in pairs(pair_config, say) if pair.source.strip() and pair.target.strip()
    )
    return _all((Example(*row, None, f"pair {n}") for n, row in enumerate(rows, start=1)), source)


def _similarities(source: Sequence[str], say: Say) -> bool:
    """Whether the rows have two texts and a number."""
    if any(name == "-" or name.startswith("builtin:") for name in source):
        return False
    data = LabelledData(source=tuple(source))
    try:
        how = data.reading()
        table = next(iter(tables(source[0], how, data.columns().head, even=True)))
        chosen = columns.choose(table, data.columns(), "regress", how, labelled=False)
    except (RegardError, StopIteration):
        return False
    return chosen.second is not None and bool(chosen.label)


def _config(model: Model, kind: type[D], settings: Iterable[str]) -> D:
    """How data are read: as the run read its own, with the settings given. Raises `RegardError`."""
    known = _of_run(model)
    settings = list(settings)
    for one in settings:
        if not one.startswith("data.") or "=" not in one:
            raise RegardError(f"{one!r} is no setting of data: write such as data.label=…, or --data FILE for a file.")
    found = Data.resolve(override({"data": (known if isinstance(known, kind) else kind()).to_dict()}, settings)["data"])
    assert isinstance(found, kind)
    return found


def _of_run(model: Model) -> Any:
    """What the run learnt from; None where the model is of no run."""
    place = (model.folder or Path()) / "run.toml"
    if model.folder is None or not place.is_file():
        return None
    return Data.resolve(tomllib.loads(place.read_text(encoding="utf-8")).get("data", {}))


def _kept(model: Model, read: Callable[[Any, str], Any]) -> Given:
    """The validation part of the run."""
    store = (model.folder or Path()) / "data"
    if model.folder is None or not (store / MANIFEST).is_file():
        raise RegardError(f"{model.name} holds no examples of its own: name some to evaluate on with --data.")
    rows = ExampleStore.open(store).validation_read()
    if not rows:
        raise RegardError(f"{model.name} was trained without a validation part: name examples with --data.")
    return Given([read(row, f"example {number}") for number, row in enumerate(rows, start=1)], "its validation part")


def _all(found: Iterator[Any], source: Sequence[str]) -> Given:
    name = ", ".join(source)
    examples = list(found)
    if not examples:
        raise RegardError(f"there are no examples to evaluate on in {name}.")
    return Given(examples, name)


def _question(row: Any, where: str) -> Question:
    key, question, context, answers = row
    return Question(key, question, context, tuple(AnswerSpan(*one) for one in answers or ()), where)


def _label(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def numbers_of(names: Sequence[str], known: Sequence[str], where: str, what: str = "label") -> list[int]:
    """The numbers of labels among those that a model knows. Raises `RegardError` for one that it does not."""
    numbers = {label: number for number, label in enumerate(known)}
    for name in names:
        if name not in numbers:
            raise unknown(name, known, where, what)
    return [numbers[name] for name in names]


def check_tags(sentences: Sequence[Sentence], known: Sequence[str]) -> None:
    """Raises `RegardError` for a tag, or where tags mark entities for a type of them, that a model does not know."""
    named = marks_entities(known)

    def of(tag: str) -> str:
        return tag[2:] if named and tag[:2] in ("B-", "I-", "E-", "S-") else tag

    there = {of(label) for label in known} | {"O"}
    for sentence in sentences:
        for tag in sentence.tags or ():
            if of(tag) not in there:
                raise unknown(tag, known, sentence.where, "tag")


def unknown(name: str, known: Sequence[str], where: str, what: str) -> RegardError:
    listed = ", ".join(known[:12]) + (" …" if len(known) > 12 else "")
    return RegardError(
        f"{where}, has the {what} {name!r:.60}, and the model knows {listed}: correct it or leave it out."
    )
