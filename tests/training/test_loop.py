"""The loop's exactness: what happens to a run on its way must not be seen in what comes out of it."""

import errno
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from regard.data.batches import Batch, Batches
from regard.settings import RegardError
from regard.store import load_model
from regard.training import SGD, Cosine, Run, TrainingConfig, checkpoint, fit
from regard.training.checkpoint import CheckpointError
from regard.training.guard import NonFiniteError
from regard.training.metrics import read
from tests.training import small


@dataclass(frozen=True)
class Dies:
    """Batches that do something when a step is asked for: the moment at which a run dies."""

    inner: Batches
    step: int
    what: object
    batch_size: int = 4

    def at(self, step: int, micro: int = 0, rank: int = 0, world: int = 1) -> Batch:
        if step == self.step - 1 and micro == 0:
            self.what()  # type: ignore[operator]
        return self.inner.at(step, micro, rank, world)


class Killed(BaseException):
    pass


def killed() -> None:
    raise Killed


def run(folder: Path, training: TrainingConfig, dies: int | None = None, what: object = killed) -> Run | None:
    batches = small.batches(training.batch_size, training.accumulate)
    source = batches if dies is None else Dies(batches, dies, what)
    try:
        return fit(small.model(), source, training, folder, validation=small.validation())
    except Killed:
        return None


@pytest.mark.parametrize("name", small.RUNS)
def test_killed_runs_end_in_the_same_bits(name: str, tmp_path: Path) -> None:
    """Before the first checkpoint, on one, between two in another epoch, and twice in a run."""
    training = small.RUNS[name]
    run(tmp_path / "whole", training)
    whole = small.files(tmp_path / "whole")
    for step in (2, 10, 14):
        folder = tmp_path / f"killed-{step}"
        assert run(folder, training, dies=step) is None
        if step == 14:
            run(folder, training, dies=19)
        done = run(folder, training)
        assert done is not None
        assert (done.step, done.ended) == (20, "finished")
        assert small.files(folder) == whole


def test_a_run_learns_and_says_so(tmp_path: Path) -> None:
    done = run(tmp_path, small.settings(steps=60))
    assert done is not None
    assert done.before is not None
    assert done.after is not None
    assert done.before.loss == pytest.approx(math.log(11), abs=0.1)
    assert done.after.loss < 0.9 * done.before.loss
    assert "before" in str(done)
    lines = read(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == list(range(3, 61, 3))
    assert [line["step"] for line in lines if "validation_loss" in line] == list(range(0, 61, 4))
    assert lines[-2]["tokens"] == done.tokens == 60 * 4 * small.CONTEXT


def test_smoothed_objective_and_true_loss_are_apart(tmp_path: Path) -> None:
    run(tmp_path, small.RUNS["last"])
    lines = [line for line in read(tmp_path / "metrics.jsonl") if "loss" in line]
    assert all(line["objective"] != line["loss"] for line in lines)
    run(tmp_path / "plain", small.RUNS["adamw"])
    assert all("objective" not in line for line in read(tmp_path / "plain" / "metrics.jsonl"))


def test_going_on_after_the_end_does_nothing_and_more_steps_go_on(tmp_path: Path) -> None:
    training = small.settings(schedule=Cosine(learning_rate=1e-2, final=1.0))
    run(tmp_path, training)
    before = small.files(tmp_path)
    run(tmp_path, training)
    assert small.files(tmp_path) == before
    run(tmp_path, training.replace(steps=28))
    run(tmp_path / "whole", training.replace(steps=28))
    weights = "checkpoints/step-000000028/model.safetensors"
    assert (tmp_path / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()


def test_the_folder_holds_the_best_model_not_the_last(tmp_path: Path) -> None:
    """A rate that ruins the model late: the best stays, and patience ends the run."""
    training = small.settings(steps=200, optimiser=SGD(), patience=3)
    rates = lambda self, step, steps: 0.3 if step <= 40 else 3.0  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cosine, "rate", rates)
        done = run(tmp_path, training)
    assert done is not None
    assert done.ended == "patience"
    assert done.step == done.best_step + 3 * 4 < 200
    losses = {
        line["step"]: line["validation_loss"] for line in read(tmp_path / "metrics.jsonl") if "validation_loss" in line
    }
    assert done.best_loss == min(losses.values()) == losses[done.best_step]
    from regard.evaluation import Evaluation, total_loss

    nats, tokens = total_loss(load_model(tmp_path), small.validation())
    assert Evaluation.of(nats, tokens).loss == pytest.approx(done.best_loss, rel=1e-6)
    steps = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert steps[-1] == f"step-{done.step:09d}"
    again = run(tmp_path, training)
    assert again is not None
    assert (again.step, again.ended) == (done.step, "patience")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_run_goes_on_as_if_nothing_was(tmp_path: Path, number: int) -> None:
    training = small.RUNS["muon-ema"]
    run(tmp_path / "whole", training)
    before = signal.getsignal(number)
    stopped = run(tmp_path / "part", training, dies=7, what=lambda: os.kill(os.getpid(), number))
    assert stopped is not None
    assert (stopped.step, stopped.ended) == (7, "interrupted")
    assert signal.getsignal(number) is before
    run(tmp_path / "part", training)
    assert small.files(tmp_path / "part") == small.files(tmp_path / "whole")


def test_a_run_stopped_early_holds_what_it_learnt(tmp_path: Path) -> None:
    """Only the random start was evaluated, but that is not the model to keep."""
    training = small.settings(evaluate_every=100)
    stopped = run(tmp_path, training, dies=3, what=lambda: os.kill(os.getpid(), signal.SIGINT))
    assert stopped is not None
    assert stopped.step == 3
    newest = tmp_path / "checkpoints" / "step-000000003" / "model.safetensors"
    assert (tmp_path / "model.safetensors").read_bytes() == newest.read_bytes()


def test_a_damaged_newest_checkpoint_costs_time_but_no_bit(tmp_path: Path) -> None:
    training = small.RUNS["muon-ema"]
    run(tmp_path / "whole", training)
    run(tmp_path / "part", training, dies=18)
    with open(tmp_path / "part" / "checkpoints" / "step-000000015" / "optimiser.safetensors", "r+b") as file:
        file.seek(1000)
        file.write(b"\xff")
    run(tmp_path / "part", training)
    assert small.files(tmp_path / "part") == small.files(tmp_path / "whole")


def test_a_full_disk_in_a_checkpoint_stops_the_run_which_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = small.RUNS["adamw"]
    run(tmp_path / "whole", training)
    real = checkpoint.save_tensors

    def full(path: Path, tensors: dict[str, torch.Tensor]) -> None:
        if "000000010" in str(path):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, tensors)

    monkeypatch.setattr(checkpoint, "save_tensors", full)
    with pytest.raises(CheckpointError, match=r"step 10 could not be written .*No space left.* of step 5, is kept"):
        run(tmp_path / "part", training)
    assert [p.name for p in (tmp_path / "part" / "checkpoints").iterdir()] == ["step-000000005"]
    monkeypatch.undo()
    run(tmp_path / "part", training)
    assert small.files(tmp_path / "part") == small.files(tmp_path / "whole")


