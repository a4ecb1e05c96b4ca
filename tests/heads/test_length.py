"""The length head against its formula, a number at a time; and what it adds to training."""

import math

import pytest
import torch

from regard.attention import Mask, Padding
from regard.heads.length import Length, LengthHead
from regard.model import ModelConfig, StackConfig, Transformer
from regard.planning import plan
from regard.settings import SettingsError
from tests.laws.members import close

LIMIT, D = 6, 4


def head(weight=1.0):
    made = LengthHead(Length(limit=LIMIT, weight=weight), 99, D).double()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random, dtype=torch.float64))
    return made


def by_hand(made, rows):
    """score(n) = a_n · m + b_n + r_{n − s} · m, each product by itself."""
    found = []
    for row in rows:  # the real vectors of a row
        s, m = len(row), [sum(column) / len(row) for column in zip(*row.tolist(), strict=True)]
        scores = []
        for n in range(1, LIMIT + 1):
            difference = max(-LIMIT, min(LIMIT, n - s))
            a, r = made.itself.weight[n - 1].tolist(), made.beyond.weight[difference + LIMIT].tolist()
            both = sum((x + y) * z for x, y, z in zip(a, r, m, strict=True))
            scores.append(both + made.itself.bias[n - 1].item())
        found.append(scores)
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("side", ["right", "left"])
def test_scores_are_the_formula_whatever_the_padding(side):
    made, lengths = head(), torch.tensor([3, 11, 1])  # 11: n − s is less than −limit, for small n
    x = torch.randn(3, 11, D, dtype=torch.float64)
    mask = Padding(lengths) if side == "right" else Padding.left(lengths, 11)
    rows = [row[:n] if side == "right" else row[11 - n :] for row, n in zip(x, lengths.tolist(), strict=True)]
    close(made(x, mask), by_hand(made, rows))
    close(made(x), by_hand(made, list(x)))


def translator(**length):
    stack = StackConfig(n_layers=1)
    return Transformer(
        ModelConfig(
            vocab_size=11,
            d_model=8,
            n_heads=2,
            context_length=12,
            encoder=stack,
            decoder=stack,
            length=Length(**length),
        )
    ).double()


def test_a_length_counts_for_as_many_words_as_its_weight_says():
    model = translator(limit=5, weight=3.0)
    source, target = torch.randint(11, (4, 6)), torch.randint(11, (4, 7))
    asked = {"mask": Padding(torch.tensor([2, 0, 7, 5])), "source": source}  # 7 counts as 5, and 0 is no length
    evaluated = model.eval()(target, target, **asked)
    close(evaluated.objective, evaluated.nll.sum())
    trained = model.train()(target, target, **asked)
    log_p = model.length(model.encode(source).x, Mask()).log_softmax(-1)
    close(trained.objective - evaluated.objective, -3.0 * (log_p[0, 1] + log_p[2, 4] + log_p[3, 4]))
    close(trained.nll, evaluated.nll)


def test_full_rows_are_as_long_as_they_look():
    model = translator().train()
    source, target = torch.randint(11, (2, 6)), torch.randint(11, (2, 7))
    one = model(target, target, source=source).objective
    other = model(target, target, source=source, mask=Padding(torch.tensor([7, 7]))).objective
    close(one, other)
    assert model.length.limit == 12  # the decoder's context
    assert model.length(*model.encode(source)[:2]).shape == (2, 12)


def test_training_compiles_without_a_graph_break():
    torch.compiler.reset()
    model = translator().train()
    source, target = torch.randint(11, (2, 6)), torch.randint(11, (2, 7))
    asked = {"source": source, "mask": Padding(torch.tensor([3, 7])), "source_mask": Padding(torch.tensor([6, 4]))}
    compiled = torch.compile(model, backend="eager", fullgraph=True, dynamic=False)
    close(compiled(target, target, **asked).objective, model(target, target, **asked).objective)


def test_first_scores_tell_lengths_apart_but_little():
    """Drawn as small as all weights are, so that training starts near an even guess."""
    model = translator()
    log_p = model.length(model.encode(torch.randint(11, (3, 6))).x, Mask()).log_softmax(-1)
    assert (log_p + math.log(12)).abs().max() < 1.0
    assert log_p.std() > 0


def test_a_plan_counts_it_once_a_text():
    config = translator().config
    mine, without = plan(config), plan(config.replace(length=None))
    assert mine.parameters["head"] - without.parameters["head"] == 12 * 8 + 12 + 25 * 8
    assert mine.matmul_flops - without.matmul_flops == round(2 * (12 + 25) * 8 / 12)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"length": {"limit": 13}}, "lower the limit"),
        ({"length": {}, "encoder": None}, "this model has one stack"),
        ({"length": {"weight": 0}}, "greater than 0"),
    ],
)
def test_what_cannot_be_is_refused(changes, why):
    values = {"vocab_size": 11, "d_model": 8, "n_heads": 2, "context_length": 12, "encoder": {"n_layers": 1}}
    with pytest.raises(SettingsError, match=why):
        ModelConfig.from_dict({**values, "decoder": {"n_layers": 1}, **changes})
