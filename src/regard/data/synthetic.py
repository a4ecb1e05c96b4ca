"""Copy, reverse, sort: endless tasks that a sound model learns within a minute, with the loss on the answer alone.

q b d = d b q <       letters, the sign =, the answer, the end token
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from regard.data.batches import IGNORE, Batch, rows_of
from regard.seeds import derive_seed
from regard.settings import RegardError, nearest

TASKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "copy": lambda rows: rows,
    "reverse": lambda rows: rows[:, ::-1],
    "sort": lambda rows: np.sort(rows, axis=1),
}
"""Name → what the answer to each row of symbols is."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class TaskBatches:
    """Batches of one task. A batch is a pure function of (seed, step), as those of text are.

    symbols: how many different ones there are; their ids are 2 …, after end (0) and = (1).
    lengths: the shortest and the longest question; the rows of one batch are equally long.
    """

    task: str
    batch_size: int
    symbols: int = 26
    lengths: tuple[int, int] = (8, 8)
    seed: int = 0
    accumulate: int = 1

    END = 0
    EQUALS = 1

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise RegardError(f"there is no task {self.task!r}{nearest(self.task, TASKS)}")

    @property
    def vocab_size(self) -> int:
        return self.symbols + 2

    @property
    def context_length(self) -> int:
        """Inputs of the longest row: question, =, answer."""
        return 2 * self.lengths[1] + 1

    def at(self, step: int, micro: int = 0, rank: int = 0, world: int = 1) -> Batch:
        random = np.random.default_rng(derive_seed(self.seed, "task", step))
        length = int(random.integers(self.lengths[0], self.lengths[1], endpoint=True))
        questions = random.integers(2, self.vocab_size, (self.batch_size, length))
        rows = rows_of(self.batch_size, self.accumulate, micro, rank, world)
        questions = questions[rows.start : rows.stop]
        equals, end = (np.full((len(questions), 1), id) for id in (self.EQUALS, self.END))
        row = torch.from_numpy(np.concatenate([questions, equals, TASKS[self.task](questions), end], axis=1))
        targets = row[:, 1:].clone()
        targets[:, :length] = IGNORE
        return Batch(row[:, :-1].contiguous(), targets, len(questions) * (length + 1))


def rows(task: str, count: int, seed: int = 0) -> Iterator[str]:
    """Rows of a task as text, such as `qbd=dbq`, of 3 to 8 letters."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        question = random.integers(len(LETTERS), size=(1, random.integers(3, 9)))
        answer = TASKS[task](question)
        yield "=".join("".join(LETTERS[i] for i in row[0]) for row in (question, answer))
