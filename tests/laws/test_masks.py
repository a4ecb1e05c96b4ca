"""The future is unseen; padding, neighbours in a batch and other documents change nothing."""

import pytest
import torch

from regard.attention import Documents, Padding, Prefix
from regard.heads import Embed
from regard.heads.pooling import Pooled
from regard.settings import RegardError, of_layer
from tests.laws.members import DECODERS, ENCODERS, MEMBERS, TRANSLATORS, close, here, rich, source, targets, words


def run(model, ids, source_mask=None, **more):
    """Logits; a translator reads the same source whatever its target."""
    if model.config.family == "encoder-decoder":
        more["source"], more["source_mask"] = source(model, ids.shape[0], 7), source_mask
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
    assert all((here(model(changed), row, 9) - here(model(ids), row, 9)).abs().max() > 1e-6 for row in range(2))


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
            alone = model(ids[row : row + 1, :length], source=source(model, 3, 7)[row : row + 1])
        else:
            alone = model(ids[row : row + 1, :length])
        places = slice(0, length) if side == "right" else slice(11 - length, 11)
        close(here(together, row, places), alone[0])


@pytest.mark.parametrize("name", TRANSLATORS)
def test_padding_of_the_source_changes_nothing(name):
    model, target = rich(TRANSLATORS[name]), words(2, 6, seed=3)
    sources = source(model, 2, 9)
    lengths = torch.tensor([5, 9])
    together = model(target, source=sources, source_mask=Padding(lengths))
    for row, length in enumerate(lengths):
        close(together[row], model(target[row : row + 1], source=sources[row : row + 1, :length])[0])


# A head that pools has one answer for a row, so a row is one text.
POOLED = [name for name, config in ENCODERS.items() if isinstance(config.head, Pooled | Embed)]


@pytest.mark.parametrize("name", [n for n in MEMBERS if n not in TRANSLATORS and n not in POOLED])
def test_packed_equals_unpacked(name):
    model, ids = rich(MEMBERS[name]), words(2, 14)
    documents = torch.tensor([[0] * 5 + [1] * 2 + [2] * 7, [0] * 1 + [1] * 9 + [2] * 4])
    packed = model(ids, mask=Documents(documents))
    for row in range(2):
        for number in range(3):
            places = documents[row] == number
            close(packed[row, places], model(ids[row : row + 1, places])[0])


@pytest.mark.parametrize("name", POOLED)
def test_a_head_of_whole_texts_refuses_packed_rows(name):
    with pytest.raises(RegardError, match="give each document a row of its own"):
        rich(MEMBERS[name])(words(1, 5), mask=Documents(torch.tensor([[0, 0, 1, 1, 1]])))


@pytest.mark.parametrize("name", [n for n, config in ENCODERS.items() if config.head.kind != "embed"])
def test_padding_and_neighbours_change_no_loss(name):
    """Of any text alone; vectors are learnt by comparing texts, so theirs is of the batch."""
    model, ids = rich(ENCODERS[name]), words(3, 9)
    wanted, lengths = targets(model, 3, 4), [9, 4, 6]
    if wanted.dim() == 2 and wanted.shape[1] == 4:  # one a token
        wanted = torch.cat([wanted, torch.full((3, 5), -100)], 1)
    together = model(ids, wanted, mask=Padding(torch.tensor(lengths)))
    for row, n in enumerate(lengths):
        own = wanted[row : row + 1, :n] if wanted.shape[1:] == (9,) else wanted[row : row + 1]
        close(together.nll[row].sum(), model(ids[row : row + 1, :n], own).nll.sum())


@pytest.mark.parametrize("name", MEMBERS)
def test_a_batch_of_many_equals_a_batch_of_one(name):
    model, ids = rich(MEMBERS[name]), words(4, 6)
    together = run(model, ids)
    for row in range(4):
        more = {"source": source(model, 4, 7)[row : row + 1]} if name in TRANSLATORS else {}
        close(together[row], model(ids[row : row + 1], **more)[0])


@pytest.mark.parametrize("name", [n for n in MEMBERS if n not in TRANSLATORS])
def test_a_row_of_padding_alone_stays_finite(name):
    model = rich(MEMBERS[name])
    ids = words(2, 5)
    for mask in (Padding(torch.tensor([0, 5])), Padding.left(torch.tensor([0, 3]), 5)):
        model.zero_grad()
        logits = model(ids, mask=mask)
        assert torch.isfinite(logits).all()
        logits.sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


PREFIXED = [name for name, config in DECODERS.items() if name not in TRANSLATORS]


@pytest.mark.parametrize("name", PREFIXED)
def test_a_prefix_is_seen_from_everywhere_and_the_rest_looks_back(name):
    model, ids = rich(DECODERS[name]), words(2, 10)
    mask, stack = Prefix(torch.tensor([4, 6])), model.config.decoder
    if stack.kind == "recurrent" or not {"self", "patterns"} <= of_layer(stack.attention, 0).offers:
        with pytest.raises(RegardError, match="cannot take a prefix"):
            model(ids, mask=mask)
        return
    whole, causal = model(ids, mask=mask), model(ids)
    changed = ids.clone()
    changed[:, 7:] = (changed[:, 7:] + 1) % 29
    close(model(changed, mask=mask)[:, :7], whole[:, :7])  # past the prefix, the future is unseen
    close(model(ids, mask=Prefix(torch.tensor([0, 1]))), causal)
    if of_layer(stack.pattern, 0).kind != "dilated":
        assert (whole[:, 1] - causal[:, 1]).abs().max() > 1e-6
    padded = torch.cat([ids, ids[:, :2]], 1).roll(2, 1)
    close(model(padded, mask=mask & Padding.left(torch.tensor([10, 10]), 12))[:, 2:], whole)
    cache = model.cache(2)
    first = model(ids[:, :6], mask=mask, cache=cache)
    rest = [model(part, cache=cache) for part in ids[:, 6:].split([1, 3], 1)]
    close(torch.cat([first, *rest], 1), whole)
    with pytest.raises(RegardError, match="a prefix is read at once"):
        model(ids, mask=mask, cache=cache)
