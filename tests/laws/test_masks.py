"""The future is unseen; padding, neighbours in a batch and other documents change nothing."""

import pytest
import torch

from regard.attention import Documents, Padding
from tests.laws.members import DECODERS, ENCODERS, MEMBERS, TRANSLATORS, close, rich, words


def run(model, ids, source_mask=None, **more):
    """Logits; a translator reads the same source whatever its target."""
    if model.config.family == "encoder-decoder":
        more["source"], more["source_mask"] = words(ids.shape[0], 7, seed=5)[: ids.shape[0]], source_mask
    return model(ids, **more)


@pytest.mark.parametrize("name", DECODERS)
def test_the_future_is_unseen(name):
    model, ids = rich(DECODERS[name]), words(2, 12)
    changed = ids.clone()
    changed[:, 7:] = (changed[:, 7:] + 1) % 29
    before, after = run(model, ids), run(model, changed)
    close(after[:, :7], before[:, :7])
    assert (after[:, 7:] - before[:, 7:]).abs().max() > 1e-3  # the change is seen where it may be


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_sees_the_future(name):
    model, ids = rich(ENCODERS[name]), words(2, 12)
    changed = ids.clone()
    changed[:, 11] = (changed[:, 11] + 1) % 29
    assert (model(changed)[:, 9] - model(ids)[:, 9]).abs().max() > 1e-6


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_changes_nothing(name, side):
    model, ids = rich(MEMBERS[name]), words(3, 11)
    lengths = torch.tensor([4, 11, 7])
    padded = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        padded[row, slice(0, length) if side == "right" else slice(11 - length, 11)] = ids[row, :length]
    mask = Padding(lengths) if side == "right" else Padding.left(lengths, 11)
    together = run(model, padded, mask=mask)
    for row, length in enumerate(lengths):
        if model.config.family == "encoder-decoder":
            alone = model(ids[row : row + 1, :length], source=words(3, 7, seed=5)[row : row + 1])
        else:
            alone = model(ids[row : row + 1, :length])
        here = slice(0, length) if side == "right" else slice(11 - length, 11)
        close(together[row, here], alone[0])


@pytest.mark.parametrize("name", TRANSLATORS)
def test_padding_of_the_source_changes_nothing(name):
    model, source, target = rich(TRANSLATORS[name]), words(2, 9), words(2, 6, seed=3)
    lengths = torch.tensor([5, 9])
    together = model(target, source=source, source_mask=Padding(lengths))
    for row, length in enumerate(lengths):
        close(together[row], model(target[row : row + 1], source=source[row : row + 1, :length])[0])


@pytest.mark.parametrize("name", [n for n in MEMBERS if n not in TRANSLATORS])
def test_packed_equals_unpacked(name):
    model, ids = rich(MEMBERS[name]), words(2, 14)
    documents = torch.tensor([[0] * 5 + [1] * 2 + [2] * 7, [0] * 1 + [1] * 9 + [2] * 4])
    packed = model(ids, mask=Documents(documents))
    for row in range(2):
        for number in range(3):
            here = documents[row] == number
            close(packed[row, here], model(ids[row : row + 1, here])[0])


@pytest.mark.parametrize("name", MEMBERS)
def test_a_batch_of_many_equals_a_batch_of_one(name):
    model, ids = rich(MEMBERS[name]), words(4, 6)
    together = run(model, ids)
    for row in range(4):
        more = {"source": words(4, 7, seed=5)[row : row + 1]} if name in TRANSLATORS else {}
        close(together[row], model(ids[row : row + 1], **more)[0])


@pytest.mark.parametrize("name", [n for n in MEMBERS if n not in TRANSLATORS])
def test_a_row_of_padding_alone_stays_finite(name):
    model = rich(MEMBERS[name])
    ids = words(2, 5)
    for mask in (Padding(torch.tensor([0, 5])), Padding.left(torch.tensor([0, 3]), 5)):
        logits = model(ids, mask=mask)
        assert torch.isfinite(logits).all()
        logits.sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
