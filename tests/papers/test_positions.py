"""Papers on positions: their exact parts by hand, and verdicts that can be otherwise."""

import pytest
import torch

from regard.papers import alibi, rope, t5
from regard.papers.lengths import TRAINED
from regard.planning import plan


def test_the_bound_by_hand():
    """At distance 0 all terms are 1, and the mean of 1 … 64 is 32.5; at others, by the sum as §3.4.3 writes it."""
    found = rope.bound(furthest=4)
    assert found[0].item() == pytest.approx(32.5)
    theta = [10_000 ** (-2 * j / 128) for j in range(64)]
    sums = [sum(complex(torch.tensor(3j * angle).exp()) for angle in theta[: i + 1]) for i in range(64)]
    assert found[3].item() == pytest.approx(sum(map(abs, sums)) / 64, rel=1e-5)


def test_t5s_sizes_are_those_of_its_checkpoints():
    """The published files of Small and Base hold these many numbers, the shared table counted once."""
    assert plan(t5.config(t5.MODELS["Small"])).total == 60_506_624
    assert plan(t5.config(t5.MODELS["Base"])).total == 222_903_552


def test_one_layer_is_blind_to_far_order_and_two_are_not():
    assert t5.changed_by_shuffling(1, seed=3) < 1e-12
    assert t5.changed_by_shuffling(2, seed=3) > 1e-6


def invented(monkeypatch, paper, losses):
    """The paper with losses that were not measured: losses(kind of position, length)."""
    monkeypatch.setattr(paper, "learn", lambda part, *more, **settings: part)
    monkeypatch.setattr(paper, "bits", lambda part, length: losses(getattr(part, "kind", "stretched"), length))
    if paper is rope:
        # A model is the kind of its position here, and has no weights to hand on.
        monkeypatch.setattr(paper, "model", lambda part: type("Model", (), {"eval": lambda self: Stretched()})())
        monkeypatch.setattr(rope.Rotary, "state_dict", lambda self: {}, raising=False)
    if paper is alibi:
        reaches = {"sinusoidal": 64, "rotary": 96, "t5": 128, "alibi": 512}
        level = losses("sinusoidal", 64) == losses("sinusoidal", 128)
        monkeypatch.setattr(paper, "reach", lambda part: 512 if level else reaches[part.kind])
    return paper.reproduce(0)


class Stretched:
    def load_state_dict(self, weights):
        pass


def as_printed(kind, length):
    """Rotary learns best; beyond the trained length sinusoidal positions lose, T5's and ALiBi's do not."""
    base = {"rotary": 2.0, "sinusoidal": 2.5, "learned": 2.5}.get(kind, 2.1)
    return base + (1.0 if kind == "sinusoidal" and length > TRAINED else 0.0)


def level(kind, length):
    return 2.0


@pytest.mark.parametrize(
    ("paper", "losses", "held"),
    [(alibi, as_printed, 5), (alibi, level, 3), (t5, as_printed, 5), (t5, level, 4), (rope, as_printed, 5)],
    ids=["alibi", "alibi level", "t5", "t5 level", "rope"],
)
def test_checks_follow_from_what_is_measured(monkeypatch, paper, losses, held):
    found = invented(monkeypatch, paper, losses)
    assert sum(check.holds for check in found.checks) == held
    assert found.verdict == ("reproduced" if held == len(found.checks) else "reproduced in part")


def test_rope_without_gain_or_reach_fails_both_checks(monkeypatch):
    found = invented(monkeypatch, rope, lambda kind, length: 2.0 + (length > TRAINED))
    assert [check.holds for check in found.checks] == [True, True, True, False, False]
