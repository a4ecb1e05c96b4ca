"""Every mechanism trains on the built-in corpus by the settings that a user writes; encoders find a hidden letter."""

import pytest
import torch

from regard.attention import Attention
from regard.model import Head, ModelConfig, Transformer
from regard.settings import SettingsError
from regard.training import train
from tests.laws.members import FAMILIES, NEEDS

PLACE = {
    "attention": "model.decoder.attention",
    "pattern": "model.decoder.pattern",
    "position": "model.decoder.position",
    "norm": "model.decoder.norm",
    "feedforward": "model.decoder.feedforward",
    "residual": "model.decoder.residual",
    "input": "model.input",
    "cell": "model.decoder.cell",
    "head": "model.head",
    "initialisation": "model.initialisation",
}

SMALL = [
    *("model.d_model=32", "model.n_heads=4", "model.context_length=32", "model.decoder.n_layers=2"),
    *("training.batch_size=8", "training.compile=off", "training.evaluate_windows=16", "training.log_every=40"),
    *("training.evaluate_every=40", "training.checkpoint_every=40"),
    *("training.schedule.learning_rate=0.01", "training.schedule.warmup=5"),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A part of the built-in corpus, and its characters, so that each run need not read all of it."""
    from regard.data.builtin import python_docs
    from regard.text import Tokenizer

    folder = tmp_path_factory.mktemp("corpus")
    texts = [text for text, _ in zip(python_docs(), range(12), strict=False)]
    (folder / "docs.txt").write_text("\n".join(texts), encoding="utf-8")
    return folder / "docs.txt", Tokenizer.train(texts, "characters")


KINDS = [(family, kind) for family, base in FAMILIES.items() for kind in base.kinds()]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "kind"), KINDS)
def test_it_trains(family, kind, corpus, tmp_path):
    if family == "attention" and "causal" not in Attention.kinds()[kind].offers:
        with pytest.raises(SettingsError, match=f"{kind} attention cannot stand in a decoder"):
            train("gpt", corpus[0], tmp_path / "run", steps=2, overrides=[f"{PLACE[family]}.kind={kind}"], quiet=True)
        return
    if kind == "audio":
        with pytest.raises(SettingsError, match="audio is what an encoder reads"):
            train("gpt", corpus[0], tmp_path / "run", steps=2, overrides=["model.input.kind=audio"], quiet=True)
        return
    if family == "head" and Head.kinds()[kind].whole:
        with pytest.raises(SettingsError, match=f"the head {kind} reads a whole text"):
            train("gpt", corpus[0], tmp_path / "run", steps=2, overrides=[f"model.head.kind={kind}"], quiet=True)
        return
    text, tokenizer = corpus
    settings = [*SMALL, f"{PLACE[family]}.kind={kind}"]
    if family == "cell":
        settings = [*SMALL, "model.decoder.kind=recurrent", *settings[-1:], "model.initialisation.kind=xavier"]
    run = train("gpt", text, tmp_path / "run", steps=40, tokenizer=tokenizer, overrides=settings, quiet=True)
    assert run.after.loss < run.before.loss - 0.3, f"{run.before.loss:.3f} → {run.after.loss:.3f}"


@pytest.mark.parametrize("kind", [kind for kind, part in Attention.kinds().items() if part.offers >= NEEDS["encoder"]])
def test_it_learns_in_an_encoder(kind):
    """Each row is a word and its repetition; one letter is hidden and stands in the other half."""
    config = ModelConfig.from_dict(
        {
            "vocab_size": 12,
            "d_model": 32,
            "n_heads": 4,
            "context_length": 8,
            "encoder": {"n_layers": 2, "attention": {"kind": kind}, "position": "learned", "residual": "pre"},
            "decoder": None,
        }
    )
    model, random = Transformer(config, seed=1), torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(150):
        half = torch.randint(1, 12, (32, 4), generator=random)
        ids = torch.cat([half, half], 1)
        hidden = torch.randint(8, (32, 1), generator=random)
        targets = torch.full_like(ids, -100).scatter(1, hidden, ids.gather(1, hidden))
        loss = model(ids.scatter(1, hidden, 0), targets)
        (loss.objective / loss.target_count).backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.objective.item() / 32)
    assert sum(losses[-10:]) / 10 < 0.75 * losses[0], f"{losses[0]:.2f} → {losses[-1]:.2f}"
