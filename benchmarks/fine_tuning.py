"""Fine-tuning a small encoder on real sets, as a user would, and `transformers` fine-tuned alike.

    python benchmarks/fine_tuning.py sst2 mrpc wnut17 xquad hotel --data FOLDER [--seeds 0 1 2] [--peer] [--scratch]

FOLDER holds one folder a set, as its publisher gives it: `sst2/{train,dev}.tsv`, `mrpc/msr_paraphrase_*.txt.gz`,
`wnut17/{train,dev,test}.conll`, `xquad/xquad.en.json.gz`, `chn-sentiment/ChnSentiCorp_htl_all.csv.gz`.

sst2     sentences, positive or negative; scored on dev
mrpc     pairs, the same or not; a tenth of the training part is held out to choose the model; scored on the test part
wnut17   words and their entities; chosen on dev, scored on test
xquad    English questions, the articles split by lot: a check of the way, for 1,190 questions are few
hotel    Chinese reviews by characters, from scratch; scored on the part that is held out

--peer   also fine-tunes transformers' BertForSequenceClassification on sst2: the same weights, rate, batch and epochs,
         batches by lot padded by its own collator
--scratch  sst2 also without pre-trained weights
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import regard as rg
from peers import machine
from regard.evaluation.encoders import evaluate_examples


@dataclass(frozen=True)
class Set:
    """How a set is learnt, and by which of its scores runs are compared."""

    recipe: str
    train: str
    test: str | None
    score: str
    overrides: tuple[str, ...] = ()
    validation: str | None = None
    start: str | None = "minilm"


SETS = {
    "sst2": Set("classify", "sst2/train.tsv", "sst2/dev.tsv", "accuracy", validation="sst2/dev.tsv"),
    "mrpc": Set(
        "pair", "mrpc/msr_paraphrase_train.txt.gz", "mrpc/msr_paraphrase_test.txt.gz", "accuracy", ("data.format=tsv",)
    ),
    "wnut17": Set("tag", "wnut17/train.conll", "wnut17/test.conll", "f1", validation="wnut17/dev.conll"),
    "xquad": Set("answer", "xquad/xquad.en.json.gz", None, "f1", ("data.validation_fraction=0.2",)),
    "hotel": Set("classify", "chn-sentiment/ChnSentiCorp_htl_all.csv.gz", None, "accuracy", start=None),
}


def run(name: str, one: Set, data: Path, out: Path, seed: int, overrides: list[str]) -> tuple[float, float]:
    """Trains and scores: the score, and the minutes that training took."""
    more = [*one.overrides, *overrides]
    if one.validation:
        more.append(f'data.validation=["{data / one.validation}"]')
    begun = time.perf_counter()
    trained = rg.train(one.recipe, data / one.train, out, start=one.start or "", seed=seed, overrides=more)
    minutes = (time.perf_counter() - begun) / 60
    print(trained)
    found = evaluate_examples(rg.load(out), None if one.test is None else [str(data / one.test)])
    print(f"\n{name}, seed {seed}, {minutes:.1f} minutes\n{found}\n")
    return found.measures[one.score], minutes


def peer(data: Path, seed: int, epochs: int, rate: float, batch: int, dtype: str) -> tuple[float, float]:
    """transformers on sst2: accuracy on dev, and the minutes."""
    from transformers import AutoTokenizer, BertForSequenceClassification, DataCollatorWithPadding, set_seed

    from regard.interop.models import get

    folder = get("minilm")
    set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = BertForSequenceClassification.from_pretrained(folder, num_labels=2)

    def rows(part: str) -> list[dict[str, Any]]:
        lines = [line.rsplit("\t", 1) for line in (data / f"sst2/{part}.tsv").read_text().splitlines()]
        texts = tokenizer([text for text, _ in lines], truncation=True, max_length=256)
        return [
            {"input_ids": ids, "labels": int(label)} for ids, (_, label) in zip(texts["input_ids"], lines, strict=True)
        ]

    train, dev, collate = rows("train"), rows("dev"), DataCollatorWithPadding(tokenizer)
    steps = epochs * -(-len(train) // batch)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=rate, fused=True)
    warmup = steps // 10
    shape: Callable[[int], float] = lambda n: min((n + 1) / max(1, warmup), (steps - n) / max(1, steps - warmup))  # noqa: E731
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, shape)
    loader = torch.utils.data.DataLoader(train, batch, shuffle=True, collate_fn=collate)  # type: ignore[arg-type]

    def accuracy() -> float:
        model.eval()
        right = 0
        with torch.inference_mode():
            for start in range(0, len(dev), 64):
                given = collate(dev[start : start + 64])
                labels = given.pop("labels")
                right += int((model(**given).logits.argmax(-1) == labels).sum())
        model.train()
        return right / len(dev)

    begun, best, step = time.perf_counter(), 0.0, 0
    model.train()
    for _ in range(epochs):
        for given in loader:
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
                model(**given).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            step += 1
            if step % (len(loader) // 2) == 0:  # as often as regard does, and it too keeps the best
                best = max(best, accuracy())
                print(f"transformers, step {step}: accuracy {best:.4f} at best", flush=True)
    return best, (time.perf_counter() - begun) / 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=list(SETS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--out", type=Path, default=Path("runs/fine-tuning"))
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--scratch", action="store_true")
    parser.add_argument("--peer-only", action="store_true")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rate", type=float, default=5e-5)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    options, overrides = parser.parse_known_args()
    print(machine())
    for name in options.sets:
        one = SETS[name]
        scores: dict[str, list[tuple[float, float]]] = {}
        for seed in options.seeds:
            more = [f"training.dtype={options.dtype}", *overrides]
            if not options.peer_only:
                place = options.out / f"{name}-{seed}"
                scores.setdefault("regard", []).append(run(name, one, options.data, place, seed, more))
            if options.scratch and name == "sst2":
                alone = Set(**{**one.__dict__, "start": None})
                place = options.out / f"{name}-scratch-{seed}"
                scores.setdefault("regard from scratch", []).append(run(name, alone, options.data, place, seed, more))
            if (options.peer or options.peer_only) and name == "sst2":
                scores.setdefault("transformers", []).append(
                    peer(options.data, seed, options.epochs, options.rate, 32, options.dtype)
                )
        for who, found in scores.items():
            values = ", ".join(f"{score:.4f}" for score, _ in found)
            middle, minutes = (statistics.median(column) for column in zip(*found, strict=True))
            print(f"{name}  {who}: {one.score} {values}; median {middle:.4f}, {minutes:.1f} minutes")


if __name__ == "__main__":
    main()
