"""Patterns as grids, drawn by hand."""

import pytest
import torch

from regard.attention import BigBird, Causal, Dilated, Documents, Full, Global, Padding, View, Window
from regard.model import ModelConfig, StackConfig
from regard.settings import SettingsError


def grid(pattern, mask, t=6, row=0):
    slots = torch.arange(t)[None]
    seen = View(mask, slots, slots, square=True).narrowed(pattern).seen()
    return ["".join("#" if cell else "." for cell in line) for line in seen[min(row, seen.shape[0] - 1), 0].tolist()]


def test_by_hand():
    assert grid(Full(), Causal(), 3) == ["#..", "##.", "###"]
    assert grid(Window(size=2), Causal(), 4) == ["#...", "##..", ".##.", "..##"]
    assert grid(Dilated(size=2, step=2), Causal()) == ["#.....", ".#....", "#.#...", ".#.#..", "..#.#.", "...#.#"]
    assert grid(Global(size=1, tokens=1), Causal(), 4) == ["#...", "##..", "#.#.", "#..#"]
    everyone = Padding(torch.tensor([4]))
    assert grid(Global(size=1, tokens=1), everyone, 4) == ["####", "##..", "#.#.", "#..#"]
    assert grid(Window(size=2), everyone, 4) == ["##..", "###.", ".###", "..##"]


def test_patterns_count_from_the_first_token_of_a_document_not_of_a_row():
    pattern = Global(size=1, tokens=1)
    alone = grid(pattern, Causal(), 3)
    packed = grid(pattern, Causal() & Documents(torch.tensor([[0, 0, 0, 1, 1, 1]])))
    assert [line[3:] for line in packed[3:]] == alone == [line[:3] for line in packed[:3]]
    left = grid(pattern, Causal() & Padding.left(torch.tensor([3]), 6))
    assert [line[3:] for line in left[3:]] == alone


def test_bigbird_sees_neighbours_first_blocks_and_as_many_random_blocks_as_asked():
    """Each block has `random` links to earlier blocks, kept whatever the length of the text."""
    size, pattern = 40, BigBird(block=1, near=1, first=1, random=2, seed=3)
    both = Padding(torch.tensor([size]))
    seen = torch.tensor([[c == "#" for c in line] for line in grid(pattern, both, size)])
    assert torch.equal(seen, seen.T)
    plain = torch.tensor([[c == "#" for c in line] for line in grid(pattern.replace(random=0), both, size)])
    i, j = torch.arange(size)[:, None], torch.arange(size)
    assert torch.equal(plain, ((i - j).abs() <= 1) | (i == 0) | (j == 0))
    links = (seen & ~plain).tril().sum(1)
    assert links.max() <= 2
    assert links[10:].float().mean() > 1.3  # two draws, some on blocks that are seen anyway
    short = torch.tensor([[c == "#" for c in line] for line in grid(pattern, Padding(torch.tensor([20])), 20)])
    assert torch.equal(short, seen[:20, :20])
    other = [[c == "#" for c in line] for line in grid(pattern.replace(seed=4), both, size)]
    assert not torch.equal(torch.tensor(other), seen)


def test_bigbird_blocks():
    rows = grid(BigBird(block=2, near=0, first=0, random=0), Padding(torch.tensor([6])))
    assert rows == ["##....", "##....", "..##..", "..##..", "....##", "....##"]


def test_a_layer_has_its_own_pattern():
    config = ModelConfig(
        vocab_size=9, d_model=8, n_heads=2, decoder=StackConfig(n_layers=3, pattern=(Window(size=2), Full()))
    )
    assert ModelConfig.from_dict(config.to_dict()) == config
    with pytest.raises(SettingsError, match="no Pattern is called 'windw'; did you mean 'window'"):
        StackConfig(pattern="windw")
