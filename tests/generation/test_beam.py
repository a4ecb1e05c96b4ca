"""Beam search against all texts there are, and against the plain algorithm written with lists."""

import itertools
import math

import pytest
import torch

from regard.attention import Padding
from regard.generation.beam import Beam, beam_search, top
from regard.layers import taps
from regard.model import ModelConfig, Normal, StackConfig, Transformer
from regard.settings import RegardError, SettingsError

VOCAB, END, LIMIT = 5, 4, 4


def proved(**settings) -> Beam:
    """A search that goes on until nothing better can follow."""
    return Beam(**{"stop": "proved", **settings})


def translator(seed=0, spread=0.6, vocab_size=VOCAB):
    stack = StackConfig(n_layers=1, position="rotary", residual="pre")
    config = ModelConfig(
        vocab_size=vocab_size, d_model=8, n_heads=2, context_length=16, encoder=stack, decoder=stack,
        initialisation=Normal(std=spread),
    )  # fmt: skip
    return Transformer(config, seed).double().eval()


def decoder(seed=0, spread=0.6, vocab_size=VOCAB):
    stack = StackConfig(n_layers=1, position="rotary", residual="pre")
    config = ModelConfig(
        vocab_size=vocab_size, d_model=8, n_heads=2, context_length=16, decoder=stack, initialisation=Normal(std=spread)
    )
    return Transformer(config, seed).double().eval()


@torch.no_grad()
def log_probability(model, prompt, text, **more):
    """Σ log p of the text's tokens after the prompt, by one plain pass."""
    ids = torch.tensor([[*prompt, *text]])
    log_p = model(ids, **more)[0].log_softmax(-1)
    return sum(log_p[len(prompt) - 1 + place, token].item() for place, token in enumerate(text))


def every_text(limit=LIMIT):
    """Each text that ends, and each that reaches the limit without an end."""
    words = [word for word in range(VOCAB) if word != END]
    for length in range(limit):
        for text in itertools.product(words, repeat=length):
            yield [*text, END]
    for text in itertools.product(words, repeat=limit):
        yield list(text)


@torch.no_grad()
def scored(model, prompt):
    """Each text with its log p, those of a length in one pass."""
    for _, group in itertools.groupby(every_text(), len):
        texts = list(group)
        ids = torch.tensor([[*prompt, *text] for text in texts])
        log_p = model(ids).log_softmax(-1)[:, len(prompt) - 1 : -1]
        own = log_p.gather(2, ids[:, len(prompt) :, None]).sum((1, 2))
        yield from zip(texts, own.tolist(), strict=True)


def covered(model, prompt, text, source, beam):
    """β Σ_i log min(Σ_j p_ij, 1), by one plain pass that is listened to; the model has one layer."""
    heard = []
    with torch.no_grad(), taps(lambda name, x: heard.append(x) if name == "decoder.0.cross.weights" else None):
        model(torch.tensor([[*prompt, *text[:-1]]]), source=source)
    looked = heard[0][0].mean(0).sum(0).tolist()
    return beam.coverage * sum(math.log(min(share, 1.0)) for share in looked)


def plain_beam(model, prompt, beam, limit, end, **source):
    """The algorithm as the docstring tells it, a text at a time; the oracle for narrow beams."""
    running, finished = [([], 0.0)], []
    for step in range(limit):
        found = []
        for text, value in running:
            ids = torch.tensor([[*prompt, *text]])
            with torch.no_grad():
                log_p = model(ids, **source)[0, -1].log_softmax(-1).tolist()
            if step < beam.min_length:
                log_p[end] = -math.inf
            found += [([*text, word], value + p) for word, p in enumerate(log_p) if p > -math.inf]
        found.sort(key=lambda one: -one[1])
        last = step + 1 == limit
        for text, value in found[: beam.size]:
            if text[-1] == end or last:
                score = value / beam.penalty(step + 1)
                if beam.coverage:
                    score += covered(model, prompt, text, source["source"], beam)
                finished.append((score, text))
        finished = sorted(finished, key=lambda one: -one[0])[: beam.size]
        running = [one for one in found if one[0][-1] != end][: beam.size]
    return finished


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "beam",
    [
        proved(size=256, length_penalty=1.0),
        proved(size=256, normalisation="wu", length_penalty=0.6),
        proved(size=256, normalisation="none"),
        proved(size=256, length_penalty=-0.5),
    ],
    ids=["length", "wu", "none", "short"],
)
def test_a_wide_beam_finds_the_best_of_all_texts(beam, seed):
    model, prompt = decoder(seed), [1, 2]
    ranked = sorted(
        ((value / beam.penalty(len(text)), text) for text, value in scored(model, prompt)), key=lambda one: -one[0]
    )
    found = beam_search(model, [prompt], beam, LIMIT, end=END, n_best=3)[0]
    for one, (score, text) in zip(found, ranked, strict=False):
        assert math.isclose(one.score, score, rel_tol=1e-9)
        assert one.ids == [word for word in text if word != END]
        assert math.isclose(one.log_probability, log_probability(model, prompt, text), rel_tol=1e-9)
        assert one.finished == ("end" if text[-1] == END else "limit")


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_a_narrow_beam_is_the_plain_algorithm(size, seed):
    """With the early stop, which the oracle does not have."""
    model, prompt, beam = decoder(seed, vocab_size=11), [3], proved(size=size, length_penalty=0.8)
    expected = plain_beam(model, prompt, beam, 7, end=0)
    found = beam_search(model, [prompt], beam, 7, end=0, n_best=size)[0]
    assert [one.ids for one in found] == [[w for w in text if w != 0] for _, text in expected]
    assert [one.score for one in found] == pytest.approx([score for score, _ in expected])


