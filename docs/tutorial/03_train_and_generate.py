"""Tutorial 3: train a small language model, look at what it learnt, and let it write.

Run it: python docs/tutorial/03_train_and_generate.py [STEPS]        (about a minute with the 150 steps it takes else)
"""

import math
import sys
import tempfile
from pathlib import Path

import regard as rg
from regard.planning import plan

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 150

# A recipe is a whole run by name: tokenizer, data, model, optimiser, schedule. Any part may be changed.
# This text is on every machine: the documentation of the running Python.
folder = Path(tempfile.mkdtemp()) / "docs"
run = rg.train(
    "gpt-char",
    data="builtin:python-docs",
    out=folder,
    steps=STEPS,
    overrides=["model.decoder.n_layers=2", "training.sample_tokens=0"],
    quiet=True,
)
print(run)

# The loss is the surprise a character, in nats. Who knows nothing has the logarithm of the number of characters.
lm = rg.load(folder)
assert run.before is not None
assert run.after is not None
nothing = math.log(lm.tokenizer.vocab_size)
print(f"knowing nothing {nothing:.2f}, before {run.before.loss:.2f}, now {run.after.loss:.2f}")

# What it costs, counted from the settings alone.
cost = plan(lm.config)
print(f"{cost.total:,} parameters; {cost.training_flops * run.tokens:.1e} operations to train")

# It writes one character after the other, each drawn from the probabilities that it computes.
print("The import ", end="")
for piece in lm.stream("The import ", tokens=120, temperature=0.8, seed=1):
    print(piece.text, end="", flush=True)
print()

# The same seed writes the same text; the likeliest choice each time (temperature 0) needs no seed.
assert lm.generate("The", 20, seed=3) == lm.generate("The", 20, seed=3)

# How likely does it find a text? Words in order should surprise it less than letters in disorder.
for text in ("the statement is", "tah mtntseete is"):
    print(f"{text!r}: {lm.score(text).perplexity:.1f} choices a character")

# Training goes on where it stopped: the same call with more steps, or `regard train --out FOLDER --steps N`.
more = rg.train(out=folder, steps=STEPS + 10, quiet=True)
print(f"went on to step {more.step}")
