"""make demo: train a small language model on the Python documentation, and let it write, in a minute or two.

The text is on every machine: the help topics of the running Python.
"""

from __future__ import annotations

import argparse
import shutil
import time

from rich.console import Console
from rich.text import Text

import regard as rg

PROMPTS = ("The import statement", "A class definition")


def shade(probability: float) -> str:
    """Green where the model was sure, red where it was surprised."""
    return "green" if probability > 0.5 else "yellow" if probability > 0.1 else "red"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--out", default="runs/demo")
    arguments = parser.parse_args()
    console = Console(highlight=False)

    began = time.perf_counter()
    shutil.rmtree(arguments.out, ignore_errors=True)
    console.rule("Training on the Python documentation")
    run = rg.train("gpt", data="builtin:python-docs", steps=arguments.steps, out=arguments.out)
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

    console.rule(f"{time.perf_counter() - began:.0f} seconds. What to try next")
    for line in (
        f'regard generate {arguments.out} "The yield expression" --temperature 0.7 --show-probabilities',
        f"regard show {arguments.out}            # its sizes, and what it costs",
        "regard show rotary               # how it knows where a word stands",
        "regard train gpt --data YOUR.txt --out runs/mine --steps 2000",
    ):
        print(f"  .venv/bin/{line}")


if __name__ == "__main__":
    main()
