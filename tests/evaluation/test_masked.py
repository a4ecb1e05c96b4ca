"""Hidden words: each piece once, against a loop over rows and turns."""

from __future__ import annotations

import json
from functools import cache

import pytest
import torch

from regard import heads
from regard.bundle import Model
from regard.cli import main
from regard.evaluation.masked import TURNS, evaluate_masked
from regard.settings import RegardError
from regard.store import save_model
from regard.text import Tokenizer
from tests.prediction.models import ENGLISH, SPECIAL, alone, byte_tokenizer, encoder


@cache
def tokenizer() -> Tokenizer:
    special = {**SPECIAL, "mask": "[MASK]"}
    return Tokenizer.train([ENGLISH], kind="wordpiece", vocab_size=150, special=special, lowercase=True)


def model() -> Model:
    return Model(encoder(heads.LanguageHead(), tokenizer().vocab_size), tokenizer(), "small")


def test_each_piece_is_hidden_once(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(ENGLISH, encoding="utf-8")
    lm = model()
    found = evaluate_masked(lm, path, context_length=12)
    own = lm.tokenizer
    special = set(own.special.values())
    pieces = list(own.encode(ENGLISH))
    rows = [pieces[start : start + 10] for start in range(0, len(pieces) + 1, 10)]
    nats, right, count = 0.0, 0, 0
    for row in rows:
        ids = [own.class_, *row, own.separator]
        places = [place for place, piece in enumerate(ids) if piece not in special]
        for turn in range(TURNS):
            hidden = [place for n, place in enumerate(places, start=1) if n % TURNS == turn]
            seen = [own.mask if place in hidden else piece for place, piece in enumerate(ids)]
            p = alone(lm.transformer, seen, [0] * len(seen)).log_softmax(-1)
            for place in hidden:
                nats -= float(p[place, ids[place]])
                right += int(p[place].argmax() == ids[place])
                count += 1
    assert found.tokens == count == len([piece for piece in pieces if piece not in special])
    assert found.loss == pytest.approx(nats / count, rel=1e-6)
    assert found.accuracy == pytest.approx(right / count)
    assert evaluate_masked(lm, path, context_length=12, batch_size=1).loss == pytest.approx(found.loss, rel=1e-6)


def test_on_the_command_line(tmp_path, capsys):
    save_model(tmp_path / "fill", model().transformer.float(), tokenizer())
    (tmp_path / "text.txt").write_text(ENGLISH, encoding="utf-8")
    assert main(["evaluate", str(tmp_path / "fill"), "--data", str(tmp_path / "text.txt"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["loss"] > 0
    assert main(["evaluate", str(tmp_path / "fill"), "--data", str(tmp_path / "text.txt"), "--worst", "3"]) == 2
    assert "--worst would change nothing" in capsys.readouterr().err


def test_what_cannot_be(tmp_path):
    with pytest.raises(RegardError, match="holds no text of its own"):
        evaluate_masked(model())
    with pytest.raises(RegardError, match="reads 24 tokens"):
        evaluate_masked(model(), ENGLISH, context_length=25)
    plain = byte_tokenizer()
    with pytest.raises(RegardError, match="has no mask token"):
        evaluate_masked(Model(encoder(heads.LanguageHead(), plain.vocab_size), plain, "plain"))
    other = Model(encoder(heads.Classify(labels=("a", "b")), plain.vocab_size, dtype=torch.float32), plain, "classes")
    with pytest.raises(RegardError, match="fills in no hidden words"):
        evaluate_masked(other)
