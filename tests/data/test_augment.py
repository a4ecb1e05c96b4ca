"""SpecAugment against its paper's rules."""

import torch

from regard.data.augment import SpecAugment, warped
from regard.features import Features


def ones(*lengths, mels=30):
    """Rows that have no two equal numbers, so that what is hidden shows."""
    frames = torch.zeros(len(lengths), max(lengths), mels)
    for row, length in enumerate(lengths):
        frames[row, :length] = torch.randn(length, mels)
    return Features(frames, torch.tensor(lengths))


def test_a_row_depends_on_seed_step_and_number_alone():
    augment, rows = SpecAugment(time_width=20, mel_width=8, warp=10), ones(80, 60, 70)
    together = augment(*rows, 3, 5, [0, 1, 2])
    alone = augment(rows.frames[1:2, :60], rows.lengths[1:2], 3, 5, [1])
    assert torch.equal(together[1, :60], alone[0])
    same = Features(rows.frames[:1].expand(4, -1, -1), torch.tensor([80] * 4))
    drawn = [augment(*same, 3, 5, [0, 1, 2, 3]), augment(*same, 3, 6, [0, 1, 2, 3])]
    drawn.append(augment(*same, 4, 5, [0, 1, 2, 3]))
    every = torch.cat(drawn)
    assert len({tuple(one.flatten().tolist()) for one in every}) == 12
    assert torch.equal(rows.frames[0], same.frames[0])  # what was given stays


def test_masks_keep_to_the_papers_bounds():
    """Hidden are whole columns, at most m_F · F of them, and whole rows, each mask at most min(T, p τ)."""
    augment = SpecAugment(mel_masks=2, mel_width=5, time_masks=3, time_width=40, time_share=0.1)
    seen_mels, seen_times = set(), set()
    for step in range(60):
        before = ones(100, 50)
        after = augment(*before, 0, step, [0, 1])
        for row, length in enumerate((100, 50)):
            changed = (after[row] != before.frames[row])[:length]
            times, mels = changed.all(1).sum().item(), changed.all(0).sum().item()
            assert changed.sum() == length * 30 - (length - times) * (30 - mels)
            assert times <= 3 * 0.1 * length
            assert mels <= 2 * 5
            seen_times.add(times)
            seen_mels.add(mels)
            assert not after[row, length:].any()
            hidden = after[row][:length][changed]
            assert torch.allclose(hidden, before.frames[row, :length].mean().expand_as(hidden), atol=1e-6)
    assert max(seen_mels) >= 8
    assert max(seen_times) >= 20
    assert 0 in seen_mels


def test_nothing_is_hidden_where_nothing_is_asked():
    rows = ones(9, 1)
    plain = SpecAugment(mel_masks=0, time_masks=0)
    assert torch.equal(plain(*rows, 0, 0, [0, 1]), rows.frames)
    strong = SpecAugment(warp=80)(*ones(1, 2, 3), 0, 0, [0, 1, 2])  # rows far shorter than what may be hidden
    assert torch.isfinite(strong).all()


def test_a_warp_by_hand():
    x = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0]])
    assert warped(x, 2, 2).flatten().tolist() == [0, 1, 2, 3, 4]
    assert warped(x, 1, 2).flatten().tolist() == [0, 0.5, 1, 2.5, 4]
    assert warped(x, 3, 2).flatten().tolist() == [0, 1.5, 3, 3.5, 4]
    assert warped(x, 1, 0)[[0, -1]].flatten().tolist() == [0, 4]
    assert warped(x[:1], 0, 0).flatten().tolist() == [0]
