"""Tutorial 6: encoders read a whole text at once, and say something of it, such as its class.

Run it: python docs/tutorial/06_encoders.py [STEPS]        (about half a minute with the 200 steps it takes else)
"""

import sys
import tempfile
from pathlib import Path

import regard as rg
from regard.data.names import names
from regard.evaluation.encoders import evaluate_examples
from regard.text.frame import Frame

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 200

# Labelled texts. These are names of countries, languages and coins, and the language that each is written in; your own
# stand in a file with a column of texts and a column of labels.
print("a text and its label")
for text, label in list(names("train"))[:4]:
    print(f"  {text!r} → {label}")

# A recipe without --from trains a small encoder over characters. The best model so far is kept, by its accuracy.
folder = Path(tempfile.mkdtemp()) / "languages"
run = rg.train(
    "classify",
    data="builtin:names",
    out=folder,
    steps=STEPS,
    overrides=["model.d_model=64", "model.n_heads=2", "model.encoder.n_layers=2", "model.context_length=64"],
    quiet=True,
)
print(run)

# What it reads: a token [CLS] first, whose segment is that of the text, and [SEP] behind each text.
judge = rg.load(folder)
frame = Frame.of(judge.tokenizer)
row = frame.join(judge.tokenizer.encode("Rio"), judge.tokenizer.encode("Río"), None)
print("\na row of two texts")
print("  ids      ", row.ids.tolist())
print("  segments ", row.segments.tolist())

# What it says: a probability for each label.
print("\nwhat it says")
for text, answer in zip(["Österreich", "Finnország"], judge.predict(["Österreich", "Finnország"]), strict=True):
    print(f"  {text}: {answer}")

# The answer for a text does not depend on the texts beside it, whatever their length.
alone = judge.predict(["Österreich"])[0].probabilities
beside = judge.predict(["Österreich", "a much longer text, for which the row is padded"])[0].probabilities
print("  largest difference beside a longer text:", max(abs(alone[name] - beside[name]) for name in alone))

# Scores on names that it never saw, each with its interval and its convention, and where it fails worst.
found = evaluate_examples(judge, worst=2)
print(f"\n{found}")

# A pre-trained encoder knows what words mean before it sees a label. It is 91 MB, and so not fetched here:
#   regard train classify --from minilm --data LABELLED.tsv
#   rg.load("minilm").search("a small cat", sentences)
