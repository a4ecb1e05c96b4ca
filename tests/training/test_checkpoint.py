"""Checkpoints under what disks do: cut files, flipped bits, no room, and being killed half-way."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from regard.settings import RegardError
from regard.training import checkpoint
from regard.training.checkpoint import CheckpointError, load_newest, load_tensors, prepare, save, save_tensors


def writer(value: float):
    return lambda folder: save_tensors(folder / "model.safetensors", {"w": torch.full((1000,), value)})


def three(folder: Path) -> None:
    for step in (10, 20, 30):
        save(folder, step, writer(step), {"loss": step / 7})


def test_comes_back_and_only_two_are_kept(tmp_path: Path) -> None:
    three(tmp_path)
    found = load_newest(tmp_path, tell=pytest.fail)
    assert found is not None
    assert (found.step, found.state) == (30, {"loss": 30 / 7})
    assert load_tensors(found.path / "model.safetensors")["w"][0] == 30
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000000020", "step-000000030"]


def test_an_empty_or_missing_folder_has_none(tmp_path: Path) -> None:
    assert load_newest(tmp_path) is None
    assert load_newest(tmp_path / "nowhere") is None


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("file", ["model.safetensors", "checkpoint.json"])
@pytest.mark.parametrize("damage", [flip, cut, Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_damaged_newest_falls_back_with_a_message(tmp_path: Path, file: str, damage) -> None:
    three(tmp_path)
    damage(tmp_path / "step-000000030" / file)
    told: list[str] = []
    found = load_newest(tmp_path, told.append)
    assert found is not None
    assert found.step == 20
    assert len(told) == 1
    assert "step-000000030 is damaged" in told[0]


def test_going_on_from_the_one_before_drops_the_damaged_future(tmp_path: Path) -> None:
    three(tmp_path)
    cut(tmp_path / "step-000000030" / "model.safetensors")
    save(tmp_path, 25, writer(25), {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000000020", "step-000000025"]


def test_all_damaged_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    three(tmp_path)
    for path in tmp_path.glob("*/checkpoint.json"):
        cut(path)
    with pytest.raises(CheckpointError, match=r"every checkpoint .*another folder"):
        load_newest(tmp_path, tell=lambda _: None)


def test_a_manifest_cannot_point_outside_its_folder(tmp_path: Path) -> None:
    three(tmp_path)
    path = tmp_path / "step-000000030" / "checkpoint.json"
    manifest = json.loads(path.read_text())
    manifest.pop("sha256")
    manifest["files"]["../step-000000020/model.safetensors"] = manifest["files"]["model.safetensors"]
    path.write_text(json.dumps({"sha256": checkpoint._checksum_of(manifest), **manifest}))
    found = load_newest(tmp_path, tell=lambda _: None)
    assert found is not None
    assert found.step == 20


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_no_room_keeps_the_last_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, code: int
) -> None:
    three(tmp_path)

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(checkpoint.os, function, fail)
    with pytest.raises(CheckpointError) as caught:
        save(tmp_path, 40, writer(40), {})
    message = str(caught.value)
    assert os.strerror(code) in message
    assert "step 40 could not be written" in message
    assert "of step 30, is kept" in message
    monkeypatch.undo()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000000020", "step-000000030"]
    save(tmp_path, 40, writer(40), {})
    assert load_newest(tmp_path, tell=pytest.fail).step == 40  # type: ignore[union-attr]


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    """The kernel itself refuses the write, in the middle of the tensors."""
    program = f"""
import resource, torch
from pathlib import Path
from regard.training.checkpoint import *
folder = Path({str(tmp_path)!r})
put = lambda n: lambda place: save_tensors(place / "model.safetensors", {{"w": torch.zeros(n)}})
save(folder, 1, put(10), {{}})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save(folder, 2, put(1_000_000), {{}})
except CheckpointError as error:
    print(error)
print(load_newest(folder).step, sorted(p.name for p in folder.iterdir()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    message, rest = done.stdout.splitlines()
    assert "step 2 could not be written" in message
    assert "File too large" in message
    assert "step 1, is kept" in message
    assert rest == "1 ['step-000000001']"


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    three(tmp_path)
    (tmp_path / ".partial-000000035").mkdir()
    (tmp_path / ".partial-000000035" / "model.safetensors").write_bytes(b"half")
    assert load_newest(tmp_path, tell=pytest.fail).step == 30  # type: ignore[union-attr]
    save(tmp_path, 40, writer(40), {})
    assert not list(tmp_path.glob(".partial*"))


def test_an_interrupt_while_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    three(tmp_path)

    def interrupted(folder: Path) -> None:
        writer(1.0)(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, 40, interrupted, {})
    assert load_newest(tmp_path, tell=pytest.fail).step == 30  # type: ignore[union-attr]
    assert not list(tmp_path.glob(".partial*"))


def test_a_folder_below_a_file_is_refused_before_anything(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RegardError, match=r"nothing can be written to .*file/run .*another folder"):
        prepare(tmp_path / "file" / "run")
    prepare(tmp_path / "new" / "run")
    assert not list((tmp_path / "new" / "run").iterdir())
