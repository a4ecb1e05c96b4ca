"""Word by word with a cache equals all at once, and every operation on a cache equals a fresh run."""

import pytest
import torch

from regard.attention import Padding
from regard.settings import RegardError
from tests.laws.members import DECODERS, TRANSLATORS, close, rich, source, words


def setup(name, rows=3):
    model = rich(DECODERS[name])
    more = {}
    if model.config.family == "encoder-decoder":
        lengths = torch.tensor([7, 3, 5])[:rows]
        more["encoded"] = model.encode(source(model, rows, 7), Padding(lengths))
    return model, more


@pytest.mark.parametrize("capacity", [None, 24])
@pytest.mark.parametrize("name", DECODERS)
def test_word_by_word_equals_all_at_once(name, capacity):
    model, more = setup(name)
    ids = words(3, 12)
    whole = model(ids, **more)
    cache = model.cache(3, capacity)
    step = [model(ids[:, i : i + 1], cache=cache, **more) for i in range(12)]
    close(torch.cat(step, 1), whole)
    cache = model.cache(3, capacity)
    pieces = [model(part, cache=cache, **more) for part in ids.split([5, 1, 4, 2], dim=1)]
    close(torch.cat(pieces, 1), whole)
    assert cache.lengths.tolist() == [12, 12, 12]
    assert cache.bytes > 0


@pytest.mark.parametrize("name", DECODERS)
def test_prompts_of_unequal_length_stand_beside_each_other(name):
    model, more = setup(name)
    prompt, then = words(3, 9), words(3, 4, seed=2)
    lengths = torch.tensor([2, 9, 6])
    cache = model.cache(3)
    model(prompt, mask=Padding(lengths), cache=cache, **more)
    steps = torch.cat([model(then[:, i : i + 1], cache=cache, **more) for i in range(4)], 1)
    for row, length in enumerate(lengths):
        alone = {"encoded": more["encoded"].gather(torch.tensor([row]))} if more else {}
        ids = torch.cat([prompt[row, :length], then[row]])[None]
        close(steps[row], model(ids, **alone)[0, -4:])


@pytest.mark.parametrize("name", DECODERS)
def test_gather(name):
    model, more = setup(name)
    ids, then = words(3, 6), words(4, 3, seed=2)
    rows = torch.tensor([2, 0, 0, 1])
    cache = model.cache(3)
    model(ids, cache=cache, **more)
    cache.gather(rows)
    more = {"encoded": more["encoded"].gather(rows)} if more else {}
    steps = torch.cat([model(then[:, i : i + 1], cache=cache, **more) for i in range(3)], 1)
    close(steps, model(torch.cat([ids[rows], then], 1), **more)[:, -3:])


@pytest.mark.parametrize("name", TRANSLATORS)
def test_rows_may_share_their_source(name):
    """Beams: what was written is repeated and reordered, and the sources stay."""
    model, more = setup(name)
    ids, then, parents = words(3, 4), words(6, 3, seed=2), torch.tensor([1, 0, 2, 2, 5, 4])
    cache, rows = model.cache(3), torch.arange(3).repeat_interleave(2)
    model(ids, cache=cache, **more)
    cache.reorder(rows)
    steps = [model(then[:, :1], cache=cache, **more)]
    cache.reorder(parents)
    steps += [model(then[:, i : i + 1], cache=cache, **more) for i in (1, 2)]
    text = torch.cat([ids[rows], then[:, :1]], 1)[parents]
    whole = model(torch.cat([text, then[:, 1:]], 1), encoded=more["encoded"].gather(rows))[:, -3:]
    close(torch.cat([steps[0][parents], *steps[1:]], 1), whole)


@pytest.mark.parametrize("name", DECODERS)
def test_snapshot_and_rollback(name):
    model, more = setup(name)
    ids, wrong, then = words(3, 6), words(3, 5, seed=9), words(3, 3, seed=2)
    cache = model.cache(3)
    model(ids, cache=cache, **more)
    moment = cache.snapshot()
    model(wrong, cache=cache, **more)
    cache.rollback(moment)
    steps = torch.cat([model(then[:, i : i + 1], cache=cache, **more) for i in range(3)], 1)
    close(steps, model(torch.cat([ids, then], 1), **more)[:, -3:])


@pytest.mark.parametrize("name", DECODERS)
def test_reset(name):
    model, more = setup(name)
    cache = model.cache(3)
    old, new = words(3, 6), words(3, 4, seed=2)
    model(old, cache=cache, **more)
    if more:
        with pytest.raises(RegardError, match="source"):
            cache.reset(torch.tensor([1]))
        return
    cache.reset(torch.tensor([1]))
    assert cache.lengths.tolist() == [6, 0, 6]
    steps = torch.cat([model(new[:, i : i + 1], cache=cache) for i in range(4)], 1)
    close(steps[1], model(new[1:2])[0])
    close(steps[[0, 2]], model(torch.cat([old, new], 1)[[0, 2]])[:, -4:])