def test_one_beam_is_greedy():
    model, text = decoder(3, vocab_size=11), [5]
    for _ in range(6):
        with torch.no_grad():
            text.append(int(model(torch.tensor([text]))[0, -1].argmax()))
    assert beam_search(model, [[5]], proved(size=1), 6)[0][0].ids == text[1:]


OPTIONS = {
    "coverage": proved(size=3, coverage=0.4),
    "coverage, wu": proved(size=4, coverage=0.2, normalisation="wu", length_penalty=0.7),
    "coverage, short": proved(size=4, coverage=1.5, length_penalty=-0.4),
    "min_length": proved(size=4, min_length=3),
    "min_length, none": proved(size=2, min_length=2, normalisation="none"),
    "both": proved(size=3, coverage=0.8, min_length=2, normalisation="wu"),
    "min_length beyond the limit": proved(size=2, min_length=50),
}


@pytest.mark.parametrize("prompt", [[3], [3, 1, 4]], ids=["begin", "prefix"])
@pytest.mark.parametrize("name", OPTIONS)
def test_each_option_is_the_plain_algorithm(name, prompt):
    """A translator with the early stop, which the oracle does not have, beside a longer neighbour."""
    beam = OPTIONS[name]
    sources = torch.randint(11, (2, 6), generator=torch.Generator().manual_seed(2))
    for seed in range(3):
        model = translator(seed, vocab_size=11)
        with torch.no_grad():
            encoded = model.encode(sources, Padding(torch.tensor([4, 6])))
        expected = plain_beam(model, prompt, beam, 6, end=0, source=sources[:1, :4])
        found = beam_search(model, [prompt, [1, 2]], beam, 6, end=0, n_best=beam.size, encoded=encoded)[0]
        assert [one.score for one in found] == pytest.approx([score for score, _ in expected])
        assert [one.ids for one in found] == [[w for w in text if w != 0] for _, text in expected]
        assert all(len(one.ids) >= min(beam.min_length, 6) for one in found)


@pytest.mark.parametrize("beam", [proved(size=64, coverage=0.5), proved(size=64, coverage=0.5, min_length=2)])
def test_with_coverage_a_wide_beam_finds_the_best_of_all_texts(beam):
    model, source, prompt = translator(4), torch.tensor([[1, 3, 0, 2]]), [1]
    ranked = []
    for text in every_text(3):
        if END not in text[: beam.min_length]:
            value = log_probability(model, prompt, text, source=source)
            ranked.append((value / beam.penalty(len(text)) + covered(model, prompt, text, source, beam), text))
    ranked.sort(key=lambda one: -one[0])
    with torch.no_grad():
        found = beam_search(model, [prompt], beam, 3, end=END, n_best=5, encoded=model.encode(source))[0]
    assert [one.score for one in found] == pytest.approx([score for score, _ in ranked[:5]])
    assert [one.ids for one in found] == [[word for word in text if word != END] for _, text in ranked[:5]]


def test_a_limit_for_each_row():
    model, prompts, limits = decoder(5, vocab_size=11), [[3], [1, 2], [7]], [5, 2, 9]
    together = beam_search(model, prompts, proved(size=3), limits, end=0, n_best=3)
    for prompt, limit, found in zip(prompts, limits, together, strict=True):
        alone = beam_search(model, [prompt], proved(size=3), limit, end=0, n_best=3)[0]
        assert [one.ids for one in found] == [one.ids for one in alone]
        assert max(len(one.ids) for one in found) <= limit


def test_a_full_beam_may_end_the_search():
    """The first K finished texts are the answer, though a longer one might score better."""
    beam = proved(size=2, length_penalty=3.0)
    shorter = 0
    for seed in range(6):
        model = decoder(seed, vocab_size=6)
        [best] = beam_search(model, [[3]], beam, 12, end=0)
        [full] = beam_search(model, [[3]], beam.replace(stop="full"), 12, end=0)
        assert full[0].score <= best[0].score + 1e-12
        shorter += len(full[0].ids) < len(best[0].ids)
    assert shorter


