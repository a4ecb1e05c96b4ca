"""English to Chinese on a CPU, from Tatoeba's sentences: BLEU of Chinese words as sacreBLEU cuts them, and chrF.

    python benchmarks/tatoeba.py --data cmn.txt.gz [--out FOLDER] [--steps N] [key=value …]

The file holds English, a tab, Chinese, a tab, and who wrote it. Sentences are split by their English side, so that
none of the validation's is ever learnt from. English has a vocabulary of word pieces, Chinese one of its own.
`alignment.svg` shows which words looked at which, where the order of the two languages differs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import regard as rg
from regard.evaluation.pairs import evaluate_pairs

SENTENCES = ("I bought this book at the bookstore in front of the station yesterday.", "Where did you meet her?")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/tatoeba-en-zh"))
    parser.add_argument("--steps", type=int, default=2500)
    options, overrides = parser.parse_known_args()
    run = rg.train(
        "translate",
        options.data,
        options.out,
        steps=options.steps,
        overrides=[
            "data.columns=1,2",
            "data.format=tsv",
            "tokenizer.vocab_size=4000",
            "target_tokenizer.kind=bpe",
            "target_tokenizer.vocab_size=6000",
            'target_tokenizer.special=["begin", "end"]',
            "model.dropout=0.3",
            "training.dtype=bfloat16",
            "training.schedule.learning_rate=1e-2",
            *overrides,
        ],
    )
    print(run)
    if run.ended == "interrupted":
        return
    print(evaluate_pairs(options.out, language="zh"))
    model = rg.load(options.out)
    for text in SENTENCES:
        [[best]] = model.translate([text])
        print(f"\n{text} → {best.text}\n{model.alignment(text, best.ids)}")
    [[best]] = model.translate(SENTENCES[:1])
    place = options.out / "alignment.svg"
    place.write_text(model.alignment(SENTENCES[0], best.ids).svg(SENTENCES[0]), encoding="utf-8")
    print(f"\n{place}")


if __name__ == "__main__":
    main()
