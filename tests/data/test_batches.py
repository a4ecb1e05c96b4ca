import pickle
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.data.batches import IGNORE, Batches, EvaluationBatches, permuted
from regard.data.store import Part
from regard.data.synthetic import TaskBatches
from regard.settings import RegardError


def part(lengths, name="train"):
    """Documents of these lengths, each opened by the end token 0; every other id stands once."""
    ids, starts, fresh = [], [], 1
    for length in lengths:
        starts.append(len(ids))
        ids += [0, *range(fresh, fresh + length)]
        fresh += length
    ids = np.array([*ids, 0], dtype=np.uint32)
    return Part(name, ids, np.array(starts, dtype=np.int64), len(starts), 0, 0)


def plain(length):
    """One document without end tokens, in which every id is its place."""
    return Part("train", np.arange(length, dtype=np.uint16), np.zeros(1, np.int64), 1, length, length)


def equal(a, b):
    return all(
        torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y
        for x, y in zip(vars(a).values(), vars(b).values(), strict=True)
    )


class TestPermutation:
    @given(st.integers(1, 3000), st.integers(0, 2**63))
    def test_is_a_bijection(self, size, key):
        order = permuted(np.arange(size, dtype=np.uint64), size, key)
        assert sorted(order.tolist()) == list(range(size))

    @given(st.integers(1, 2**40), st.integers(0, 2**63), st.data())
    def test_one_index_at_a_time_is_the_same(self, size, key, data):
        index = np.array(data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=5)), dtype=np.uint64)
        together = permuted(index, size, key)
        assert together.max() < size
        assert [int(permuted(index[i : i + 1], size, key)[0]) for i in range(len(index))] == together.tolist()

    def test_looks_random(self):
        """Each index lands everywhere about equally often, and neighbours do not stay together."""
        size, keys = 20, 4000
        orders = np.array([permuted(np.arange(size, dtype=np.uint64), size, key) for key in range(keys)]).astype(int)
        expected = keys / size
        for index in range(size):
            chi2 = ((np.bincount(orders[:, index], minlength=size) - expected) ** 2 / expected).sum()
            assert chi2 < 55  # 19 degrees of freedom: one in 50,000 is above
        steps = np.bincount((np.diff(orders, axis=1) % size).ravel(), minlength=size)[1:]
        expected = keys * (size - 1) / (size - 1)
        assert (abs(steps - expected) < 8 * expected**0.5).all()


