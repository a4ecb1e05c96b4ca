"""Batches of examples: each example once an epoch, little padding, and the same whatever way a step is cut."""

from pathlib import Path

import numpy as np
import pytest

from regard.data.batches import IGNORE
from regard.data.example_batches import EvaluationExamples, ExampleBatches
from regard.data.example_store import Encoded, ExamplePart, ExampleStore, Row, Targets, make_examples
from regard.settings import RegardError

ONE = Targets("int64", 0)


def store(folder: Path, count: int = 100, shape: Targets = ONE, together: int = 1) -> ExamplePart:
    """Row n is n repeated: its length is drawn, its target is n."""
    draw = np.random.default_rng(0)

    def examples():
        for n in range(count):
            rows = []
            for _ in range(together):
                ids = np.full(draw.integers(1, 30), n)
                target = {0: n, 2: (n, n + 1), -1: ids}[shape.width]
                rows.append(Row(ids, ids % 2, target))
            yield Encoded(0, rows, [n])

    return make_examples(examples(), shape, 1000, folder, "a" * 64, {}, [], print).train


def seen(batch) -> list[int]:
    return batch.inputs[:, 0].tolist()


@pytest.mark.parametrize("count", [1, 7, 64, 100])
def test_every_example_once_an_epoch_in_another_order_each_time(tmp_path: Path, count: int) -> None:
    batches = ExampleBatches(store(tmp_path, count), 8, seed=1)
    steps = [range(epoch * batches.batches, (epoch + 1) * batches.batches) for epoch in (0, 1)]
    epochs = [[n for step in epoch for n in seen(batches.at(step))] for epoch in steps]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(count))
    assert count < 10 or epochs[0] != epochs[1]
    sizes = [len(batches.at(step).inputs) for step in range(batches.batches)]
    assert max(sizes) <= 8
    assert max(sizes) - min(sizes) <= 1


def test_a_step_does_not_depend_on_what_was_asked_before(tmp_path: Path) -> None:
    part = store(tmp_path)
    once, again = ExampleBatches(part, 8, seed=1), ExampleBatches(part, 8, seed=1)
    for step in (40, 3, 17):
        once.at(step)
    assert seen(once.at(20)) == seen(again.at(20))
    assert seen(ExampleBatches(part, 8, seed=2).at(20)) != seen(again.at(20))


def test_micro_batches_and_processes_share_the_rows_of_a_step(tmp_path: Path) -> None:
    part = store(tmp_path)
    whole = ExampleBatches(part, 8, seed=1).at(5)
    cut = ExampleBatches(part, 8, seed=1, accumulate=2)
    parts = [cut.at(5, micro, rank, 2) for micro in (0, 1) for rank in (0, 1)]
    assert sorted(n for one in parts for n in seen(one)) == sorted(seen(whole))
    assert sum(one.target_count for one in parts) == whole.target_count == len(whole.inputs)


def test_more_parts_than_rows_leaves_some_with_nothing_to_learn(tmp_path: Path) -> None:
    cut = ExampleBatches(store(tmp_path, 2), 2, accumulate=4)
    parts = [cut.at(0, micro) for micro in range(4)]
    assert [one.target_count for one in parts] == [1, 1, 0, 0]
    assert all((one.targets == IGNORE).all() for one in parts[2:])


def test_little_is_padding(tmp_path: Path) -> None:
    part = store(tmp_path, 2000)
    batches = ExampleBatches(part, 16)
    places = sum(batches.at(step).inputs.numel() for step in range(batches.batches))
    assert places < 1.1 * len(part.ids)


def test_rows_targets_and_segments_belong_together(tmp_path: Path) -> None:
    batch = ExampleBatches(store(tmp_path), 8, segments=True).at(0)
    assert batch.targets.tolist() == seen(batch)
    for row, segments, length in zip(batch.inputs, batch.segments, batch.lengths, strict=True):
        assert (row[:length] == row[0]).all()
        assert (segments[:length] == row[0] % 2).all()
        assert (segments[length:] == 0).all()


def test_targets_of_each_token_are_padded_with_none(tmp_path: Path) -> None:
    batch = ExampleBatches(store(tmp_path, shape=Targets("int64", -1)), 8).at(0)
    for row, target, length in zip(batch.inputs, batch.targets, batch.lengths, strict=True):
        assert target[:length].tolist() == row[:length].tolist()
        assert (target[length:] == IGNORE).all()
    assert batch.target_count == int(batch.lengths.sum())


def test_two_targets_a_row(tmp_path: Path) -> None:
    batch = ExampleBatches(store(tmp_path, shape=Targets("int64", 2)), 8).at(0)
    assert batch.targets.tolist() == [[n, n + 1] for n in seen(batch)]


def test_pairs_stand_below_each_other(tmp_path: Path) -> None:
    batch = ExampleBatches(store(tmp_path, together=2), 8, together=2).at(0)
    count = len(batch.inputs) // 2
    assert seen(batch)[:count] == seen(batch)[count:]
    assert batch.targets.tolist() == [*range(count, 2 * count), *[IGNORE] * count]
    assert batch.target_count == count


def test_evaluation_sees_each_once_or_an_even_part(tmp_path: Path) -> None:
    part = store(tmp_path)
    assert sorted(n for batch in EvaluationExamples(part, 8) for n in seen(batch)) == list(range(100))
    some = sorted(n for batch in EvaluationExamples(part, 8, limit=10) for n in seen(batch))
    assert some == list(range(0, 100, 10))


def test_a_store_is_opened_as_it_was_made_and_damage_is_named(tmp_path: Path) -> None:
    part = store(tmp_path)
    again = ExampleStore.open(tmp_path).train
    assert np.array_equal(part.ids, again.ids)
    assert [part.target(n) for n in range(5)] == [0, 1, 2, 3, 4]
    next(tmp_path.glob("train-ids-*")).write_bytes(b"xx")
    with pytest.raises(RegardError, match="are damaged"):
        ExampleStore.open(tmp_path)
    with pytest.raises(RegardError, match="there are no examples in"):
        ExampleStore.open(tmp_path / "nowhere")


def test_nothing_to_train_on_is_said(tmp_path: Path) -> None:
    with pytest.raises(RegardError, match="no example is left to train on"):
        store(tmp_path, 0)
