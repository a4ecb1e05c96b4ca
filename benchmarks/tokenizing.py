"""How fast one large document becomes ids, beside the `tokenizers` library, on one thread.

    python benchmarks/tokenizing.py [--rounds 7] [--megabytes 4]

One byte-level BPE of 8000, learnt here from the English prose of `pydoc_data.topics`; the document is that prose,
repeated with its paragraphs shuffled. All ways run in turn in one process; medians. The library is measured by each
of its calls, its word cache warm: `encode` (with offsets) and `encode_batch_fast` (ids alone). Every way's ids are
compared first.
"""

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import pydoc_data.topics

import numpy as np
import tokenizers

from regard.text import Tokenizer


def document(size: int) -> str:
    paragraphs = "\n".join(pydoc_data.topics.topics.values()).split("\n\n")
    draw, parts, length = random.Random(0), [], 0
    while length < size:
        draw.shuffle(paragraphs)
        parts += paragraphs
        length += sum(map(len, paragraphs))
    return "\n\n".join(parts)[:size]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--megabytes", type=float, default=4)
    options = parser.parse_args()

    text = document(int(options.megabytes * 1e6))
    tokenizer = Tokenizer.train([text], "bpe", 8000)
    library = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    library.encode_special_tokens = True
    lines = text.splitlines(keepends=True)
    ways: dict[str, Callable[[], object]] = {
        "regard encode": lambda: tokenizer.encode(text),
        "regard encode_chunks": lambda: np.concatenate(list(tokenizer.encode_chunks((text,)))),
        "tokenizers encode": lambda: library.encode(text, add_special_tokens=False).ids,
        "tokenizers encode_batch_fast": lambda: library.encode_batch_fast([text], add_special_tokens=False)[0].ids,
    }
    first = [np.asarray(way()) for way in ways.values()]
    assert all(np.array_equal(first[0], other) for other in first), "the ids differ"
    ways["tokenizers, by lines (other ids)"] = lambda: library.encode_batch_fast(lines, add_special_tokens=False)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - start)
    megabytes = len(text.encode()) / 1e6
    medians = {name: statistics.median(each) for name, each in times.items()}
    ours = medians["regard encode_chunks"]
    print(f"{megabytes:.1f} MB, {len(first[0]):,} ids, median of {options.rounds} rounds")
    for name, median in medians.items():
        print(f"  {name:34} {megabytes / median:7.2f} MB/s   regard encode_chunks is {median / ours:5.2f} × as fast")


if __name__ == "__main__":
    main()
