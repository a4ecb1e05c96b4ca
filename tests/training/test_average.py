"""Averages against their formulas, worked with plain numbers."""

import contextlib

import pytest
import torch

from regard.training.average import EMA, Average, Last, swapped


def weights(value: float) -> dict[str, torch.Tensor]:
    return {"a": torch.full((2,), value), "b": torch.full((1, 2), -value)}


def test_ema() -> None:
    kept = EMA(decay=0.5).start(weights(1.0))
    kept.update(1, weights(2.0))  # β₁ = 2/11
    first = 2 / 11 * 1 + 9 / 11 * 2
    assert kept.average()["a"].tolist() == pytest.approx([first] * 2)
    kept.update(100, weights(4.0))  # β = min(0.5, 101/110)
    assert kept.average()["b"].flatten().tolist() == pytest.approx([-(first + 4) / 2] * 2)


def test_last_is_the_mean_of_the_last_sets() -> None:
    kept = Last(count=3, every=10).start(weights(100.0))
    seen = []
    for step in range(1, 76):
        kept.update(step, weights(float(step)))
        seen.append(kept.average()["a"][0].item())
    assert seen[8] == 100  # before the first set there is the start
    assert seen[9] == 10
    assert seen[29] == pytest.approx((10 + 20 + 30) / 3)
    assert seen[74] == pytest.approx((50 + 60 + 70) / 3)


@pytest.mark.parametrize("choice", [EMA(), Last(count=2, every=2)], ids=lambda c: c.kind)
def test_state_is_all_there_is(choice: Average) -> None:
    one = choice.start(weights(1.0))
    for step in range(1, 6):
        one.update(step, weights(step**0.5))
    other = choice.start(weights(0.0))
    other.state = {name: tensor.clone() for name, tensor in one.state.items()}
    for step in range(6, 9):
        one.update(step, weights(step**0.5))
        other.update(step, weights(step**0.5))
    for name, tensor in one.average().items():
        assert torch.equal(tensor, other.average()[name])
    assert set(Average.kinds().values()) == {EMA, Last}


def test_swapped_gives_back_the_same_bits() -> None:
    mine = {"a": torch.randn(3)}
    before = mine["a"].clone()
    with contextlib.suppress(ZeroDivisionError), swapped(mine, {"a": torch.zeros(3)}):
        assert mine["a"].abs().max() == 0
        raise ZeroDivisionError
    assert torch.equal(mine["a"], before)
    with swapped(mine, None):
        assert torch.equal(mine["a"], before)
