"""The record of a run: what is cut on resume, what is shown, and what never reaches a terminal."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from regard.training.metrics import METRICS, TIMINGS, Live, Metrics, Plain, Quiet, cut, duration, progress, read


def test_lines_past_the_checkpoint_are_cut(tmp_path: Path) -> None:
    first = Metrics(tmp_path)
    for step in range(1, 6):
        first.write(step, loss=1 / step)
        first.time(step, seconds=0.1 * step)
    first.close()
    whole = (tmp_path / METRICS).read_bytes()
    again = Metrics(tmp_path, after=3)
    for step in (4, 5):
        again.write(step, loss=1 / step)
    again.flush()
    again.close()
    assert (tmp_path / METRICS).read_bytes() == whole
    assert [line["step"] for line in read(tmp_path / TIMINGS)] == [1, 2, 3]


@pytest.mark.parametrize("torn", ['{"step": 3, "lo', '{"step": 3}', "17\n", "\0\0\0\n"])
def test_a_torn_last_line_is_left_out(tmp_path: Path, torn: str) -> None:
    path = tmp_path / METRICS
    path.write_text('{"step": 1}\n{"step": 2}\n' + torn)
    assert [line["step"] for line in read(path)] == [1, 2]
    cut(path, 9)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_no_line_is_not_json(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    with pytest.raises(ValueError):
        metrics.write(1, loss=float("nan"))
    metrics.close()


def test_tensorboard_holds_the_same_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    metrics = Metrics(tmp_path, tensorboard=True)
    for step in (1, 2):
        metrics.write(step, loss=0.5 * step, sample="words")
    metrics.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 0.5), (2, 1.0)]
    assert json.loads((tmp_path / METRICS).read_text().splitlines()[1]) == {"step": 2, "loss": 1.0, "sample": "words"}


def shown(terminal: bool) -> tuple[io.StringIO, Console]:
    out = io.StringIO()
    return out, Console(file=out, force_terminal=terminal, width=100)


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_shows_loss_rate_and_sample(terminal: bool) -> None:
    out, console = shown(terminal)
    bar = progress(10, console=console)
    assert isinstance(bar, Live if terminal else Plain)
    bar.update(10, 1.23456, 4321.0)
    bar.sample("[bold]not markup[/bold]\nnext \x1b[2J\x07")
    bar.close()
    text = out.getvalue()
    assert "1.2346" in text
    assert "4,321 tokens/s" in text
    assert "10/10" in text
    assert "[bold]not markup[/bold]⏎next ·[2J·" in text
    assert "\x1b[2J" not in text


def test_plain_lines_come_seldom_and_at_the_end() -> None:
    out, console = shown(False)
    bar = Plain(100, 0, console, every=3600)
    for step in range(1, 101):
        bar.update(step, 1.0, 1.0)
    assert out.getvalue().count("\n") == 1
    assert "0:00:00 left" in out.getvalue()
    assert isinstance(progress(3, quiet=True), Quiet)


def test_durations() -> None:
    assert [duration(s) for s in (0, 59.6, 3661)] == ["0:00:00", "0:01:00", "1:01:01"]
