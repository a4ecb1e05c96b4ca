"""Scheduled sampling: the share of right words, and which words a decoder reads instead of them."""

import math

import pytest
import torch

from regard.attention import Padding
from regard.data.batches import IGNORE, Batch
from regard.evaluation import batch_loss
from regard.model import ModelConfig, RecurrentConfig, Transformer
from regard.settings import RegardError
from regard.store import load_model
from regard.training import Constant, TrainingConfig, fit
from regard.training.scheduled import Exponential, InverseSigmoid, Linear, ScheduledSampling, mixed
from tests.learn.test_recurrent import Reversals

BEGIN, END, VOCAB = 1, 0, 13
RECURRENT = {"kind": "recurrent", "n_layers": 2}
DECODERS = {
    "before": RECURRENT,
    "fed": RECURRENT | {"order": "fed", "cell": "lstm"},
    "none": RECURRENT | {"cross": "none"},
    "transformer": {"n_layers": 2},
}


def translator(decoder: str) -> Transformer:
    encoder = {"kind": "recurrent", "bidirectional": True}
    config = {"vocab_size": VOCAB, "d_model": 16, "n_heads": 2, "encoder": encoder, "decoder": DECODERS[decoder]}
    model = Transformer(ModelConfig.from_dict(config)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=torch.Generator().manual_seed(parameter.numel()))
    return model


def batch() -> Batch:
    """Three translations of 6, 2 and 4 words, with their padding."""
    random = torch.Generator().manual_seed(0)
    lengths = torch.tensor([7, 3, 5])
    words = torch.randint(2, VOCAB, (3, 7), generator=random)
    inputs, targets = torch.full((3, 7), END), torch.full((3, 7), IGNORE)
    for row, n in enumerate(lengths.tolist()):
        inputs[row, :n] = torch.cat([torch.tensor([BEGIN]), words[row, : n - 1]])
        targets[row, :n] = torch.cat([words[row, : n - 1], torch.tensor([END])])
    source = torch.randint(VOCAB, (3, 5), generator=random)
    return Batch(inputs, targets, 15, None, lengths, source, torch.tensor([5, 4, 2]))


def repeated(batch: Batch, times: int) -> Batch:
    rows = torch.arange(3).repeat(times)
    some = (batch.inputs, batch.targets, batch.lengths, batch.source, batch.source_lengths)
    inputs, targets, lengths, source, source_lengths = (x[rows] for x in some)
    return Batch(inputs, targets, times * batch.target_count, None, lengths, source, source_lengths)


def test_the_papers_decays():
    linear, exponential = Linear(k=1.1, c=0.1, floor=0.25), Exponential(k=0.5)
    assert [linear.truth(i) for i in (1, 3, 50)] == pytest.approx([1.0, 0.8, 0.25])
    assert [exponential.truth(i) for i in (1, 2, 3)] == [0.5, 0.25, 0.125]
    sigmoid = InverseSigmoid(k=100.0)
    assert sigmoid.truth(round(100 * math.log(100))) == pytest.approx(0.5, abs=0.002)
    assert sigmoid.truth(1) == pytest.approx(100 / (100 + math.exp(0.01)))
    assert sigmoid.truth(10**9) < 1e-9
    assert set(ScheduledSampling.kinds()) == {"linear", "exponential", "inverse_sigmoid"}


@pytest.mark.parametrize("decoder", DECODERS)
def test_at_rate_0_it_is_teacher_forcing(decoder):
    assert mixed(translator(decoder), given := batch(), 0.0, seed=1) is given
    always = Linear(k=1.0, c=0.0)
    assert always.mixed(translator(decoder), given, 10**6, seed=1) is given


@pytest.mark.parametrize("decoder", [name for name in DECODERS if name != "transformer"])
def test_at_rate_1_a_recurrent_decoder_reads_its_own_words_alone(decoder):
    """Loss and gradients are those of a loop that writes, by whole passes over what is written so far, and learns."""
    model, right = translator(decoder), batch()
    loss = batch_loss(model, mixed(model, right, 1.0, seed=1))
    loss.objective.backward()
    scheduled = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]

    model.zero_grad()
    total, changed = torch.zeros((), dtype=torch.float64), 0
    for row, n in enumerate(right.lengths.tolist()):
        source = right.source[row : row + 1, : right.source_lengths[row]]
        text = [BEGIN]
        for t in range(n):
            logits = model(torch.tensor([text]), source=source)[0, -1]
            total = total - logits.log_softmax(-1)[right.targets[row, t]]
            changed += t > 0 and text[-1] != right.inputs[row, t].item()
            text.append(int(logits.argmax()))
    total.backward()
    free = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert changed >= 6
    assert loss.objective.item() == pytest.approx(total.item(), abs=1e-9)
    for one, other in zip(scheduled, free, strict=True):
        assert torch.allclose(one, other, atol=1e-9)