class TestBatches:
    def test_targets_are_the_next_ids(self):
        batch = Batches(plain(101), 4, 10).at(0)
        assert batch.inputs.shape == batch.targets.shape == (4, 10)
        assert batch.inputs.dtype == batch.targets.dtype == torch.int64
        assert torch.equal(batch.targets, batch.inputs + 1)
        assert batch.documents is None
        assert batch.lengths is None
        assert batch.target_count == 40

    def test_is_a_function_of_seed_and_step(self):
        store = part([5, 80, 3, 40])
        batches = Batches(store, 6, 9, seed=3)
        forwards = [batches.at(step) for step in range(40)]
        again = Batches(store, 6, 9, seed=3)
        assert all(equal(again.at(step), forwards[step]) for step in reversed(range(40)))
        assert not equal(Batches(store, 6, 9, seed=4).at(0), forwards[0])
        assert len({pickle.dumps(batch.inputs.tolist()) for batch in forwards}) == 40

    def test_is_the_same_in_another_process(self):
        code = (
            "from tests.data.test_batches import Batches, plain; "
            "print([Batches(plain(1000), 3, 7, seed=5).at(step).inputs[:, 0].tolist() for step in (0, 17, 10**9)])"
        )
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        batches = Batches(plain(1000), 3, 7, seed=5)
        assert out.strip() == str([batches.at(step).inputs[:, 0].tolist() for step in (0, 17, 10**9)])

    @given(
        st.integers(12, 400), st.integers(1, 11), st.sampled_from([(1, 1), (2, 1), (1, 3), (2, 2)]), st.integers(0, 9)
    )
    @settings(max_examples=40, deadline=None)
    def test_micro_batches_and_ranks_share_out_the_batch(self, size, length, ways, step):
        accumulate, world = ways
        store = part([size // 3, size])
        whole = Batches(store, 12, length).at(step)
        parts = [
            Batches(store, 12, length, accumulate=accumulate).at(step, micro, rank, world)
            for micro in range(accumulate)
            for rank in range(world)
        ]
        for name in ("inputs", "targets", "documents"):
            assert torch.equal(torch.cat([getattr(p, name) for p in parts]), getattr(whole, name))
        assert sum(p.target_count for p in parts) == whole.target_count

    @given(st.integers(1, 20), st.integers(2, 30), st.integers(0, 5), st.integers(1, 7))
    @settings(max_examples=60, deadline=None)
    def test_an_epoch_shows_each_pair_once(self, windows, length, seed, batch_size):
        left = (seed * 7) % length
        batches = Batches(plain(windows * length + left + 1), batch_size, length, seed=seed)
        assert batches.windows == windows
        rows = [row for step in range(-(-3 * windows // batch_size)) for row in batches.at(step).targets.tolist()]
        for epoch in range(3):
            seen = Counter(i for row in rows[epoch * windows : (epoch + 1) * windows] for i in row)
            assert set(seen.values()) == {1}
            assert len(seen) == windows * length

    def test_epochs_cut_and_order_differently(self):
        batches = Batches(plain(1001), 10, 10)
        first, second = (
            {row[0] for step in range(10 * epoch, 10 * epoch + 10) for row in batches.at(step).inputs.tolist()}
            for epoch in (0, 1)
        )
        assert len({start % 10 for start in first}) == len({start % 10 for start in second}) == 1
        assert first != second
        assert batches.epochs(25) == 2.5

    def test_the_circle_closes_at_an_end_token(self):
        """A window over the end goes on with the first document, which the last end token opens."""
        store = part([3, 3])  # 0 1 2 3 0 4 5 6 0
        rows = [row for step in range(20) for row in Batches(store, 1, 6).at(step).inputs.tolist()]
        circle = [0, 1, 2, 3, 0, 4, 5, 6] * 2
        assert all(any(circle[i : i + 6] == row for i in range(8)) for row in rows)
        assert any(row[:2] == [5, 6] for row in rows)

    @given(st.lists(st.integers(0, 12), min_size=2, max_size=12), st.integers(1, 25), st.integers(0, 99))
    @settings(max_examples=100, deadline=None)
    def test_documents_begin_at_end_tokens(self, lengths, length, step):
        store = part(lengths)
        if len(store) - 1 < length:
            return
        batch = Batches(store, 5, length).at(step)
        opens = batch.inputs == 0
        opens[:, 0] = False  # a row begins with its document number 0, wherever it begins
        assert torch.equal(batch.documents, opens.cumsum(1))
        assert Batches(store, 5, length, separate_documents=False).at(step).documents is None

    def test_documents_without_end_tokens(self):
        store = Part("train", np.arange(10, dtype=np.uint16), np.array([0, 4, 5]), 3, 10, 10)
        owner = np.array([0, 0, 0, 0, 1, 2, 2, 2, 2])
        for step in range(20):
            batch = Batches(store, 1, 9).at(step)
            mine = owner[batch.inputs[0].numpy()]
            assert batch.documents[0].tolist() == np.cumsum(np.r_[0, np.diff(mine) != 0]).tolist()

    def test_errors(self):
        with pytest.raises(RegardError, match="has 10 tokens, and one window of context_length=10 needs 11"):
            Batches(plain(10), 1, 10)
        with pytest.raises(RegardError, match="10 rows does not divide evenly into 3 micro-batches"):
            Batches(plain(100), 10, 10, accumulate=3)
        with pytest.raises(RegardError, match="on 4 process"):
            Batches(plain(100), 10, 10).at(0, rank=1, world=4)

    def test_costs_nothing_with_the_size_of_the_text(self):
        """A text of 10¹² ids that is one id in memory: what looked at all of it would never end."""
        ids = np.broadcast_to(np.uint16(7), 10**12)
        batches = Batches(Part("train", ids, np.zeros(1, np.int64), 1, 0, 0), 8, 128)
        assert batches.windows == (10**12 - 1) // 128
        assert (batches.at(10**8).inputs == 7).all()

    def test_moves_to_a_device(self):
        batch = Batches(part([30, 30]), 2, 8).at(0)
        moved = batch.to("meta")
        assert moved.inputs.device.type == moved.documents.device.type == "meta"
        assert moved.target_count == batch.target_count


class TestEvaluation:
    @given(st.integers(2, 300), st.integers(1, 40), st.integers(1, 7))
    @settings(max_examples=100, deadline=None)
    def test_predicts_each_token_once(self, size, length, batch_size):
        batches = EvaluationBatches(plain(size), batch_size, length)
        found = list(batches)
        assert len(found) == len(batches)
        seen = [i for batch in found for i in batch.targets[batch.targets != IGNORE].tolist()]
        assert seen == list(range(1, size))
        assert sum(batch.target_count for batch in found) == size - 1
        for batch in found:
            real = batch.targets != IGNORE
            assert torch.equal(batch.targets[real], batch.inputs[real] + 1)
            lengths = torch.full((len(real),), length) if batch.lengths is None else batch.lengths
            assert torch.equal(real, torch.arange(length) < lengths[:, None])

    def test_documents(self):
        batch = EvaluationBatches(part([2, 2, 3]), 2, 6).at(0)  # 0 1 2 0 3 4 | 0 5 6 7 (0)
        assert batch.inputs.tolist() == [[0, 1, 2, 0, 3, 4], [0, 5, 6, 7, 0, 0]]
        assert batch.targets.tolist() == [[1, 2, 0, 3, 4, 0], [5, 6, 7, 0, IGNORE, IGNORE]]
        assert batch.documents.tolist() == [[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0]]
        assert batch.lengths.tolist() == [6, 4]

    def test_a_limit_takes_windows_from_all_over(self):
        batches = EvaluationBatches(plain(1001), 3, 10, limit=7)
        starts = [row[0] for batch in batches for row in batch.inputs.tolist()]
        assert len(starts) == 7
        assert starts == [100 * i // 7 * 10 for i in range(7)]
        assert EvaluationBatches(plain(11), 3, 10, limit=7).windows == 1


class TestTasks:
    @pytest.mark.parametrize(
        ("task", "answer"), [("copy", lambda x: x), ("reverse", lambda x: x[::-1]), ("sort", sorted)]
    )
    def test_rows_and_targets(self, task, answer):
        batches = TaskBatches(task, 4, symbols=10, lengths=(3, 6), seed=1)
        lengths = set()
        for step in range(20):
            batch = batches.at(step)
            for row, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
                at = row.index(batches.EQUALS)
                question = row[:at]
                lengths.add(at)
                assert all(2 <= symbol < batches.vocab_size == 12 for symbol in question)
                assert targets == [IGNORE] * at + [*answer(question), batches.END]
                assert row[at + 1 :] == list(answer(question))
            assert batch.target_count == int((batch.targets != IGNORE).sum())
            assert batch.inputs.shape[1] <= batches.context_length
        assert lengths == {3, 4, 5, 6}

    def test_is_a_function_of_seed_and_step_and_is_shared_out(self):
        whole = TaskBatches("copy", 8, seed=2).at(5)
        assert equal(whole, TaskBatches("copy", 8, seed=2).at(5))
        assert not torch.equal(whole.inputs, TaskBatches("copy", 8, seed=2).at(6).inputs)
        parts = [TaskBatches("copy", 8, seed=2, accumulate=2).at(5, m, r, 2) for m in (0, 1) for r in (0, 1)]
        assert torch.equal(torch.cat([p.inputs for p in parts]), whole.inputs)
        assert torch.equal(torch.cat([p.targets for p in parts]), whole.targets)

    def test_unknown_task(self):
        with pytest.raises(RegardError, match="did you mean 'reverse'"):
            TaskBatches("revers", 8)
