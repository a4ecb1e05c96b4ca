"""An encoder learns to say hidden words from a text alone, in seconds."""

import random

import pytest

import regard as rg

LINES = [f"{a} goes to {b}." for a, b in (("anna", "school"), ("ben", "work"), ("carl", "market"), ("dora", "church"))]


@pytest.mark.parametrize(
    "objective", ["token", *(pytest.param(other, marks=pytest.mark.slow) for other in ("word", "order"))]
)
def test_it_fills_what_the_text_determines(tmp_path, objective):
    (tmp_path / "text.txt").write_text("\n".join(random.Random(0).choices(LINES, k=600)), encoding="utf-8")
    own = [f"training.objective.unit={objective}"]
    if objective == "order":
        own = ["training.objective.second=order", "model.order.weight=1"]
    small = ["model.d_model=32", "model.encoder.n_layers=2", "model.n_heads=2", "model.context_length=24"]
    rest = ["tokenizer.vocab_size=150", "training.compile=off", "training.evaluate_every=500"]
    text, out = tmp_path / "text.txt", tmp_path / "run"
    rg.train("bert", data=str(text), out=out, steps=500, overrides=[*small, *rest, *own], quiet=True)
    model = rg.load(tmp_path / "run")
    for line in LINES:
        place = line.split()[-1].rstrip(".")
        best = model.fill(line.replace(place, "[MASK]"), k=1)[0].candidates[0]
        assert best.text == place
        assert best.probability > 0.5
