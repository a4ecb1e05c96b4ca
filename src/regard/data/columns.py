"""Which columns of a table hold the text, a second text and the label, where nobody says so.

By their names, where the table has names; else by what stands in them: the column with few and short values is the
label, the long ones are the texts. What was chosen is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from regard.data.formats import Reading
from regard.data.tables import Cells, Table
from regard.settings import RegardError

Task = Literal["classify", "multilabel", "regress"]
"""What labels are: one class a text, several labels, or a number."""

PAIRS = (
    ("text", "second"),
    ("text", "text_pair"),
    ("sentence1", "sentence2"),
    ("sentence_1", "sentence_2"),
    ("sentence_a", "sentence_b"),
    ("sent1", "sent2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("string1", "string2"),
    ("#1 string", "#2 string"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("question", "passage"),
    ("query", "passage"),
    ("query", "document"),
)
"""Two texts, by the names of their columns, in the order in which they are looked for."""

TEXTS = (
    *("text", "sentence", "review", "content", "comment", "tweet", "message", "question", "query", "document", "body"),
    *("article", "utterance", "title", "headline", "sentence1", "question1", "premise", "string1", "#1 string"),
)

LABELS = (
    *("label", "labels", "class", "category", "categories", "quality", "sentiment", "tag", "tags", "target", "intent"),
    *("emotion", "topic", "gold_label", "polarity", "is_duplicate", "score", "rating", "stars", "similarity", "value"),
)

NUMBERS = (
    "score",
    "rating",
    "stars",
    "similarity",
    "similarity_score",
    "value",
    "label",
    "labels",
    "target",
    "quality",
)
"""Where numbers stand, in the order in which they are looked for."""

NAMES = {name for names in (*PAIRS, TEXTS, LABELS, NUMBERS) for name in names}

SHORT = 40
"""Characters that the name of a label, or of a column, has at most where it is guessed."""


class Columns(NamedTuple):
    """The columns that were asked for, by name or by number from 1; "auto" leaves the choice to `choose`."""

    text: str
    second: str
    label: str | tuple[str, ...]

    def named(self) -> list[str]:
        """Those that were asked for by name."""
        labels = (self.label,) if isinstance(self.label, str) else self.label
        asked = [column for column in (self.text, self.second, *labels) if column not in ("auto", "none")]
        return [column for column in asked if not column.isdecimal()]

    def head(self, rows: list[Cells], surely: bool = True) -> bool:
        """Whether the first row holds the names of the columns. surely: it must where columns are asked for by name."""
        asked = self.named()
        if asked and (surely or any(cell.strip() in asked for cell in rows[0])):
            return True
        first = [cell.strip() for cell in rows[0]]
        lower = {cell.lower() for cell in first}
        if len(lower) < len(first) or any(len(cell) > SHORT or _number(cell) is not None for cell in first):
            return False
        below = [[row[n].strip() for row in rows[1:] if n < len(row)] for n in range(len(first))]
        if any(name.lower() in NAMES and name not in values for name, values in zip(first, below, strict=True)):
            return True
        # Unknown names: above a column with few values, a name is none of them.
        return any(
            len(values) >= 10 and 4 * len(set(values)) <= len(values) and name not in values
            for name, values in zip(first, below, strict=True)
        )


class Chosen(NamedTuple):
    """The columns of a table: `second` None where there is no second text, `label` () where there is no label."""

    text: str
    second: str | None
    label: tuple[str, ...]


def choose(table: Table, asked: Columns, task: Task, how: Reading, labelled: bool = True) -> Chosen:
    """The columns of a table: as asked for, else as their names or their values say.

    labelled: whether there must be a label. Raises `RegardError` that lists the columns.
    """
    fixed = asked.label if isinstance(asked.label, tuple) else () if asked.label in ("auto", "none") else (asked.label,)
    label = tuple(table.column(one, "data.label") for one in fixed)
    text = None if asked.text == "auto" else table.column(asked.text, "data.text")
    second = None if asked.second in ("auto", "none") else table.column(asked.second, "data.second")
    free = [column for column in table.columns if column not in (*label, text, second)]
    if asked.label == "auto":
        label = _label(table, free, task, text is not None and second is not None)
        free = [column for column in free if column not in label]
    if text is None:
        text, other = _texts(table, free)
        second = other if asked.second == "auto" else second
    elif asked.second == "auto":
        second = _second(table, text, free)
    if labelled and not label:
        raise RegardError(f"{table.name}: name the column of the labels with data.label=…; it has {table.listed()}.")
    if "auto" in asked:
        parts = [f"the text is column {_shown(table, (text,))}"]
        parts += [f"the second text {_shown(table, (second,))}"] if second is not None else []
        parts += [f"the label {_shown(table, label)}"] if label else []
        how.note(f"{table.name}: {', '.join(parts)}; choose others with data.text=…, data.second=…, data.label=….")
    return Chosen(text, second, label)


def _shown(table: Table, columns: tuple[str, ...]) -> str:
    return ", ".join(repr(column) if table.named else column for column in columns)


def _label(table: Table, free: list[str], task: Task, all_texts_known: bool) -> tuple[str, ...]:
    lower = {column.lower(): column for column in free}
    for name in NUMBERS if task == "regress" else LABELS:
        if table.named and name in lower:
            return (lower[name],)
    if task == "multilabel" and len(marks := [column for column in free if _values(table, column) <= {"0", "1"}]) > 1:
        return tuple(marks)
    if len(free) < (1 if all_texts_known else 2):
        return ()
    sizes = {column: _size(table, column) for column in free}
    longest = max(sizes.values())
    few: list[tuple[int, float, str]] = []
    for column in free:
        values = _values(table, column)
        if task == "regress":
            fits = all(_number(value) is not None for value in values)
        else:
            fits = len(values) == 1 or len(table.peek) < 8 or 2 * len(values) <= len(table.peek)
        if fits and values and max(map(len, values)) <= SHORT and 2 * sizes[column] < longest:
            few.append((len(values), sizes[column], column))
    return (min(few)[2],) if few else ()


def _texts(table: Table, free: list[str]) -> tuple[str, str | None]:
    lower = {column.lower(): column for column in free}
    if table.named:
        for first, second in PAIRS:
            if first in lower and second in lower:
                return lower[first], lower[second]
        for name in TEXTS:
            if name in lower:
                return lower[name], None
        texts = [column for column in table.texts if column in free]
        long = [column for column in texts if 2 * _size(table, column) >= max(_size(table, one) for one in texts)]
        if len(long) == 1:
            return long[0], None
        raise RegardError(f"{table.name}: name the column of the text with data.text=…; it has {table.listed()}.")
    sizes = {column: _size(table, column) for column in free}
    if not sizes:
        raise RegardError(f"{table.name}: no column is left for the text; name it with data.text=….")
    long = [column for column in free if 3 * sizes[column] >= max(sizes.values())]
    return long[0], long[1] if len(long) > 1 else None


def _second(table: Table, text: str, free: list[str]) -> str | None:
    lower = {column.lower(): column for column in free}
    return next((lower[second] for first, second in PAIRS if first == text.lower() and second in lower), None)


def _cells(table: Table, column: str) -> list[str]:
    every = (row.cells.get(column) for row in table.peek)
    return [str(int(value) if isinstance(value, bool) else value).strip() for value in every if value is not None]


def _values(table: Table, column: str) -> set[str]:
    return set(_cells(table, column))


def _size(table: Table, column: str) -> float:
    cells = _cells(table, column)
    return sum(map(len, cells)) / max(1, len(cells))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def separator_of(values: Sequence[str]) -> str | None:
    """What stands between several labels in one cell; None where nothing does."""
    return next((mark for mark in ("|", ";", ",") if any(mark in value for value in values)), None)
