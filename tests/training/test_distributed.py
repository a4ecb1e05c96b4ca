"""Two processes give the losses of one, whether each holds the whole model (DDP) or a part of it (FSDP2)."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from regard.training import fit
from regard.training.metrics import read
from tests.training import small

PROGRAM = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from regard.training import EMA, AdamW, Muon, devices, fit
from tests.training import small
from tests.training.test_distributed import RUNS
folder = Path(sys.argv[1])
devices.join("cpu")
for name, training in RUNS.items():
    batches = small.batches(training.batch_size, training.accumulate)
    for steps in (6, 12):  # the second goes on from the first's checkpoint
        run = training.replace(steps=steps, spread=name.split("-")[0])
        fit(small.model(dropout=0.0), batches, run, folder / name, validation=small.validation())
        devices.wait()
devices.leave()
"""

_ADAMW = small.settings(steps=12, checkpoint_every=6, log_every=1, batch_size=8)
RUNS = {
    "ddp-adamw": _ADAMW.replace(accumulate=2),
    "fsdp-adamw": _ADAMW.replace(accumulate=2),
    "fsdp-muon": small.RUNS["muon-ema"].replace(steps=12, checkpoint_every=6, log_every=1),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes wrote."""
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = str(one.getsockname()[1])
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder)],
            cwd=Path(__file__).parents[2],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_two_processes_equal_one(name: str, folder: Path, tmp_path: Path) -> None:
    training = RUNS[name]
    batches = small.batches(training.batch_size, training.accumulate)
    # The schedule is the one of the second session; the first one's rates are those of a shorter run.
    for steps in (6, 12):
        fit(small.model(dropout=0.0), batches, training.replace(steps=steps), tmp_path, validation=small.validation())
    one, two = read(tmp_path / "metrics.jsonl"), read(folder / name / "metrics.jsonl")
    assert len(one) == len(two) > 12
    for mine, theirs in zip(one, two, strict=True):
        assert theirs == pytest.approx(mine, rel=1e-4)
    manifest = json.loads((folder / name / "checkpoints" / "step-000000012" / "checkpoint.json").read_text())
    assert manifest["state"]["resolved"]["spread"] == name.split("-")[0]
    assert manifest["state"]["resolved"]["world"] == 2
    assert one[0]["validation_loss"] > one[-1]["validation_loss"]


@pytest.mark.slow
def test_what_two_processes_saved_one_can_go_on_with(folder: Path) -> None:
    training = RUNS["fsdp-muon"].replace(steps=15)
    told: list[str] = []

    class Show:
        def update(self, *_: object) -> None: ...
        def sample(self, *_: object) -> None: ...
        def close(self) -> None: ...
        def say(self, line: str) -> None:
            told.append(line)

    batches = small.batches(training.batch_size, training.accumulate)
    run = fit(
        small.model(dropout=0.0), batches, training, folder / "fsdp-muon", validation=small.validation(), show=Show()
    )
    assert run.step == 15
    assert any("began on 2 processes" in line for line in told)
