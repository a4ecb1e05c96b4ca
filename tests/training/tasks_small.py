"""Data from which each task on examples is learnt in seconds, and models small enough for that."""

import json
import random
from pathlib import Path

SMALL = (
    "model.d_model=32",
    "model.n_heads=2",
    "model.encoder.n_layers=1",
    "model.context_length=64",
    "model.dropout=0",
    "training.batch_size=16",
    "training.schedule.learning_rate=0.01",
    "training.device=cpu",
    "training.compile=off",
)


def letters(draw: random.Random, length: int = 6) -> str:
    return "".join(draw.choice("abcdefgh") for _ in range(length))


def rows(count: int = 300, seed: int = 0) -> list[tuple[str, str]]:
    """Texts of unequal length, and which of two letters stands among the others."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        label = draw.choice("xy")
        text = letters(draw, draw.randint(2, 12))
        place = draw.randint(0, len(text))
        made.append((text[:place] + label + text[place:], label))
    return made


def table(path: Path, examples: list[tuple[str, ...]], head: tuple[str, ...] = ("text", "label")) -> Path:
    path.write_text("".join("\t".join(row) + "\n" for row in [head, *examples]), encoding="utf-8")
    return path


def conll(path: Path, count: int = 200) -> Path:
    """Capital words are names, and digits numbers."""
    draw = random.Random(1)
    lines = []
    for _ in range(count):
        for _ in range(draw.randint(3, 7)):
            word = letters(draw, draw.randint(2, 4))
            kinds = (f"{word}\tO\n", f"{word.upper()}\tB-name\n", f"{draw.randint(10, 999)}\tB-number\n")
            lines.append(draw.choice(kinds))
        lines.append("\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def questions(path: Path, count: int = 300) -> Path:
    """The answer is the number, where there is one."""
    draw = random.Random(2)
    made = []
    for number in range(count):
        before, after, said = letters(draw, draw.randint(1, 9)), letters(draw, 3), str(draw.randint(10, 9999))
        answers = [{"text": said, "start": len(before) + 1}] if draw.random() < 0.7 else []
        context = f"{before} {said if answers else after} {after}"
        made.append({"id": str(number), "question": "N?", "context": context, "answers": answers})
    path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return path


def pairs(path: Path, count: int = 300) -> Path:
    """The same letters, small and capital, in another order."""
    draw = random.Random(3)
    made = []
    for _ in range(count):
        text = letters(draw, 4)
        made.append((text, "".join(draw.sample(text, 4)).upper()))
    return table(path, made, ("source", "target"))
