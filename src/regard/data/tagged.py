"""Sources → words with a tag each.

    train.conll      a word a line, its tag in the last column, a blank line after each sentence
    rows.jsonl       {"words": ["Ada", "wrote"], "tags": ["B-person", "O"]}; also Parquet and hf:OWNER/NAME

Columns are separated by tabs, else by spaces. Lines with `-DOCSTART-` and comments are passed by. Tags stay as they are
written: BIO, IOB1, BIOES or none of these. Equal sentences stand on one side of a split.
"""

from __future__ import annotations

import csv
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from regard.data.base import Data
from regard.data.charset import Encoding
from regard.data.examples import Sentence
from regard.data.formats import Format, Reading, characters, described, format_of, lines, suffix
from regard.data.labelled import name_of
from regard.data.sources import source_files, tables
from regard.data.tables import PEEK, Row, Table, cell
from regard.seeds import derive_seed
from regard.settings import RegardError
from regard.text.words import joined

Say = Callable[[str], None]

WORDS = ("words", "tokens", "word", "token")
TAGS = ("tags", "ner_tags", "ner", "labels", "label", "pos_tags", "upos")
"""Columns that are taken, in this order, when none is named."""

LONGEST = 100_000
"""Words that a sentence may have: more of them mean that blank lines are missing."""

COLUMNS = (".conll", ".conllu", ".iob", ".iob2", ".bio", ".bioes", ".ner", ".tsv", ".csv")
"""Endings of files that hold a word a line."""


