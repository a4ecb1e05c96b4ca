"""Each schedule against numbers worked by hand from its formula."""

import pytest

from regard.settings import SettingsError
from regard.training.schedules import WSD, Constant, Cosine, InverseSquareRoot, Linear, Noam, Schedule

# (schedule, rates at step 1, at the end of the warm-up, at ten times the warm-up), in a run of 2000 steps.
TABLE = [
    (Constant(learning_rate=0.5, warmup=100), 0.005, 0.5, 0.5),
    # (1000 − 100) / (2000 − 100) = 9/19 of the way down
    (Linear(learning_rate=0.5, warmup=100), 0.005, 0.5, 0.5 * 10 / 19),
    (Linear(learning_rate=0.5, warmup=100, final=0.1), 0.005, 0.5, 0.5 * (1 - 0.9 * 9 / 19)),
    # cos(π · 9/19) = 0.08257934547233227
    (Cosine(learning_rate=0.5, warmup=100, final=0.0), 0.005, 0.5, 0.5 * 1.08257934547233227 / 2),
    (
        Cosine(learning_rate=0.5, warmup=100, final=0.1),
        0.005,
        0.5,
        0.5 * (0.1 + 0.9 * 1.08257934547233227 / 2),
    ),
    # √(1/10)
    (InverseSquareRoot(learning_rate=0.5, warmup=100), 0.005, 0.5, 0.5 * 0.31622776601683794),
    (WSD(learning_rate=0.5, warmup=100), 0.005, 0.5, 0.5),
    # the last 75 % is the decay: (1000 − 500) / 1500 = a third of the way
    (WSD(learning_rate=0.5, warmup=100, decay=0.75, shape="linear"), 0.005, 0.5, 0.5 * 2 / 3),
    (WSD(learning_rate=0.5, warmup=100, decay=0.75), 0.005, 0.5, 0.5 * (1 - 0.5773502691896258)),
    # 2017: d_model 512, warm-up 4000. 1/√512 = 0.04419417382415922; 4000^(−3/2) = 3.952847075210474e-06
    (Noam(d_model=512), 1.7469281e-07, 6.9877124e-04, 2.2097087e-04),
]


@pytest.mark.parametrize(("schedule", "first", "warm", "later"), TABLE, ids=lambda value: getattr(value, "kind", ""))
def test_rates(schedule: Schedule, first: float, warm: float, later: float) -> None:
    assert schedule.rate(1, 2000) == pytest.approx(first, rel=1e-7)
    assert schedule.rate(schedule.warmup, 2000) == pytest.approx(warm, rel=1e-7)
    assert schedule.rate(10 * schedule.warmup, 2000) == pytest.approx(later, rel=1e-7)


def test_every_schedule_is_in_the_table() -> None:
    assert {type(schedule) for schedule, *_ in TABLE} == set(Schedule.kinds().values())


@pytest.mark.parametrize("kind", [Linear, Cosine, WSD])
def test_ends_at_its_final_share(kind: type[Schedule]) -> None:
    schedule = kind(learning_rate=0.5, warmup=10, final=0.25)  # type: ignore[call-arg]
    assert schedule.rate(200, 200) == pytest.approx(0.125)
    assert schedule.rate(999, 200) == pytest.approx(0.125)


def test_wsd_before_its_decay_does_not_know_the_length() -> None:
    schedule = WSD(warmup=10)
    assert [schedule.rate(n, 1000) for n in range(1, 800)] == [schedule.rate(n, 5000) for n in range(1, 800)]


def test_no_warmup_starts_at_the_top_and_short_runs_divide_by_nothing() -> None:
    assert Cosine(learning_rate=0.5, final=0.0).rate(1, 1) == pytest.approx(0.0)
    assert Constant(learning_rate=0.5).rate(1, 1) == 0.5
    assert Cosine(learning_rate=0.5, warmup=100).rate(5, 5) == pytest.approx(0.025)


def test_noam_without_a_width_says_so() -> None:
    with pytest.raises(SettingsError, match="width of the model"):
        Noam().rate(1, 10)