def test_at_rate_1_a_transformer_reads_the_words_of_its_first_pass():
    model, right = translator("transformer"), batch()
    own = mixed(model, right, 1.0, seed=1)
    first = model(
        right.inputs, mask=Padding(right.lengths), source=right.source, source_mask=Padding(right.source_lengths)
    ).argmax(-1)
    for row, n in enumerate(right.lengths.tolist()):
        assert own.inputs[row, :n].tolist() == [BEGIN, *first[row, : n - 1].tolist()]
        assert own.inputs[row, n:].tolist() == right.inputs[row, n:].tolist()
    assert own.targets is right.targets


@pytest.mark.parametrize("decoder", ["before", "transformer"])
def test_a_coin_depends_on_the_seed_alone_and_falls_as_often_as_asked(decoder):
    model, right = translator(decoder), batch()
    model.train()
    one, same, other = (mixed(model, right, 0.5, seed, "drawn").inputs for seed in (1, 1, 2))
    assert model.training
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    written = torch.arange(1, 7) < right.lengths[:, None]
    many = mixed(model, repeated(right, 150), 0.3, seed=3).inputs.view(150, 3, 7) == right.inputs
    share = many[:, :, 1:][:, written].double().mean().item()
    by_chance = (mixed(model, right, 1.0, 0).inputs == right.inputs)[:, 1:][written].double().mean().item()
    assert share == pytest.approx(0.7 + 0.3 * by_chance, abs=0.05)


def test_drawn_words_follow_the_models_probabilities():
    model, right = translator("transformer"), batch()
    logits = model(
        right.inputs, mask=Padding(right.lengths), source=right.source, source_mask=Padding(right.source_lengths)
    )
    drawn = mixed(model, repeated(right, 600), 1.0, 4, "drawn").inputs.view(600, 3, 7)[:, 0, 3]
    shares = torch.bincount(drawn, minlength=VOCAB) / 600
    assert (shares - logits[0, 2].softmax(-1)).abs().max() < 0.06


def test_questions_and_the_first_words_of_documents_stay():
    config = {"vocab_size": VOCAB, "d_model": 16, "n_heads": 2, "decoder": {"n_layers": 1}}
    model = Transformer(ModelConfig.from_dict(config)).double()
    row = torch.arange(9)[None]
    targets = row[:, 1:].clone()
    targets[:, :2] = IGNORE
    packed = Batch(row[:, :-1], targets, 6, documents=torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1]]))
    own = mixed(model, packed, 1.0, seed=0).inputs
    first = model(packed.inputs, mask=None)  # of the first document
    assert own[0, :3].tolist() == [0, 1, 2]
    assert own[0, 3:5].tolist() == first.argmax(-1)[0, 2:4].tolist()
    assert own[0, 5] == 5


def test_what_cannot_be_sampled_is_refused_in_one_sentence():
    config = {"vocab_size": VOCAB, "d_model": 16, "n_heads": 2, "encoder": {"n_layers": 1}, "decoder": None}
    with pytest.raises(RegardError, match="is for a decoder"):
        mixed(Transformer(ModelConfig.from_dict(config)), batch(), 0.5, seed=0)
    config = {"vocab_size": VOCAB, "d_model": 16, "decoder": RECURRENT, "n_heads": 2}
    row = torch.arange(6)[None]
    packed = Batch(row[:, :-1], row[:, 1:], 5, documents=torch.zeros(1, 5, dtype=torch.long))
    with pytest.raises(RegardError, match="not packed"):
        mixed(Transformer(ModelConfig.from_dict(config)), packed, 0.5, seed=0)


def test_a_resumed_run_reads_the_same_words(tmp_path):
    encoder, decoder = RecurrentConfig(bidirectional=True), RecurrentConfig()
    config = ModelConfig(vocab_size=12, d_model=16, context_length=16, dropout=0.1, encoder=encoder, decoder=decoder)
    every = {"checkpoint_every": 3, "batch_size": 8, "device": "cpu", "schedule": Constant(learning_rate=1e-2)}

    def run(folder, steps, sampled):
        training = TrainingConfig(steps=steps, sampled=sampled, **every)
        fit(Transformer(config), Reversals(3, 6, 8), training, tmp_path / folder)
        return load_model(tmp_path / folder).state_dict()

    own = Linear(k=0.9, c=0.05, floor=0.1, choice="drawn")
    whole = run("whole", 7, own)
    run("cut", 3, own)
    cut, other = run("cut", 7, own), run("other", 7, Linear(k=1.0, c=0.0))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert any(not torch.equal(whole[name], other[name]) for name in whole)
