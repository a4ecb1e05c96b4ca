"""A step of fine-tuning beside transformers' BertForSequenceClassification: the same weights, the same sentences.

    python benchmarks/fine_tuning_step.py --data sst2/train.tsv [--rounds 5] [--steps 24] [--only WORD …]

MiniLM (6 layers, 384 wide), 32 sentences a step of SST-2's own lengths, dropout 0.1, clipping at 1, fused AdamW.
transformers takes sentences by lot and pads them to the longest by DataCollatorWithPadding; regard takes sentences of
about equal length. Both compute the loss, the gradients and the update of the same model; that both give the same
numbers for the same rows is a test (tests/parity/test_encoders.py).

Each variant runs in a process of its own, one at a time, in turn; figures are milliseconds a step, the mean of --steps.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import regard as rg
from peers import in_turn, machine, table
from regard.interop.models import get

BATCH = 32


def regard(options: argparse.Namespace, dtype: str) -> Callable[[int], None]:
    """The training loop's own step."""
    from regard.training import devices
    from regard.training.learner import Learner
    from regard.training.run import read_settings
    from regard.training.start import Start
    from regard.training.tasks import task_of

    out = Path(tempfile.mkdtemp())
    more = [f"training.dtype={dtype}", "training.evaluate_windows=8", "training.sample_tokens=0"]
    rg.train("classify", options.data, out, start="minilm", steps=1, overrides=more, quiet=True)
    config = read_settings(out / "run.toml")
    config = config.replace(training=config.training.replace(device="cpu", compile="off", steps=1000))
    ready = task_of(config).open(config, out)
    model = rg.Transformer(config.model)
    Start("minilm").give(model)
    learner = Learner(model, ready.batches, config.training, devices.resolve("cpu", dtype, "auto", {}), ready.tokenizer)
    return lambda n: learner.step(n + 1, "") and None


def transformers(options: argparse.Namespace, dtype: str) -> Callable[[int], None]:
    from transformers import AutoTokenizer, BertForSequenceClassification, DataCollatorWithPadding

    folder = get("minilm")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = BertForSequenceClassification.from_pretrained(folder, num_labels=2).train()
    lines = [line.rsplit("\t", 1) for line in Path(options.data).read_text(encoding="utf-8").splitlines()]
    ids = tokenizer([text for text, _ in lines], truncation=True, max_length=512)["input_ids"]
    rows = [{"input_ids": row, "labels": int(label)} for row, (_, label) in zip(ids, lines, strict=True)]
    collate = DataCollatorWithPadding(tokenizer)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.01, fused=True)

    def step(n: int) -> None:
        start = n * BATCH % (len(rows) - BATCH)
        batch = collate([rows[i] for i in order[start : start + BATCH]])
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    return step


def variant(name: str, options: argparse.Namespace) -> Callable[[], object]:
    torch.set_num_threads(options.threads)
    dtype = "bfloat16" if "bfloat16" in name else "float32"
    step: Any = (regard if name.startswith("regard") else transformers)(options, dtype)
    done = 0

    def steps() -> None:
        nonlocal done
        for _ in range(options.steps):
            step(done)
            done += 1

    return steps


VARIANTS = ["transformers", "regard", "transformers bfloat16", "regard bfloat16"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*")
    options = parser.parse_args()
    print(machine())
    seconds = in_turn(variant, options.only or VARIANTS, options, options.rounds)
    for dtype in ("float32", "bfloat16"):
        mine = {name: times for name, times in seconds.items() if ("bfloat16" in name) == (dtype == "bfloat16")}
        if mine:
            print(f"{dtype}, a step of {BATCH} sentences:")
            peers = [name for name in mine if name.startswith("transformers")]
            table(mine, (peers or list(mine))[0], per=options.steps)


if __name__ == "__main__":
    main()
