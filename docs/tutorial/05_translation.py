"""Tutorial 5: one text for another. An encoder reads a date as people write it, a decoder writes it as 2026-11-22.

Run it: python docs/tutorial/05_translation.py [STEPS]        (about half a minute with the 300 steps it takes else)
"""

import itertools
import sys
import tempfile
from pathlib import Path

import regard as rg
from regard.data.pair_batches import PairBatches
from regard.data.pair_store import PairStore
from regard.data.pairs import builtin_pairs
from regard.evaluation.pairs import evaluate_pairs
from regard.generation import Beam

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 300

# Pairs are two texts: what is read, and what is to be written. Your own stand in a file, with a tab between them.
print("pairs")
for source, target in itertools.islice(builtin_pairs("dates-en", "train"), 4):
    print(f"  {source!r} → {target!r}")

# A recipe on pairs: characters are the words, and both languages share them. This model is a very small one.
folder = Path(tempfile.mkdtemp()) / "dates"
run = rg.train(
    "dates",
    data="builtin:dates-en",
    out=folder,
    steps=STEPS,
    overrides=[
        "model.d_model=64",
        "model.n_heads=2",
        "model.encoder.n_layers=1",
        "model.decoder.n_layers=1",
        "training.batch_tokens=1024",
        "training.evaluate_windows=100",
        "training.sample_tokens=0",
    ],
    quiet=True,
)
print(run)
mt = rg.load(folder)

# What it was taught with. Pairs of about equal length share a batch, so that little of it is padding; a batch has about
# as many tokens as any other, not as many pairs. Beside them, one of pairs as they come.
begin, end = mt.target_tokenizer.opening, mt.target_tokenizer.end
assert begin is not None
assert end is not None
pairs = PairStore.open(folder / "data").train
bucketed = PairBatches(pairs, begin, end, batch_tokens=1024)
mixed = PairBatches(pairs, begin, end, batch_size=33)
print("\nbatches")
for name, batch in (("by length", bucketed.at(0)), ("by length", bucketed.at(1)), ("as they come", mixed.at(0))):
    assert batch.source is not None
    rows, width = batch.source.shape
    real = rows * width if batch.source_lengths is None else int(batch.source_lengths.sum())
    print(f"  {name:12} {rows} pairs × {width} source tokens, {1 - real / (rows * width):.0%} of them padding")


# The right shift: the decoder reads the target from a begin token on, and is to say what comes next, up to the end
# token. It reads the right words, whatever it would have said itself (teacher forcing), so all places learn at once.
def shown(ids: list[int]) -> str:
    special = {number: f"[{name}]" for name, number in mt.tokenizer.special.items()}
    return " ".join(special.get(number) or mt.tokenizer.decode([number]) for number in ids)


batch = bucketed.at(1)
print("  reads ", shown(batch.inputs[0].tolist()))
print("  writes", shown(batch.targets[0].tolist()))
assert batch.inputs[0, 1:].equal(batch.targets[0, :-1])

# Now nobody helps: it reads its own words. Greedy takes the likeliest each time; a beam search keeps several beginnings
# and may find a text that is likelier as a whole. It ends when as many texts are finished as it keeps beginnings.
date = "March 5, 1987"
[[greedy]] = mt.translate([date], Beam(size=1))
[best] = mt.translate([date], Beam(size=4), n_best=4)
print(f"\n{date}\n  greedy        {greedy.text}   ln p = {greedy.log_probability:.3f}")
for rank, one in enumerate(best, start=1):
    print(f"  {rank}. of 4 beams {one.text}   ln p = {one.log_probability:.3f}, score {one.score:.3f}")
assert best[0] == mt.translate([date], Beam(size=4))[0][0]

# Which letters did each letter look at? A row is written, a column is read. The day and the month change places.
print("\nwho looked at whom")
print(mt.alignment(date, best[0].ids))

# How good is it? On pairs that were kept apart: the loss of the right text, and how much of its own text is right.
# BLEU counts words and runs of words, so for dates the share that is exactly right tells more.
scores = evaluate_pairs(mt, limit=200, how=Beam(size=1))
print(f"\n{scores}")
print(f"{scores.scores.exact:.0%} of the dates are exactly right")
