"""Adding a mechanism is one new file and one line: it is then built, trained, shown and held to the laws."""

import difflib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import regard

SOURCE = Path(regard.__file__).parent
ROOT = Path(__file__).resolve().parents[2]

PAGE = '''"""A toy: what the {family} family does, by another name.

    y = x

Source   made up for a test, 2026.
Cost     nothing.
Differs  in its name alone.
"""

'''

# Family's folder → the base class, the new class's body, and where the model's settings name it.
TOYS = {
    "positions": (
        "from regard.positions.base import Position, PositionModule\n\n\n"
        'class Toy(Position, kind="toy"):\n'
        "    def build(self, sizes):\n        return PositionModule()\n",
        "model.decoder.position",
        "Position",
    ),
    "inputs": (
        "from regard.inputs.base import Input\nfrom regard.layers import Embedding\n\n\n"
        'class Toy(Input, kind="toy"):\n'
        "    def table(self, vocab_size, sizes):\n        return Embedding(vocab_size, sizes.d_model)\n",
        "model.input",
        "Input",
    ),
    "attention": (
        "import torch\n\nfrom regard.attention.scored import Scored, ScoredModule\n\n\n"
        'class Toy(Scored, kind="toy"):\n'
        '    unmoved = ("k.bias",)\n\n'
        "    def build(self, sizes):\n        return ToyModule(self, sizes)\n\n\n"
        "class ToyModule(ScoredModule):\n"
        "    def scores(self, q, k):\n        return torch.einsum('bhte,bhse->bhts', q, k)\n",
        "model.decoder.attention",
        "Attention",
    ),
    "residual": (
        "from regard.residual.base import Residual, ResidualModule\nfrom regard.layers import tap\n\n\n"
        'class Toy(Residual, kind="toy"):\n'
        "    def build(self, norm, sizes, steps):\n        return ToyModule(sizes)\n\n\n"
        "class ToyModule(ResidualModule):\n"
        "    def forward(self, x, steps):\n"
        "        for step in steps:\n            x = x + self.dropped(step(x))\n"
        '        return tap(self.place, "stream", x)\n',
        "model.decoder.residual",
        "Residual",
    ),
    "feedforward": (
        "from regard.feedforward.base import Activation, FeedForward\n"
        "from regard.feedforward.mlp import MLPModule\n\n\n"
        'class Toy(FeedForward, kind="toy"):\n'
        '    activation: Activation = "relu"\n    bias: bool = False\n\n'
        "    def width(self, d_model):\n        return d_model\n\n"
        "    def build(self, sizes):\n        return MLPModule(self, sizes)\n",
        "model.decoder.feedforward",
        "FeedForward",
    ),
}

CHECK = """
import sys, tempfile
import regard
from regard import pages
from regard.cli import main
from tests.laws.members import FAMILIES, MEMBERS, rich, words

assert regard.__file__.startswith(sys.argv[1]), regard.__file__
for name, base in FAMILIES.items():
    if "toy" in base.kinds():
        assert [member for member in MEMBERS if "toy" in member], name
        print("kind", base.__name__)
assert main(["show", "toy"]) == 0
assert pages.find("toy")
with tempfile.TemporaryDirectory() as folder:
    settings = sys.argv[2:]
    assert main(["train", "gpt-char", "--data", sys.argv[1] + "/text.txt", "--out", folder + "/run", *settings]) == 0
"""


@pytest.mark.slow
def test_a_new_mechanism_is_one_file_and_one_line(tmp_path):
    package = tmp_path / "regard"
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests" / "laws", tmp_path / "tests" / "laws", ignore=shutil.ignore_patterns("__pycache__"))
    for family, (code, _, _) in TOYS.items():
        (package / family / "toy.py").write_text(PAGE.format(family=family) + code, encoding="utf-8")
        with (package / family / "__init__.py").open("a", encoding="utf-8") as init:
            init.write(f"from regard.{family}.toy import Toy as Toy\n")

    files, lines = 0, 0
    for path in package.rglob("*.py"):
        old = SOURCE / path.relative_to(package)
        files += not old.exists()
        if old.exists():
            both = (p.read_text(encoding="utf-8").splitlines() for p in (old, path))
            lines += sum(line[0] in "+-" for line in difflib.ndiff(*both))
    assert (files, lines) == (len(TOYS), len(TOYS))

    (tmp_path / "text.txt").write_text("a short text to learn from. " * 400, encoding="utf-8")
    settings = [f"{place}.kind=toy" for _, place, _ in TOYS.values()]
    settings += ["model.d_model=32", "model.n_heads=2", "model.context_length=16", "model.decoder.n_layers=1"]
    settings += ["training.steps=2", "training.batch_size=2", "training.compile=off"]
    done = subprocess.run(
        [sys.executable, "-c", CHECK, str(tmp_path), *settings],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for _, _, base in TOYS.values():
        assert f"kind {base}" in done.stdout
