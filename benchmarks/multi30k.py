"""Multi30k on a CPU, from scratch: BLEU on test_2016_flickr, tokenised as papers report it and detokenised.

    python benchmarks/multi30k.py --data FOLDER [--from en --to de] [--out FOLDER] [key=value …]

FOLDER holds `train.en.gz`, `train.de.gz`, `val…` and `test_2016_flickr…` of Multi30k's task 1. As in the recipe
of Wu et al. (2021, arXiv:2105.14462, §4.1) texts are lowercased, their punctuation is normalised, and they are
tokenised as Moses does, before word pieces are learnt on both languages together; beam 5, averaged checkpoints.

The run is `multi30k.toml`; it goes on where it was stopped. Printed are the minutes of training, then

tokenised      BLEU of the lowercased tokens, which is what papers print for this set
detokenised    sacreBLEU of plain text against the references as they are written, once without regard to case

A model of all words at once learns best from one that writes word by word:

    python benchmarks/multi30k.py --data FOLDER --out runs/at-once distil=runs/multi30k-en-de \\
        training.objective.kind=mask_predict model.length.weight=1 model.decoder.position.kind=learned \\
        'tokenizer.special=["begin", "end", "mask"]'

Wu et al. print 41.02 for English to German with a model of 2.6 million parameters.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

from sacremoses import MosesDetokenizer, MosesPunctNormalizer, MosesTokenizer

import regard as rg
from regard.evaluation.pairs import evaluate_pairs
from regard.evaluation.translation import translation_scores
from regard.generation import Beam, Refinement

PARTS = ("train", "val", "test_2016_flickr")


def lines(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [line.strip() for line in file]


def tokenise(data: Path, to: Path, language: str) -> None:
    """Writes each part as tokens between spaces, in lower case."""
    normalise, tokens = MosesPunctNormalizer(lang=language), MosesTokenizer(lang=language)
    for part in PARTS:
        place = to / f"{part}.{language}"
        if not place.exists():
            rows = lines(data / f"{part}.{language}.gz")
            text = "".join(
                tokens.tokenize(normalise.normalize(row.lower()), return_str=True, escape=False) + "\n" for row in rows
            )
            place.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--from", dest="source", default="en")
    parser.add_argument("--to", dest="target", default="de")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--settings", type=Path, default=Path(__file__).with_suffix(".toml"))
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--length-penalty", type=float, default=1.0)
    options, overrides = parser.parse_known_args()
    out = options.out or Path("runs") / f"multi30k-{options.source}-{options.target}"
    texts = out / "texts"
    texts.mkdir(parents=True, exist_ok=True)
    for language in (options.source, options.target):
        tokenise(options.data, texts, language)

    def file(part: str, language: str) -> str:
        return str(texts / f"{part}.{language}")

    named = {"validation": file("val", options.source), "validation_target": file("val", options.target)}
    run = rg.train(
        options.settings,
        file("train", options.source),
        out,
        target=file("train", options.target),
        overrides=[*(f"data.{key}={json.dumps(value)}" for key, value in named.items()), *overrides],
    )
    print(run)
    if run.ended == "interrupted":
        return
    seconds = [json.loads(line)["seconds"] for line in (out / "timings.jsonl").read_text().splitlines()]
    sessions = [now for now, after in zip(seconds, [*seconds[1:], 0.0], strict=True) if after < now]
    print(f"trained for {sum(sessions) / 60:.1f} minutes, evaluation included, in {len(sessions)} session(s)")

    at_once = rg.load(out).transformer.length is not None
    how = Refinement() if at_once else Beam(size=options.beams, length_penalty=options.length_penalty)
    test = file("test_2016_flickr", options.source), file("test_2016_flickr", options.target)
    found = evaluate_pairs(out, *test, how=how, tokenized=True)
    print(f"\ntokenised, test_2016_flickr, {options.source} → {options.target}\n{found}")
    (out / f"written.{options.target}").write_text("".join(f"{line}\n" for line in found.written), encoding="utf-8")
    detokenise = MosesDetokenizer(lang=options.target)
    plain = [detokenise.detokenize(line.split()) for line in found.written]
    references = lines(options.data / f"test_2016_flickr.{options.target}.gz")
    for lowercase in (True, False):
        scores = translation_scores(plain, references, options.target, lowercase=lowercase)
        print(f"\ndetokenised, {'without regard to case' if lowercase else 'with case'}\n{scores}")


if __name__ == "__main__":
    main()