@torch.no_grad()
def test_beams_share_what_was_made_of_their_source():
    """Keys and values of a source stand once, whatever the beams, and no reordering moves them."""
    model, moved = translator(2), []
    encoded, cache = model.encode(torch.randint(VOCAB, (3, 6))), model.cache(3)
    model(torch.tensor([[0], [1], [2]]), encoded=encoded, cache=cache)
    before = [memory.tensors for memory in cache.memories]
    cache.reorder(torch.arange(3).repeat_interleave(4))
    ids = torch.arange(12)[:, None] % VOCAB
    shared = model(ids, encoded=encoded, cache=cache)
    assert all(now.tensors is then for now, then in zip(cache.memories, before, strict=True))
    for row in range(12):
        text = torch.tensor([[row // 4, row % VOCAB]])
        moved.append(model(text, encoded=encoded.gather(torch.tensor([row // 4])))[:, -1:])
    torch.testing.assert_close(shared, torch.cat(moved), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "beam",
    [
        proved(size=3),
        proved(size=4, groups=2, diversity=0.7),
        proved(size=3, coverage=0.5, min_length=2),
        proved(size=4, groups=2, diversity=0.7, coverage=0.5),
    ],
    ids=["plain", "diverse", "coverage", "all"],
)
def test_neighbours_and_the_number_of_answers_change_nothing(beam):
    """Sources, prompts and answers of unequal length in a batch, each as alone."""
    model = translator(2)
    sources = torch.randint(VOCAB, (4, 6), generator=torch.Generator().manual_seed(1))
    lengths, prompts = torch.tensor([6, 2, 4, 1]), [[0], [0, 3, 1], [0, 2], [1]]
    with torch.no_grad():
        together = beam_search(
            model, prompts, beam, 6, end=END, n_best=beam.size, encoded=model.encode(sources, Padding(lengths))
        )
        for row, prompt in enumerate(prompts):
            encoded = model.encode(sources[row : row + 1, : lengths[row]])
            alone = beam_search(model, [prompt], beam, 6, end=END, n_best=1, encoded=encoded)[0]
            assert alone[0].ids == together[row][0].ids
            assert alone[0].score == pytest.approx(together[row][0].score)
            assert [one.score for one in together[row]] == sorted((one.score for one in together[row]), reverse=True)
            source = {"source": sources[row : row + 1, : lengths[row]]}
            for one in together[row]:
                text = [*one.ids, END] if one.finished == "end" else one.ids
                assert one.log_probability == pytest.approx(log_probability(model, prompt, text, **source))


def test_groups_avoid_each_others_words():
    model = decoder(1, vocab_size=30)
    found = beam_search(model, [[1]], proved(size=4, groups=4, diversity=50.0), 1, n_best=4)[0]
    assert len({one.ids[0] for one in found}) == 4
    alike = beam_search(model, [[1]], proved(size=4, groups=4), 1, n_best=4)[0]
    assert len({one.ids[0] for one in alike}) == 1
    with torch.no_grad():
        best = model(torch.tensor([[1]]))[0, -1].log_softmax(-1).topk(4)
    assert {one.ids[0] for one in found} == set(best.indices.tolist())
    assert sorted(one.log_probability for one in found) == pytest.approx(sorted(best.values.tolist()))


@pytest.mark.parametrize("length", [5, 640, 1999])
def test_the_largest_of_long_rows(length):
    x = torch.randn(3, length, generator=torch.Generator().manual_seed(length))
    x[1, -1], x[1, -3] = 9.0, math.inf
    x[2] = -math.inf
    value, place = top(x, 4, run=16)
    assert torch.equal(value, x.topk(4).values)
    assert torch.equal(x.gather(1, place), value)
    assert all(len(set(row)) == 4 for row in place.tolist())
    x[0, 3] = math.nan
    assert top(x, 4, run=16)[0][0, 0].isnan()


def test_what_cannot_be_searched_is_refused():
    model = decoder()
    with pytest.raises(RegardError, match="n_best"):
        beam_search(model, [[1]], proved(size=2), 3, n_best=3)
    with pytest.raises(RegardError, match="id 7"):
        beam_search(model, [[7]], limit=3)
    with pytest.raises(RegardError, match="at least one token"):
        beam_search(model, [[]], limit=3)
    with pytest.raises(RegardError, match="2 prompts and 1 limits"):
        beam_search(model, [[1], [2]], limit=[3])
    with pytest.raises(RegardError, match="leave it at 0"):
        beam_search(model, [[1]], proved(coverage=0.2), 3)
    with pytest.raises(RegardError, match="encode"):
        beam_search(translator(), [[1]], limit=3)
    with pytest.raises(SettingsError, match="3 beams cannot be split into 2 groups"):
        proved(size=3, groups=2)
