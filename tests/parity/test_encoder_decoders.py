"""Marian, BART and T5, theirs and ours with the same random weights: equal logits, equal greedy tokens.

A mutation of each quirk must fail. Sources and targets are longer than T5's buckets reach.
"""

import functools

import pytest
import torch

from regard.attention import Dot, Padding
from regard.inputs import TokenInput
from regard.layers import LayerNorm, RMSNorm
from regard.model import MLP, Gated, LanguageHead
from regard.positions import T5, Learned, Sinusoidal
from tests.parity.theirs import CONTEXT, D, V
from tests.parity.translators import BEGIN, PAD, bart, marian, t5

MODELS = {
    "marian": marian,
    "marian, two vocabularies": functools.partial(marian, shared=False),
    "bart": bart,
    "t5 1.0": functools.partial(t5, version="1.0"),
    "t5 1.1": functools.partial(t5, version="1.1"),
}
every = pytest.mark.parametrize("name", MODELS)

S, T = 33, 29
SOURCE_LENGTHS, LENGTHS = torch.tensor([33, 7, 20]), torch.tensor([11, 29, 18])


def words(theirs, rows=3):
    random = torch.Generator().manual_seed(5)
    source = torch.randint(2, theirs.get_encoder().config.vocab_size, (rows, S), generator=random)
    return source, torch.randint(2, V, (rows, T), generator=random)


@torch.no_grad()
def difference(theirs, ours):
    """The largest difference of logits, relative to the largest logit."""
    source, target = words(theirs)
    a, b = theirs(source, decoder_input_ids=target).logits, ours(target, source=source)
    assert a.std() > 1
    return ((a - b).abs().max() / a.abs().max()).item()


def real(lengths, length):
    return torch.arange(length) < lengths[:, None]


@every
def test_equal_logits(name):
    assert difference(*MODELS[name]()) < 1e-5


@every
@torch.no_grad()
def test_equal_logits_where_source_and_target_are_padded(name):
    theirs, ours = MODELS[name]()
    source, target = words(theirs)
    seen, mine = real(SOURCE_LENGTHS, S), real(LENGTHS, T)
    a = theirs(source, attention_mask=seen.long(), decoder_input_ids=target, decoder_attention_mask=mine.long()).logits
    b = ours(target, mask=Padding(LENGTHS), source=source, source_mask=Padding(SOURCE_LENGTHS))
    torch.testing.assert_close(b[mine], a[mine], rtol=1e-5, atol=1e-5 * a.abs().max().item())


@torch.no_grad()
def test_the_side_of_the_padding_changes_nothing():
    """Only T5 of theirs can be asked: the others count positions from the padding on."""
    theirs, ours = t5()
    source, target = words(theirs)
    seen = torch.arange(S) >= S - SOURCE_LENGTHS[:, None]
    a = theirs(source, attention_mask=seen.long(), decoder_input_ids=target).logits
    b = ours(target, source=source, source_mask=Padding.left(SOURCE_LENGTHS, S))
    torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5 * a.abs().max().item())


@every
@torch.no_grad()
def test_equal_greedy_tokens(name):
    """No word is said twice, since models of random weights soon say the same one for ever."""
    theirs, ours = MODELS[name]()
    source, tokens = words(theirs)[0], 30
    expected = theirs.generate(
        source,
        attention_mask=real(SOURCE_LENGTHS, S).long(),
        max_new_tokens=tokens,
        do_sample=False,
        num_beams=1,
        no_repeat_ngram_size=1,
        eos_token_id=None,
        pad_token_id=PAD,
    )
    encoded, cache = ours.encode(source, Padding(SOURCE_LENGTHS)), ours.cache(3)
    got = torch.full((3, 1), BEGIN)
    for _ in range(tokens):
        logits = ours(got[:, -1:], cache=cache, encoded=encoded)[:, -1]
        got = torch.cat([got, logits.scatter(1, got, float("-inf")).argmax(-1, keepdim=True)], 1)
    assert got.tolist() == expected.tolist()


MUTATIONS = {
    "sines and cosines in turn": ("marian", {"position": Sinusoidal()}),
    "counted from one": ("marian", {"position": Sinusoidal(layout="half", offset=1)}),
    "words unscaled": ("marian", {"input": TokenInput()}),
    "GELU for SiLU": ("marian", {"feedforward": MLP(activation="gelu")}),
    "another ε": ("marian", {"norm": LayerNorm(eps=1e-3)}),
    "reading unscaled": ("marian, two vocabularies", {"cross": Dot(scale=1.0)}),
    "one row skipped": ("bart", {"position": Learned(offset=1), "context_length": CONTEXT + 1}),
    "another GELU": ("bart", {"feedforward": MLP(activation="gelu_tanh")}),
    "words scaled": ("bart", {"input": TokenInput(norm=LayerNorm(), scale="sqrt_d_model")}),
    "another ε at the input": ("bart", {"input": TokenInput(norm=LayerNorm(eps=1e-2))}),
    "buckets wider": ("t5 1.0", {"position": T5(buckets=8, max_distance=24)}),
    "scores scaled": ("t5 1.0", {"attention": Dot(bias="none")}),
    "reading scaled": ("t5 1.0", {"cross": Dot(bias="none")}),
    "head unscaled": ("t5 1.0", {"head": LanguageHead()}),
    "GELU for ReLU": ("t5 1.0", {"feedforward": MLP(activation="gelu", bias=False)}),
    "an ε of RMSNorm": ("t5 1.0", {"norm": RMSNorm(eps=1e-3)}),
    "exact GELU": ("t5 1.1", {"feedforward": Gated(activation="gelu")}),
    "head scaled": ("t5 1.1", {"head": LanguageHead(tied=False, scale=D**-0.5)}),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_mutation_is_seen(mutation):
    name, changes = MUTATIONS[mutation]
    assert difference(*MODELS[name](**changes)) > 1e-4


@pytest.mark.parametrize("name", ["marian", "bart"])
@torch.no_grad()
def test_a_mutation_of_weights_is_seen(name):
    theirs, ours = MODELS[name]()
    for layer in ours.decoder.layers:
        layer.residual.norms = torch.nn.ModuleList(reversed(layer.residual.norms))
    assert difference(theirs, ours) > 1e-3
    theirs, ours = MODELS[name]()
    ours.head.bias.zero_()
    assert difference(theirs, ours) > 1e-3
