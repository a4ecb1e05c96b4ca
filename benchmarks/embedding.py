"""Sentence vectors beside sentence-transformers: the same MiniLM, the same vectors, in one process, in turn.

    python benchmarks/embedding.py [FILE] [--texts 1000] [--rounds 5] [--threads 2]

Texts a second, tokenizing included (float32): sentences and short paragraphs of Python's help, 3 to 256 tokens long, in
an order that tells nothing of their lengths; or the lines of FILE. Where sentence-transformers is not installed, its
loop is done by hand with `transformers`: sorted by length, 32 texts a batch, mean over the tokens, length 1.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import torch

import regard as rg
from peers import machine
from regard.generation.translating import SENTENCE

BATCH = 32
LONGEST = 254
"""Tokens of a text; sentence-transformers cuts off what is beyond them."""


def texts(count: int, file: str | None) -> list[str]:
    """So many texts, from the help's sentences: one, or a few together."""
    if file is not None:
        return [line for line in Path(file).read_text(encoding="utf-8").splitlines() if line.strip()][:count]
    draw = random.Random(1)
    sentences = [" ".join(part.split()) for topic in topics.values() for part in SENTENCE.split(topic)]
    sentences = [sentence for sentence in sentences if 3 <= len(sentence.split()) <= 60]
    found = []
    while len(found) < count:
        place, some = draw.randrange(len(sentences)), draw.choice((1, 1, 1, 1, 2, 4))
        found.append(" ".join(sentences[place : place + some])[:700])
    return found


def theirs(folder: Path) -> tuple[str, Callable[[list[str]], np.ndarray]]:
    """What sentence-transformers does, by itself or by hand."""
    try:
        import sentence_transformers
    except ImportError:
        return "transformers, by hand", by_hand(folder)
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    name = f"sentence-transformers {sentence_transformers.__version__}"
    return name, lambda every: model.encode(every, batch_size=BATCH, show_progress_bar=False)


def by_hand(folder: Path) -> Callable[[list[str]], np.ndarray]:
    from transformers import AutoModel, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def encode(every: list[str]) -> np.ndarray:
        order = sorted(range(len(every)), key=lambda n: -len(every[n]))
        vectors = np.empty((len(every), model.config.hidden_size), np.float32)
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            given = tokenizer([every[n] for n in batch], padding=True, truncation=True, max_length=256,
                              return_tensors="pt")  # fmt: skip
            x, real = model(**given).last_hidden_state, given["attention_mask"][..., None]
            mean = (x * real).sum(1) / real.sum(1)
            vectors[batch] = torch.nn.functional.normalize(mean, dim=-1).numpy()
        return vectors

    return encode


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("file", nargs="?")
    arguments.add_argument("--texts", type=int, default=1000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--threads", type=int, default=2)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    model = rg.load("minilm", device="cpu")
    every = [text for text in texts(options.texts, options.file) if len(model.tokenizer.encode(text)) <= LONGEST]
    assert model.folder is not None
    name, peer = theirs(model.folder)
    ways = {"regard": model.embed, name: peer}
    lengths = [len(ids) + 2 for ids in model.tokenizer.encode_batch(every)]
    print(machine())
    middle = statistics.median(lengths)
    print(f"{len(every):,} texts of {min(lengths)} to {max(lengths)} tokens, {middle:.0f} in the middle")
    vectors = [way(every[:200]) for way in ways.values()]
    print(f"largest difference between two vectors' numbers: {np.abs(vectors[0] - vectors[1]).max():.1e}")
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(options.rounds):
        for way, run in ways.items():
            start = time.perf_counter()
            run(every)
            seconds[way].append(time.perf_counter() - start)
    for way, own in seconds.items():
        middle = statistics.median(own)
        print(f"{way:28} {len(every) / middle:8.0f} texts/s {sum(lengths) / middle:9.0f} tokens/s")
    ratios = [theirs / ours for ours, theirs in zip(*seconds.values(), strict=True)]
    print(f"regard is {statistics.median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