def test_a_full_disk_under_the_model_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's own sentence gives way to the one that says what is kept."""
    from regard import store

    run(tmp_path, small.settings(steps=5))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store, "save_file", full)
    with pytest.raises(CheckpointError, match=r"could not be written .*No space left.* of step 5, is kept"):
        run(tmp_path, small.settings(steps=10))
    assert not list(tmp_path.glob("**/.partial*"))


def test_a_full_disk_under_the_record_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/full takes no byte; the run says what is kept, and goes on when there is room."""
    for name, steps in (("whole", 5), ("whole", 10), ("part", 5)):
        run(tmp_path / name, small.settings(steps=steps))
    real = Path.open
    with monkeypatch.context() as full:
        full.setattr(Path, "open", lambda path, *how, **more: real(
            Path("/dev/full") if path.name == "metrics.jsonl" and how == ("a",) else path, *how, **more
        ))  # fmt: skip
        with pytest.raises(CheckpointError, match=r"the record of the run could not be written .*of step 5, is kept"):
            run(tmp_path / "part", small.settings(steps=10))
    run(tmp_path / "part", small.settings(steps=10))
    assert small.files(tmp_path / "part") == small.files(tmp_path / "whole")


def test_accumulation_equals_the_big_batch(tmp_path: Path) -> None:
    """In float64, on rows with unequal numbers of targets, with every term of the objective."""

    @dataclass(frozen=True)
    class Ragged:
        accumulate: int
        batch_size: int = 8

        def at(self, step: int, micro: int = 0, rank: int = 0, world: int = 1) -> Batch:
            whole = small.batches(8).at(step)
            targets = whole.targets.clone()
            for row in range(8):
                targets[row, : (row * row) % small.CONTEXT] = -100
            rows = slice(micro * 8 // self.accumulate, (micro + 1) * 8 // self.accumulate)
            count = int((targets[rows] != -100).sum())
            return Batch(whole.inputs[rows], targets[rows], count, whole.documents[rows])  # type: ignore[index]

    results = {}
    for accumulate in (1, 4, 8):
        model = small.model(dropout=0.0).double()
        training = small.settings(steps=5, batch_size=8, accumulate=accumulate, smoothing=0.1, z_loss=1e-2)
        fit(model, Ragged(accumulate), training, tmp_path / str(accumulate))
        losses = [line["loss"] for line in read(tmp_path / str(accumulate) / "metrics.jsonl")]
        results[accumulate] = torch.cat([p.detach().flatten() for p in model.parameters()]), losses
    for accumulate in (4, 8):
        assert torch.allclose(results[accumulate][0], results[1][0], rtol=0, atol=1e-9)
        assert results[accumulate][1] == pytest.approx(results[1][1], rel=1e-12)


def test_the_first_number_that_is_none_is_named(tmp_path: Path) -> None:
    """A layer's weights blow up its output at step 8: named by place, and nothing of it reaches the disk."""
    model = small.model()

    def spoil() -> None:
        model.decoder.layers[1].feedforward.register_forward_hook(lambda *args: args[2] * float("inf"))

    with pytest.raises(NonFiniteError) as caught:
        fit(model, Dies(small.batches(), 8, spoil), small.settings(), tmp_path, validation=small.validation())
    message = str(caught.value)
    assert "step 8: the output of decoder.layers.1.feedforward is not finite" in message
    assert "the checkpoint of step 5 is kept" in message
    assert "learning rate" in message
    assert "\n" not in message
    found = checkpoint.load_newest(tmp_path / "checkpoints")
    assert found is not None
    assert found.step == 5
    assert all(torch.isfinite(p).all() for p in load_model(found.path).parameters())


