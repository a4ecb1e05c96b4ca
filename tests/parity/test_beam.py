"""Beam search, theirs and ours with the same random weights: the same words, and the same scores.

Theirs stops by `early_stopping="never"`; its length rule is "length": log p / n^α, n without the prompt, end included.
A third of all words ends a text, since models of random weights would seldom say one certain word.
"""

import pytest
import torch

from regard.attention import Padding
from regard.generation import Beam, beam_search
from tests.parity.theirs import V
from tests.parity.translators import BEGIN, PAD, bart, marian, t5

MODELS = {"marian": marian, "bart": bart, "t5": t5}
ENDS = list(range(3, V, 3))
LENGTHS, LIMIT, K = torch.tensor([15, 4, 9, 12]), 18, 4


def proved(**settings) -> Beam:
    """A search that goes on until nothing better can follow."""
    return Beam(**{"stop": "proved", **settings})


@torch.inference_mode()
def both(name, alpha, min_length=0, early=False):
    """Their answers and ours for 4 padded sources: K texts of each, as (words, score)."""
    theirs, ours = MODELS[name]()
    source = torch.randint(2, V, (4, 15), generator=torch.Generator().manual_seed(3))
    expected = theirs.generate(
        source,
        attention_mask=(torch.arange(15) < LENGTHS[:, None]).long(),
        num_beams=K,
        num_return_sequences=K,
        max_new_tokens=LIMIT,
        do_sample=False,
        early_stopping=early or "never",
        min_new_tokens=min_length or None,
        length_penalty=alpha,
        output_scores=True,
        return_dict_in_generate=True,
        eos_token_id=ENDS,
        pad_token_id=PAD,
    )
    beam = proved(size=K, length_penalty=alpha, min_length=min_length, stop="full" if early else "proved")
    encoded = ours.encode(source, Padding(LENGTHS))
    found = beam_search(ours, [[BEGIN]] * 4, beam, LIMIT, end=ENDS, n_best=K, encoded=encoded)
    rows = expected.sequences[:, 1:].tolist()
    return (
        list(zip(map(without_end, rows), expected.sequences_scores.tolist(), strict=True)),
        [(one.ids, one.score) for row in found for one in row],
    )


def without_end(ids):
    """What comes before the first word that ends a text."""
    return ids[: next((place for place, word in enumerate(ids) if word in ENDS), len(ids))]


def check(expected, found):
    """Equal words; equal scores. How many lengths there are."""
    assert [ids for ids, _ in found] == [ids for ids, _ in expected]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected], rel=1e-4, abs=1e-5)
    return len({len(ids) for ids, _ in found})


@pytest.mark.parametrize("alpha", [2.0, 1.0, 0.0, -0.5])
@pytest.mark.parametrize("name", MODELS)
def test_equal_beams(name, alpha):
    lengths = check(*both(name, alpha))
    assert alpha <= 0 or lengths > 1


@pytest.mark.parametrize("name", MODELS)
def test_equal_beams_of_a_least_length(name):
    check(*both(name, 1.0, min_length=5))


@pytest.mark.parametrize("name", MODELS)
def test_equal_beams_that_stop_when_they_are_full(name):
    check(*both(name, 1.0, early=True))


@pytest.mark.parametrize("name", MODELS)
def test_another_length_rule_is_seen(name):
    expected, _ = both(name, 1.0)
    _, found = both(name, 0.5)
    with pytest.raises(AssertionError):
        check(expected, found)
