"""How much memory a large text needs: learns a tokenizer on it, makes the store, trains three steps, and watches.

    python benchmarks/memory.py [--megabytes 1500] [--separator line|none|paragraph]

The text is made: words by Zipf's law, new ones without end, and one line that is a third of it. Everything happens
in a child process; the memory of it and of its children is sampled ten times a second as PSS (pages that are shared
count in part) and compared with that of a child that only imports the same libraries.
Fails if the peak is more than 1 GB above those, or the first step ends later than 2 s after the store is ready.
Seconds hold for a machine that does nothing else; seconds of CPU hardly depend on what else it does.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

MOST_BYTES = 1e9
MOST_SECONDS = 2.0
MODEL = ["model.d_model=64", "model.decoder.n_layers=2", "training.batch_size=16", "training.evaluate_windows=64"]


def make_text(path: Path, size: int) -> None:
    """About `size` bytes: lines of 100 words, and in the middle one line of a third of them."""
    random = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    common = [
        "".join(letters[: 8 + rank % 19][random.integers(0, 8 + rank % 19, 2 + rank % 9)]) for rank in range(50_000)
    ]

    def words(count: int) -> list[str]:
        ranks = np.minimum(random.random(count) ** (-1 / 0.3), 1e15).astype(np.int64)  # P(rank > r) = r^−0.3
        return [common[rank - 1] if rank <= 50_000 else f"{common[rank % 50_000]}{rank:x}" for rank in ranks.tolist()]

    written = 0
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        while written < size:
            block = words(200_000)
            if size // 3 < written < 2 * size // 3:
                text = " ".join(block) + " "
            else:
                text = "".join(" ".join(block[start : start + 100]) + "\n" for start in range(0, len(block), 100))
            written += file.write(text)


def child(path: str, folder: str, separator: str) -> None:
    import regard as rg
    from regard.data.batches import Batches
    from regard.text import Tokenizer
    from regard.training import run
    from regard.training.learner import Learner

    def timed(owner: object, name: str, phase: str) -> None:
        """Says when a call begins and when it is over."""
        before = getattr(owner, name)

        def call(*args: object, **settings: object) -> object:
            print(f"{phase} begins {time.time()} {time.process_time()}", flush=True)
            result = before(*args, **settings)
            print(f"{phase} ends {time.time()} {time.process_time()}", flush=True)
            return result

        setattr(owner, name, call)

    timed(Tokenizer, "train", "tokenizer")
    timed(run, "prepare", "store")
    timed(Batches, "at", "batch")
    timed(Learner, "step", "step")
    overrides = [*MODEL, f"data.separator={separator}"]
    result = rg.train("gpt", data=path, out=folder, steps=3, size="tiny", overrides=overrides, quiet=True)
    print(result)


def imports() -> None:
    import regard.training.run  # noqa: F401

    print("imports begins", flush=True)
    time.sleep(2)


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for parent in found:
        try:
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:  # it has just ended
            continue
    return found


def pss(pid: int) -> int:
    """Proportional set size of a process tree, in bytes."""
    total = 0
    for process in tree(pid):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def watch(*command: str) -> tuple[dict[str, int], dict[str, list[float]]]:
    """Runs a child; the peak of each of its phases, and when it said that they began and ended."""
    process = subprocess.Popen([sys.executable, __file__, *command], stdout=subprocess.PIPE, text=True)
    peaks: dict[str, int] = {}
    times: dict[str, list[float]] = {}
    phase = "start"

    def listen() -> None:
        nonlocal phase
        for line in process.stdout or ():
            name, *rest = line.split()
            if rest and rest[0] in ("begins", "ends"):
                phase = name
                times.setdefault(f"{name} {rest[0]}", []).extend(map(float, rest[1:]))
            else:
                print(f"    {line}", end="")

    listener = threading.Thread(target=listen)
    listener.start()
    while process.poll() is None:
        peaks[phase] = max(peaks.get(phase, 0), pss(process.pid))
        time.sleep(0.1)
    listener.join()
    if process.returncode:
        sys.exit(f"the child failed with {process.returncode}")
    return peaks, times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1500)
    parser.add_argument("--separator", default="line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="regard-memory-") as folder:
        text = Path(folder, "text.txt")
        make_text(text, options.megabytes * 1_000_000)
        base, _ = watch("--imports")
        alone = max(base.values())
        print(f"libraries alone           {alone / 1e6:8.0f} MB")
        peaks, times = watch("--child", str(text), str(Path(folder, "run")), options.separator)
        for phase, peak in peaks.items():
            print(f"peak in {phase:<17} {peak / 1e6:8.0f} MB")
        above = max(peaks.values()) - alone

        def took(begin: str, end: str) -> np.ndarray:
            """Seconds, and seconds of CPU, between the first time that one thing was said and another."""
            return np.subtract(times[end][:2], times[begin][:2])

        for phase in ("tokenizer", "store"):
            seconds, cpu = took(f"{phase} begins", f"{phase} ends")
            print(f"{phase:<25} {seconds:8.1f} s    {cpu:.1f} s of CPU, {options.megabytes / seconds:.1f} MB/s")
        for name, end in (("first batch", "batch ends"), ("first step", "step ends")):
            seconds, cpu = took("store ends", end)
            print(f"store → {name:<17} {seconds:8.2f} s    {cpu:.2f} s of CPU")
        print(f"above the libraries       {above / 1e6:8.0f} MB   (at most {MOST_BYTES / 1e6:.0f})")
        if above > MOST_BYTES or seconds > MOST_SECONDS:
            sys.exit("a limit is passed.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    elif sys.argv[1:2] == ["--imports"]:
        imports()
    else:
        main()
