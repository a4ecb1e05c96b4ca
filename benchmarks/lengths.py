"""What attention changed: BLEU by the length of the sentence, with it and without, as in figure 2 of Bahdanau et al.

    python benchmarks/lengths.py --data FOLDER [--out FOLDER] [--steps N] [--picture FILE.png] [key=value …]

FOLDER holds Multi30k's task 1, as in multi30k.py. Its captions are short, so one to five of them are joined, by lot:
those of the training part into what is learnt, those of the test into what is scored. Both models are the recipe
seq2seq-rnn, a bidirectional GRU and a GRU; one looks at the source before each word (Bahdanau et al. 2014,
arXiv:1409.0473), the other has nothing but what the encoder ends with (Cho et al. 2014, arXiv:1406.1078).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import regard as rg
from multi30k import PARTS, tokenise
from regard.evaluation.pairs import evaluate_pairs
from regard.generation import Beam

MOST = 5
EDGES = (10, 20, 30, 40, 50, 60)
WAYS = {
    "with attention": ("model.decoder.cross.kind=additive",),
    "without attention": ("model.decoder.cross=none",),
}


def join(texts: Path, part: str, to: Path, seed: int) -> list[str]:
    """Files of joined captions: English, German."""
    sides = [(texts / f"{part}.{language}").read_text(encoding="utf-8").splitlines() for language in ("en", "de")]
    random = np.random.default_rng(seed)
    order = random.permutation(len(sides[0]))
    cuts, start = [], 0
    while start < len(order):
        size = int(random.integers(1, MOST, endpoint=True))
        cuts.append(order[start : start + size])
        start += size
    places = [to / f"{part}-joined.{language}" for language in ("en", "de")]
    for side, place in zip(sides, places, strict=True):
        place.write_text("".join(" ".join(side[n] for n in cut) + "\n" for cut in cuts), encoding="utf-8")
    return [str(place) for place in places]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/lengths"))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--picture", type=Path)
    options, overrides = parser.parse_known_args()
    texts = options.out / "texts"
    texts.mkdir(parents=True, exist_ok=True)
    for language in ("en", "de"):
        tokenise(options.data, texts, language)
    train, val, test = (join(texts, part, texts, seed) for seed, part in enumerate(PARTS))
    whole = [str(texts / f"train.{language}") for language in ("en", "de")]

    found = {}
    for name, way in WAYS.items():
        out = options.out / name.replace(" ", "-")
        run = rg.train(
            "seq2seq-rnn",
            [train[0], whole[0]],
            out,
            target=[train[1], whole[1]],
            steps=options.steps,
            overrides=[
                f'data.validation=["{val[0]}"]',
                f'data.validation_target=["{val[1]}"]',
                "model.d_model=256",
                "tokenizer.vocab_size=8000",
                "training.evaluate_windows=300",
                *way,
                *overrides,
            ],
        )
        print(run)
        if run.ended == "interrupted":
            return
        scores = evaluate_pairs(out, *test, how=Beam(size=5), tokenized=True)
        found[name] = scores.by_length(edges=EDGES, tokenized=True)
        print(f"\n{name}\n{scores}\n{found[name]}\n")
    if options.picture is not None:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "docs"))
        from figures.lengths import bleu_by_length

        bleu_by_length(found).savefig(options.picture, dpi=120)


if __name__ == "__main__":
    main()
