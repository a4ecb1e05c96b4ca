"""Hidden words from text alone, beside what two words in a row tell: the recipe bert on a CPU.

    python benchmarks/mlm.py [--text input.txt] [--minutes 10] [--steps N] [--size tiny] [--out FOLDER] [key=value …]

Without a text it is builtin:python-docs. Training ends after so many steps; the minutes only cut it off.

loss             nats a hidden piece, over the whole validation part, always the same masks
bigram           −(1/n) Σ log p(w_i | w_{i−1}) of the validation part, nats a piece, where the training part gives
                 p(w | v) = λ(v) · c(v, w)/c(v) + (1 − λ(v)) · (c(w) + 1)/(N + V),   λ(v) = c(v)/(c(v) + c*),
                 and c* is the best of 2⁰ … 2⁹ on the validation part itself, so the baseline is never made worse
conditional      H(w_i | w_{i−1}) = −Σ p(v, w) log p(w | v) by the counts of the validation part alone: a lower bound of
                 every bigram model there, and far too low where the text is short

Hidden pieces are drawn as in training (15 %, of which 10 % stay in sight and 10 % are replaced); a bigram model sees
the true word before each, and nothing behind. Kinds of pieces come from the piece alone:

function   one of some hundred English words of grammar     number   begins with a digit
mark       no letter and no digit                            part     goes on inside a word (##)
word       all others
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch

import regard
from regard.data.batches import IGNORE
from regard.data.store import TokenStore
from regard.evaluation.loss import given
from regard.store import load_model
from regard.text import Tokenizer
from regard.training.config import RunConfig
from regard.training.tasks import task_of

WORDS = """
a an the this that these those some any no all both each every other such i me my you your he him his she her it its
we us our they them their thou thee thy who whom whose which what and or but nor so yet if then than as because
while when where why how of in on at by for with from to into out up down over under about after before between
through is am are was were be been being do does did have has had will would shall should can could may might must
not only also there here
"""
FUNCTION = frozenset(WORDS.split())


def kind(text: str) -> str:
    word = text.strip()
    if not any(letter.isalnum() for letter in word):
        return "mark"
    if word[0].isdigit():
        return "number"
    if not text.startswith(" "):
        return "part"
    return "function" if word.lower() in FUNCTION else "word"


def bigram(train: np.ndarray, valid: np.ndarray, size: int) -> tuple[float, float]:
    """The interpolated bigram model's loss on the validation part, and the entropy by its own counts."""
    single = np.bincount(train, minlength=size).astype(float)
    before = np.bincount(train[:-1], minlength=size).astype(float)
    pairs = Counter((train[:-1].astype(np.int64) * size + train[1:]).tolist())
    asked = valid[:-1].astype(np.int64) * size + valid[1:]
    c_vw = np.array([pairs[key] for key in asked.tolist()], float)
    c_v = before[valid[:-1]]
    flat = (single[valid[1:]] + 1) / (single.sum() + size)
    losses = []
    for power in range(10):
        mix = c_v / (c_v + 2.0**power)
        losses.append(-np.log(mix * c_vw / np.maximum(c_v, 1) + (1 - mix) * flat).mean())
    _, inverse, counts = np.unique(asked, return_inverse=True, return_counts=True)
    own = np.bincount(valid[:-1], minlength=size)[valid[:-1]]
    return float(min(losses)), float(-np.log(counts[inverse] / own).mean())


@torch.no_grad()
def measure(folder: Path) -> tuple[float, dict[str, tuple[int, int]]]:
    """Nats a hidden piece on the whole validation part; of each kind how many were hidden, and how many were said."""
    config = RunConfig.from_toml((folder / "run.toml").read_text(encoding="utf-8"))
    config = config.replace(training=config.training.replace(evaluate_windows=None))
    ready, model, tokenizer = task_of(config).open(config, folder), load_model(folder).eval(), Tokenizer.load(folder)
    names = np.array([kind(tokenizer.token_bytes(i).decode(errors="replace")) for i in range(tokenizer.vocab_size)])
    nats, hidden, said = 0.0, Counter[str](), Counter[str]()
    assert ready.validation is not None
    assert ready.objective is not None
    for index in range(len(ready.validation)):
        batch = ready.objective.batch(ready.validation.at(index), config.training.seed, 0)
        logits = model(batch.inputs, **given(batch))
        at = batch.targets != IGNORE
        targets, scores = batch.targets[at], logits[at].float()
        nats += torch.nn.functional.cross_entropy(scores, targets, reduction="sum").item()
        right = (scores.argmax(-1) == targets).numpy()
        hidden.update(names[targets.numpy()].tolist())
        said.update(names[targets.numpy()[right]].tolist())
    return nats / hidden.total(), {name: (hidden[name], said[name]) for name in sorted(hidden)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", default="builtin:python-docs")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--out")
    parser.add_argument("overrides", nargs="*")
    given_ = parser.parse_args()
    folder = Path(given_.out or tempfile.mkdtemp())
    begun = time.perf_counter()
    cut = threading.Timer(60 * given_.minutes, _interrupt)
    cut.daemon = True
    cut.start()
    run = regard.train(
        "bert", data=given_.text, out=folder, steps=given_.steps, size=given_.size, overrides=given_.overrides
    )
    cut.cancel()
    seconds = time.perf_counter() - begun
    store = TokenStore.open(folder / "data")
    assert store.validation is not None
    low, own = bigram(np.asarray(store.train.ids), np.asarray(store.validation.ids), store.vocab_size)
    loss, kinds = measure(folder)
    print(f"{given_.text}: {len(store.train.ids):,} pieces, vocabulary {store.vocab_size:,}; {run.step:,} steps, "
          f"{seconds / 60:.1f} min, {torch.get_num_threads()} threads ({run.ended})")  # fmt: skip
    print(f"loss {loss:.3f}   bigram {low:.3f}   conditional {own:.3f}   nats a piece")
    for name, (count, right) in kinds.items():
        print(f"{name:<9} {right / count:6.1%} of {count:,}")
    total, right = (sum(values) for values in zip(*kinds.values(), strict=True))
    print(f"{'all':<9} {right / total:6.1%} of {total:,}")


def _interrupt() -> None:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main()
