"""Train short, read long: the loss of each position encoding on texts up to eight times as long as in training.

    python benchmarks/extrapolation.py [--steps 500] [--seed 0] [--keep FILE.json] [--out docs/extrapolation.md]

Trains a decoder of two layers with each encoding on windows of 64 bytes (`regard.papers.lengths`), some 15 seconds of
one core each, and measures how well it predicts held-out bytes from windows of 64, 128, 256 and 512. Scaled rotary
positions take the weights that plain rotary ones were trained with. Writes the table into the docs. With --keep, rows
that the file holds are taken from it and new ones are added, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from pathlib import Path

import torch

from regard.model import Transformer
from regard.papers.lengths import SLACK, TIMES, TRAINED, bits, learn, model
from regard.positions import FIRE, KERPLE, T5, CoPE, Position, Rotary, Shaw
from regard.positions.scaling import NTK, Linear, Scaling, YaRN

# The papers of FIRE and T5 put their last range well inside the trained length: a quarter of it, here 16 bytes.
VARIANTS: dict[str, Position] = {
    "cope (positions=16)": CoPE(positions=16),
    "fire (threshold=16)": FIRE(threshold=16),
    "kerple (power)": KERPLE(variant="power"),
    "shaw (keys only)": Shaw(values=False),
    "t5 (16 buckets, max_distance=16)": T5(buckets=16, max_distance=16),
}
STRETCHED: dict[str, type[Scaling]] = {"linear": Linear, "ntk": NTK, "yarn": YaRN}

HEAD = """# Train short, read long

Bits a byte on the same held-out bytes, with ever more of the text before them in sight: windows as long as in
training, and two, four and eight times as long. An encoding that reads on beyond its training keeps its loss or lowers
it; one that does not loses its way. `refused` is an encoding that knows no position there.

| encoding | {columns} |
|---|{rule}
{rows}

Lowest at {longest} bytes: {best}.

Scaled rotary positions are the trained ones, stretched by the factor that the length needs, without training again;
YaRN's ramp was tuned on heads of 128 features, and these have 16. xPos reads long texts through windows in its paper,
here without.

Made by `python {command}` on {machine}, torch {torch}, {minutes:.0f} minutes of one core: decoders of 2
layers, 4 heads and 64 features over bytes of Python's documentation, {steps} steps of 16 windows of {trained} bytes,
seed {seed}; the last {half} bytes of each window are predicted in 128 windows, {bytes:,} bytes in all.

Mind the size: models of 0.1 million parameters after seconds of training say which encodings survive lengths that
they never saw, not which is best in a large model; differences of less than {slack} change with the seed.
"""


def measured(learner: Transformer) -> list[float]:
    return [bits(learner, TRAINED * times) for times in TIMES]


def stretched(learner: Transformer, kind: type[Scaling]) -> list[float]:
    """A rotary model's loss with each length squeezed into the trained one."""
    found = []
    for times in TIMES:
        more = {"original_length": TRAINED} if kind is YaRN else {}
        other = model(Rotary(scaling=kind(factor=times, **more))).eval()
        other.load_state_dict(learner.state_dict())
        found.append(bits(other, TRAINED * times))
    return found


def table(results: dict[str, list[float]], steps: int, seed: int, seconds: float) -> str:
    def cell(value: float) -> str:
        return "refused" if math.isinf(value) else f"{value:.2f}"

    best = sorted(results, key=lambda name: results[name][-1])[:3]
    return HEAD.format(
        columns=" | ".join(f"{TRAINED * times} ({times}×)" for times in TIMES),
        rule="--:|" * len(TIMES),
        rows="\n".join(f"| {name} | {' | '.join(map(cell, row))} |" for name, row in results.items()),
        longest=TRAINED * TIMES[-1],
        best=", ".join(f"{name} ({results[name][-1]:.2f})" for name in best),
        command="benchmarks/extrapolation.py",
        machine=f"a CPU ({platform.machine()})",
        torch=torch.__version__,
        minutes=seconds / 60,
        steps=steps,
        trained=TRAINED,
        seed=seed,
        half=TRAINED // 2,
        slack=SLACK,
        bytes=128 * TRAINED // 2,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="what was measured so far")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    parts = {kind: part() for kind, part in Position.kinds().items()} | VARIANTS
    kept = json.loads(options.keep.read_text()) if options.keep and options.keep.is_file() else {}
    results: dict[str, list[float]] = {}
    seconds = 0.0
    for name in sorted(parts):
        key = f"{name} {options.steps} {options.seed}"
        if key not in kept:
            begun = time.process_time()
            learner = learn(parts[name], options.steps, options.seed)
            rows = {name: measured(learner)}
            if name == "rotary":
                rows |= {f"rotary, {kind}": stretched(learner, scaling) for kind, scaling in STRETCHED.items()}
            kept[key] = {"rows": rows, "seconds": time.process_time() - begun}
            if options.keep:
                options.keep.write_text(json.dumps(kept))
        results |= kept[key]["rows"]
        seconds += kept[key]["seconds"]
        print(f"{seconds:5.0f} s  {name:33}", *(f"{value:.3f}" for value in results[name]), flush=True)
    page = table(results, options.steps, options.seed, seconds)
    if options.out:
        options.out.write_text(page, encoding="utf-8")
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