def test_a_bad_parameter_and_a_bad_gradient_are_named(tmp_path: Path) -> None:
    model = small.model()
    with torch.no_grad():
        model.decoder.layers[0].attention.o.weight[0, 0] = float("nan")
    with pytest.raises(
        NonFiniteError, match=r"step 1: the parameter decoder.layers.0.attention.o.weight is not .*no chec"
    ):
        fit(model, small.batches(), small.settings(), tmp_path / "a")
    model = small.model()
    model.decoder.layers[0].attention.v.weight.register_hook(lambda g: g * float("nan"))
    with pytest.raises(NonFiniteError, match=r"the gradient of decoder.layers.0.attention.v.weight"):
        fit(model, small.batches(), small.settings(), tmp_path / "b")


def test_a_validation_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    model = small.model()

    def spoil(module: torch.nn.Module, _: object, output: torch.Tensor) -> torch.Tensor:
        return output if module.training else output * float("nan")

    model.decoder.layers[0].feedforward.register_forward_hook(spoil)
    with pytest.raises(NonFiniteError, match="validation part is not finite"):
        fit(model, small.batches(), small.settings(), tmp_path, validation=small.validation())


def test_clipping(tmp_path: Path) -> None:
    """Plain SGD: the step's length is rate · min(norm, clip)."""
    for clip, factor in ((0.5, None), (None, 1.0)):
        model = small.model(dropout=0.0)
        before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
        training = small.settings(
            steps=1, log_every=1, clip=clip, optimiser=SGD(), schedule=Cosine(learning_rate=0.25, final=1.0)
        )
        fit(model, small.batches(), training, tmp_path / str(clip))
        norm = read(tmp_path / str(clip) / "metrics.jsonl")[0]["gradient_norm"]
        moved = (torch.cat([p.detach().flatten() for p in model.parameters()]) - before).norm().item()
        assert norm > 0.5
        assert moved == pytest.approx(0.25 * (norm if factor else 0.5), rel=1e-3)


def test_another_model_or_text_is_refused(tmp_path: Path) -> None:
    training = small.settings(steps=5)
    fit(small.model(), small.batches(), training, tmp_path, identity={"text": "a"})
    with pytest.raises(RegardError, match="begun with another text"):
        fit(small.model(), small.batches(), training, tmp_path, identity={"text": "b"})
    with pytest.raises(RegardError, match="begun with another model"):
        fit(small.model(dropout=0.2), small.batches(), training, tmp_path, identity={"text": "a"})
    done = fit(small.model(dropout=0.2), small.batches(), training, tmp_path, identity={"text": "b"}, resume=False)
    assert done.step == 5


def test_bfloat16_learns_and_keeps_float32_weights(tmp_path: Path) -> None:
    done = run(tmp_path, small.settings(steps=60, dtype="bfloat16"))
    assert done is not None
    assert done.after is not None
    assert done.before is not None
    assert done.after.loss < 0.9 * done.before.loss
    assert all(p.dtype == torch.float32 for p in load_model(tmp_path).parameters())
    state = json.loads(next((tmp_path / "checkpoints").glob("*60/checkpoint.json")).read_text())["state"]
    assert state["resolved"]["dtype"] == "bfloat16"


PROGRAM = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from regard.training import fit
from tests.training import small
training = small.RUNS["muon-ema"].replace(steps=150, checkpoint_every=7, evaluate_every=10)
batches = small.batches(training.batch_size, training.accumulate)
fit(small.model(), batches, training, Path(sys.argv[1]), validation=small.validation())
"""


@pytest.mark.slow
def test_sigkill_at_random_moments(tmp_path: Path) -> None:
    """Real processes, really killed: in a step, in an evaluation, in the middle of writing a checkpoint."""
    moments = random.Random(0)

    def start(folder: Path) -> subprocess.Popen[bytes]:
        root = Path(__file__).parents[2]
        return subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder)], cwd=root)

    assert start(tmp_path / "whole").wait(120) == 0
    killed = 0
    for _ in range(2):
        process = start(tmp_path / "part")
        before = len(read(tmp_path / "part" / "metrics.jsonl"))
        while process.poll() is None and len(read(tmp_path / "part" / "metrics.jsonl")) in (0, before):
            time.sleep(0.01)
        time.sleep(moments.random() * 0.5)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
    assert killed
    assert start(tmp_path / "part").wait(120) == 0
    assert small.files(tmp_path / "part") == small.files(tmp_path / "whole")