class TaggedData(Data, kind="tagged"):
    """Where words and their tags come from."""

    validation_fraction: float = Field(default=0.1, ge=0, lt=1)
    """The part that is kept apart, drawn by the sentence and `split_seed`."""
    split_seed: int = 0
    word: str = "auto"
    """The column of the words: a number from 1, or in JSONL a name; `auto` is the first."""
    tag: str = "auto"
    """The column of the tags; `auto` is the last, `none` says that there is none."""
    separator: str = "auto"
    """What stands between two columns: `tab`, `space` (one or more), or any text."""
    format: Format = "auto"
    encoding: Encoding = "auto"
    """How letters are written as bytes, such as `gb18030`; `auto` is UTF-8, else what the file itself suggests."""
    on_invalid: Literal["error", "replace"] = "error"

    @field_validator("word", "tag", mode="before")
    @classmethod
    def _number_or_name(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    def reading(self, say: Say = lambda message: None) -> Reading:
        return Reading("auto", self.format, "line", self.on_invalid, say, self.encoding)


def read_tagged(config: TaggedData, say: Say = lambda message: None) -> Iterator[tuple[int, Sentence]]:
    """All sentences in order, each with its part: 0 train, 1 validation.

    Raises `RegardError` where a source is missing or damaged, holds nothing, or lacks a tag.
    """
    how = config.reading(say)
    if not config.source:
        raise RegardError("no source of tagged words was given: name a file with data.source=….")
    most = config.validation_fraction * 2**63
    for part, source in enumerate((config.source, config.validation)):
        for name in source:
            empty = True
            for sentence in sentences(name, config, how):
                empty = False
                apart = not config.validation and derive_seed(config.split_seed, "words", *sentence.words) < most
                yield part or int(apart), sentence
            if empty:
                raise RegardError(f"{name!r} holds no tagged words.")
    how.summary()


def sentences(name: str, config: TaggedData, how: Reading, tagged: bool = True) -> Iterator[Sentence]:
    """The sentences of one source. tagged: whether each word must have a tag. Raises `RegardError`."""
    if name.startswith("hf:"):
        for table in tables(name, how, lambda rows: True):
            yield from _of_table(table, config, how, tagged)
        return
    for path in source_files(name):
        if format_of(path, how) in ("jsonl", "parquet") or suffix(path) == ".json":
            for table in tables(str(path or "-"), how, lambda rows: True):
                yield from _of_table(table, config, how, tagged)
        else:
            yield from _of_lines(path, config, how, tagged)


# ---- a word a line ----


def _of_lines(path: Path | None, config: TaggedData, how: Reading, tagged: bool) -> Iterator[Sentence]:
    name = described(path)
    every = lines(path, how)
    peek = list(itertools.islice(every, PEEK))
    if not tagged and not _a_word_a_line(peek, path, config):
        how.note(f"{name}: each line is read as a sentence.")
        for number, line in enumerate(itertools.chain(peek, every), start=1):
            yield Sentence(split_words(line), None, f"{name}, line {number}", line)
        return
    separate = _separator(peek, config, format_of(path, how))
    widths = Counter(len(separate(line)) for line in peek if not _passed_by(line, None))
    if not widths:
        if next(every, None) is not None:
            raise RegardError(f"{name} has no word in its first {PEEK} lines.")
        return
    width = widths.most_common(1)[0][0]
    word = _place(config.word, 0, width, name, "data.word")
    tag = (
        None if config.tag == "none" or (width == 1 and not tagged) else _place(config.tag, -1, width, name, "data.tag")
    )
    if tag == word and tagged:
        raise RegardError(f"{name} has one column, and a word and its tag were expected in each line.")
    words: list[str] = []
    tags: list[str] = []
    start = 0
    for number, line in enumerate(itertools.chain(peek, every, [""]), start=1):
        if not line.strip():
            if words:
                yield Sentence(tuple(words), None if tag is None else tuple(tags), f"{name}, line {start}")
                words, tags = [], []
            continue
        cells = separate(line)
        if _passed_by(line, None if words else len(cells) == width):
            continue
        where = f"{name}, line {number}"
        if len(cells) <= max(word, tag or 0):
            raise RegardError(f"{where}, has {len(cells)} column(s), and {width} were expected.")
        start = start if words else number
        words.append(_word(cells[word], where, how))
        if tag is not None:
            tags.append(_tag(cells[tag], where))
        if len(words) > LONGEST:
            raise RegardError(
                f"{name} has no blank line in the {LONGEST:,} lines from line {start} on, and one is expected after "
                "each sentence."
            )


def _a_word_a_line(peek: list[str], path: Path | None, config: TaggedData) -> bool:
    """Whether a file without tags holds a word a line, rather than a sentence."""
    if suffix(path) in COLUMNS or config.separator != "auto":
        return True
    filled = [line for line in peek if line.strip()]
    if all("\t" in line for line in filled):
        return True
    rows = [line.split() for line in filled]
    alike = len({len(row) for row in rows}) == 1 and len(rows) > 1 and len(filled) < len(peek)
    return alike and (len(rows[0]) == 1 or all(re.fullmatch(r"O|[BIESLUM][-_].+|[A-Z]+\$?", row[-1]) for row in rows))


def _separator(peek: list[str], config: TaggedData, format: str) -> Callable[[str], list[str]]:
    kind = config.separator
    if kind == "auto":
        kind = "," if format == "csv" else "tab" if any("\t" in line.strip() for line in peek) else "space"
    if kind == "space":
        return str.split
    if kind == ",":
        return lambda line: next(csv.reader([line]))
    return lambda line: line.split("\t" if kind == "tab" else kind)


def _passed_by(line: str, fits: bool | None) -> bool:
    """Whether a line holds no word. A # opens a comment before a sentence, unless it stands there as a word does."""
    if not line.strip() or line.startswith("-DOCSTART-"):
        return True
    comment = line.startswith("#") and fits is not None and not fits
    return comment or bool(re.match(r"# ?[\w:.-]+ = ", line))


def _place(column: str, default: int, width: int, name: str, setting: str) -> int:
    if column == "auto":
        return default % width
    if not column.isdecimal() or not 1 <= int(column) <= width:
        raise RegardError(f"{name} has {width} column(s), and {setting} is {column!r}: give a number from 1.")
    return int(column) - 1


def _word(text: str, where: str, how: Reading) -> str:
    if not text.strip():
        raise RegardError(f"{where}, has a tag and no word.")
    return characters(text, where, how)


def _tag(value: Any, where: str) -> str:
    name = "" if value is None else name_of(value)
    if not name:
        raise RegardError(f"{where}, has a word without a tag.")
    return name


# ---- rows ----


def _of_table(table: Table, config: TaggedData, how: Reading, tagged: bool) -> Iterator[Sentence]:
    word = _column(table, config.word, WORDS, "word", how)
    tag = None if config.tag == "none" else _column(table, config.tag, TAGS, "tag", how)
    if word is None or (tag is None and tagged):
        raise RegardError(
            f"{table.name}: name the columns of words and tags with data.word=… and data.tag=…; it has "
            f"{table.listed()}."
        )
    for row in table.rows:
        words = tuple(_word(one, row.where, how) for one in _strings(row, word))
        tags = None
        if tag is not None and row.cells.get(tag) is not None:
            tags = tuple(_tag(one, row.where) for one in _list(row, tag))
            if len(tags) != len(words):
                raise RegardError(f"{row.where}, has {len(words)} word(s) and {len(tags)} tag(s).")
        if tags is None and tagged:
            raise RegardError(f"{row.where}, has no tags in the column {tag!r}, and each sentence needs them to learn.")
        if words or not tagged:
            yield Sentence(words, tags, row.where)
        else:
            how.left_out += 1


def _column(table: Table, asked: str, usual: tuple[str, ...], what: str, how: Reading) -> str | None:
    if asked != "auto":
        return table.column(asked, f"data.{what}")
    found = next((name for name in usual if name in table.columns), None)
    if found is not None and found != usual[0]:
        how.note(f"{table.name}: the {what}s are taken from the column {found!r}; choose another with data.{what}=….")
    return found


def _list(row: Row, column: str) -> list[Any]:
    value = cell(row, column)
    if isinstance(value, str):
        return value.split()
    if not isinstance(value, (list, tuple)):
        raise RegardError(f"{row.where}, holds {value!r:.40} in the column {column!r}, and a list was expected.")
    return list(value)


def _strings(row: Row, column: str) -> list[str]:
    values = _list(row, column)
    for value in values:
        if not isinstance(value, str):
            raise RegardError(f"{row.where}, holds {value!r:.40} among its words, and text was expected.")
    return values


_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_WORD = re.compile(
    r"""https?://\S+ | [@\#]\w+                           # addresses, names and marks as people write them
      | [\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]    # Chinese characters, each for itself
      | [^\W\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+(?:[-.'’&][^\W\u3400-\u9fff]+)*
      | \S""",
    re.VERBOSE,
)


def split_words(text: str) -> tuple[str, ...]:
    """The words of a text, punctuation apart, Chinese by characters; each occurs in the text, in this order."""
    words: list[str] = []
    end = 0
    for found in _WORD.finditer(text):
        start = found.start()
        # `re` ends a word before a combining mark, though its letters may go on after it.
        after_mark = unicodedata.category(text[start - 1]).startswith("M") and text[start].isalpha()
        if words and start == end and (joined(text, start) or (after_mark and not _HAN.match(text[start]))):
            words[-1] += found.group()
        else:
            words.append(found.group())
        end = found.end()
    return tuple(words)
