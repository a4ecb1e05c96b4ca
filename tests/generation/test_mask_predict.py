"""Mask-predict against the algorithm as its docstring tells it, a sentence and a length at a time."""

import pytest
import torch

from regard.attention import Mask, Padding, View
from regard.generation.mask_predict import Refinement, mask_predict
from regard.heads.length import Length
from regard.model import ModelConfig, Normal, PreNorm, StackConfig, Transformer
from regard.positions import Learned, Sinusoidal
from regard.settings import RegardError

VOCAB, MASK, NEVER = 13, 12, (0, 1)


def translator(position=None, limit=14, seed=0, **changes):
    stack = StackConfig(n_layers=2, position=position or Learned(), residual=PreNorm())
    config = ModelConfig(
        vocab_size=VOCAB,
        d_model=16,
        n_heads=2,
        context_length=16,
        encoder=stack,
        decoder=stack,
        length=Length(limit=limit),
        initialisation=Normal(std=0.6),
    )
    return Transformer(config.replace(**changes), seed).double().eval()


def sources(lengths, seed=1):
    random = torch.Generator().manual_seed(seed)
    return [torch.randint(VOCAB, (n,), generator=random) for n in lengths]


def encoded(model, rows):
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
    with torch.no_grad():
        return model.encode(ids, Padding(lengths))


def both_ways(model, ids, source):
    """Logits of a decoder in which every word sees every other: its own layers, under no mask at all."""
    slots = torch.arange(ids.shape[1])[None]
    model.decoder._view = lambda *_: View(Mask(), slots, slots, square=True)
    try:
        return model(ids, source=source)[0]
    finally:
        del model.decoder._view


@torch.no_grad()
def plain(model, source, how):
    """Each likely length in turn: all words, then the least certain ones again; best mean first."""
    log_lengths = model.length(model.encode(source[None]).x)[0].log_softmax(-1).tolist()
    likely = sorted(range(1, len(log_lengths) + 1), key=lambda n: -log_lengths[n - 1])[: how.candidates]
    found = []
    for n in likely:
        text, log_p = [MASK] * n, [0.0] * n
        for t in range(how.iterations):
            again = range(n) if t == 0 else sorted(range(n), key=log_p.__getitem__)
            again = list(again)[: n * (how.iterations - t) // how.iterations]
            for place in again:
                text[place] = MASK
            every = both_ways(model, torch.tensor([text]), source[None]).log_softmax(-1).tolist()
            for place in again:
                text[place] = max((w for w in range(VOCAB) if w not in (MASK, *NEVER)), key=every[place].__getitem__)
                log_p[place] = every[place][text[place]]
        log_n = log_lengths[n - 1]
        found.append(((how.length_weight * log_n + sum(log_p)) / n, log_n + sum(log_p), text))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("position", [Learned(), Sinusoidal()], ids=["learned", "sinusoidal"])
@pytest.mark.parametrize(("iterations", "candidates", "weight"), [(1, 1, 1.0), (4, 3, 0.0), (10, 4, 1.0)])
def test_texts_and_scores_are_those_of_the_plain_algorithm(position, iterations, candidates, weight):
    model = translator(position)
    how = Refinement(iterations=iterations, candidates=candidates, length_weight=weight)
    rows = sources([3, 9, 5])
    found = mask_predict(model, encoded(model, rows), how, mask=MASK, never=NEVER, n_best=candidates)
    texts = set()
    for row, best in zip(rows, found, strict=True):
        for mine, (score, total, text) in zip(best, plain(model, row, how), strict=True):
            assert mine.ids == text
            assert mine.score == pytest.approx(score, abs=1e-10)
            assert mine.log_probability == pytest.approx(total, abs=1e-10)
            texts.add(tuple(text))
    assert len(texts) > len(rows) * candidates / 2  # the model does not say the same to all


def test_a_translation_does_not_depend_on_its_batch():
    model, rows = translator(), sources([2, 12, 7, 4, 9])
    together = mask_predict(model, encoded(model, rows), mask=MASK, n_best=5)
    for row, best in zip(rows, together, strict=True):
        [alone] = mask_predict(model, encoded(model, [row]), mask=MASK, n_best=5)
        assert [one.ids for one in alone] == [one.ids for one in best]
        assert [one.score for one in alone] == pytest.approx([one.score for one in best], abs=1e-10)
        assert mask_predict(model, encoded(model, [row]), mask=MASK) == [alone[:1]]


def test_each_iteration_is_one_pass_and_says_fewer_words(monkeypatch):
    model = translator()
    given, hidden = [], model.hidden
    monkeypatch.setattr(model, "hidden", lambda ids, **more: given.append(ids) or hidden(ids, **more))
    [[best]] = mask_predict(model, encoded(model, sources([9])), Refinement(iterations=4, candidates=1), mask=MASK)
    n = len(best.ids)
    assert [int((ids == MASK).sum()) for ids in given] == [n, n * 3 // 4, n * 2 // 4, n // 4]
    given.clear()
    mask_predict(model, encoded(model, sources([9, 3, 4])), Refinement(iterations=1), mask=MASK)
    [ids] = given  # once, in parallel, whatever the lengths
    assert ids.shape[0] == 15


def test_what_is_no_word_is_never_written_and_limits_hold():
    model, rows = translator(), sources([4, 8, 6])
    never = set(range(VOCAB)) - {3, 5}
    for best in mask_predict(model, encoded(model, rows), mask=MASK, never=never, limit=3, n_best=3):
        assert {word for one in best for word in one.ids} <= {3, 5}
        assert sorted(len(one.ids) for one in best) == [1, 2, 3]


def test_repeated_words_may_be_dropped_when_all_is_done():
    model, rows = translator(), sources([4, 8, 6, 10])
    never = set(range(VOCAB)) - {3, 5}
    plain, single = (
        mask_predict(model, encoded(model, rows), Refinement(single=single), mask=MASK, never=never)
        for single in (False, True)
    )
    assert any(len(mine.ids) < len(theirs.ids) for [mine], [theirs] in zip(single, plain, strict=True))
    for [mine], [theirs] in zip(single, plain, strict=True):
        assert mine.ids == [w for i, w in enumerate(theirs.ids) if i == 0 or theirs.ids[i - 1] != w]
        assert mine.score == theirs.score


def test_what_cannot_be_is_refused_in_one_sentence():
    model = translator(limit=3)
    source = encoded(model, sources([4]))
    with pytest.raises(RegardError, match="6 texts of 3 lengths cannot be given"):
        mask_predict(model, source, mask=MASK, n_best=6)
    silent = translator(length=None)
    with pytest.raises(RegardError, match="does not tell how long"):
        mask_predict(silent, encoded(silent, sources([4])), mask=MASK)
    with torch.no_grad():
        model.head.output = None
        model.decoder.input.tokens.weight.fill_(float("nan"))
    with pytest.raises(RegardError, match="not finite"):
        mask_predict(model.train(), source, mask=MASK)
    assert model.training
