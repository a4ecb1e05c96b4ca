"""The record of a run, in files and before the eyes.

`metrics.jsonl` holds what is a function of seed and step, so that a resumed run writes the very lines that an
uninterrupted one writes; `timings.jsonl` holds what a clock says. A line is a JSON object with its `step`.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from regard.settings import RegardError
from regard.training.checkpoint import recording

METRICS, TIMINGS = "metrics.jsonl", "timings.jsonl"


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; a line that was cut while being written, and all after it, are left out."""
    lines: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_bytes().splitlines(keepends=True):
            try:
                values = json.loads(line)
            except ValueError:
                break
            if not isinstance(values, dict) or "step" not in values or not line.endswith(b"\n"):
                break
            lines.append(values)
    return lines


def cut(path: Path, after: int) -> None:
    """Leaves only the lines up to step `after`, as they were written."""
    kept = [line for line in read(path) if line["step"] <= after]
    beside = path.with_suffix(".partial")
    beside.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    os.replace(beside, path)


class Metrics:
    """Appends to the record of a run in `folder`, of which lines past the step `after` are cut first (−1: all)."""

    def __init__(self, folder: Path, after: int = -1, tensorboard: bool = False, writes: bool = True) -> None:
        """`writes` is False on all processes of a run but the first. It, `write` and `flush` raise `RegardError`."""
        self.folder = folder
        self._files: dict[str, IO[str]] = {}
        with recording(folder):
            for name in (METRICS, TIMINGS) if writes else ():
                cut(folder / name, after)
                self._files[name] = (folder / name).open("a", encoding="utf-8")
        self._board = _board(folder / "tensorboard", after) if tensorboard and writes else None

    def write(self, step: int, **values: float | str) -> None:
        """A line that depends on nothing but the settings, the data, the seed and the step."""
        self._line(METRICS, step, values)

    def time(self, step: int, **values: float) -> None:
        """A line that depends on the machine: rates and seconds."""
        self._line(TIMINGS, step, values)

    def _line(self, name: str, step: int, values: dict[str, Any]) -> None:
        if name not in self._files:
            return
        # Not a number is no JSON; the NaN guard stops the run before one could get here.
        line = json.dumps({"step": step, **values}, allow_nan=False) + "\n"
        with recording(self.folder):
            self._files[name].write(line)
            self._files[name].flush()
        if self._board is not None:
            for key, value in values.items():
                if isinstance(value, str):
                    self._board.add_text(key, value, step)
                else:
                    self._board.add_scalar(key, value, step)

    def flush(self) -> None:
        """Waits until all lines are on the disk, as they must be before the checkpoint that counts on them."""
        with recording(self.folder):
            for file in self._files.values():
                os.fsync(file.fileno())

    def close(self) -> None:
        for file in self._files.values():
            with suppress(OSError):  # a full disk may refuse a line once more
                file.close()
        if self._board is not None:
            self._board.close()


def _board(folder: Path, after: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise RegardError(
            "training.tensorboard: TensorBoard is not installed; run pip install 'regard[tensorboard]'."
        ) from None
    return SummaryWriter(str(folder), purge_step=after + 1)


class Speed:
    """Tokens a second over the newest steps, what lies between steps (evaluation, saving) left out."""

    def __init__(self, steps: int = 20) -> None:
        self._newest: deque[tuple[float, int]] = deque(maxlen=steps)
        self._begun = 0.0

    def start(self) -> None:
        self._begun = time.perf_counter()

    def stop(self, tokens: int) -> None:
        self._newest.append((time.perf_counter() - self._begun, tokens))

    @property
    def rate(self) -> float:
        seconds, tokens = (sum(values) for values in zip(*self._newest, strict=True))
        return tokens / max(seconds, 1e-9)


class Progress(Protocol):
    """What a run shows while it runs."""

    def update(self, step: int, loss: float, tokens_per_second: float) -> None: ...
    def sample(self, text: str) -> None: ...
    def say(self, line: str) -> None: ...
    def close(self) -> None: ...


def progress(
    steps: int, done: int = 0, quiet: bool = False, console: Console | None = None, unit: str = "tokens"
) -> Progress:
    """A live bar on a terminal, plain lines into a file or a pipe, nothing if `quiet`. unit: what a target is."""
    console = console or Console(stderr=True)
    if quiet:
        return Quiet()
    return Live(steps, done, console, unit) if console.is_terminal else Plain(steps, done, console, unit)


class Quiet:
    def update(self, step: int, loss: float, tokens_per_second: float) -> None: ...
    def sample(self, text: str) -> None: ...
    def say(self, line: str) -> None: ...
    def close(self) -> None: ...


class Plain:
    """A line every few seconds, for logs."""

    def __init__(self, steps: int, done: int, console: Console, unit: str = "tokens", every: float = 5.0) -> None:
        self.unit, self.steps, self.first, self.console, self.every = unit, steps, done, console, every
        self.begun = self.last = time.monotonic()

    def update(self, step: int, loss: float, tokens_per_second: float) -> None:
        now = time.monotonic()
        if now - self.last < self.every and step < self.steps:
            return
        self.last = now
        left = (now - self.begun) / max(1, step - self.first) * (self.steps - step)
        rate = f"{tokens_per_second:,.0f} {self.unit}/s"
        self.say(f"step {step}/{self.steps}  loss {loss:.4f}  {rate}  {duration(left)} left")

    def sample(self, text: str) -> None:
        self.say(f"sample: {one_line(text)}")

    def say(self, line: str) -> None:
        self.console.print(Text(line), soft_wrap=True)

    def close(self) -> None: ...


class Live:
    """A bar with rate, time left, loss and the newest sample below it."""

    def __init__(self, steps: int, done: int, console: Console, unit: str = "tokens") -> None:
        self.unit = unit
        self.bars = Bars(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("loss {task.fields[loss]}  {task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            refresh_per_second=4,
        )
        self.task = self.bars.add_task("train", total=steps, completed=done, loss="–", rate="")
        self.bars.start()

    def update(self, step: int, loss: float, tokens_per_second: float) -> None:
        self.bars.update(self.task, completed=step, loss=f"{loss:.4f}", rate=f"{tokens_per_second:,.0f} {self.unit}/s")

    def sample(self, text: str) -> None:
        self.say(f"  … {one_line(text)}")

    def say(self, line: str) -> None:
        self.bars.console.print(Text(line), soft_wrap=True)

    def close(self) -> None:
        self.bars.stop()


def one_line(text: str) -> str:
    """Text that cannot steer a terminal: line ends as ⏎, other unprintable characters as ·."""
    return "".join(c if c.isprintable() else "⏎" if c == "\n" else "·" for c in text)


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
