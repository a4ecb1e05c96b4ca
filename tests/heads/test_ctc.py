"""CTC against the sum over every path, its place in the objective, and greedy paths by hand."""

from itertools import groupby, product

import pytest
import torch

from regard.attention import Padding
from regard.heads.ctc import CTC, CTCHead, greedy
from regard.model import ModelConfig, StackConfig, Transformer

BLANK = 2  # one past the words 0 and 1


def collapse(path):
    return [word for word, _ in groupby(path) if word != BLANK]


def brute_force(log_p, words):
    """−log of the sum over all paths that collapse to the words. log_p: [s w]."""
    paths = [path for path in product(range(log_p.shape[1]), repeat=len(log_p)) if collapse(path) == words]
    if not paths:
        return log_p.new_zeros(())
    return -torch.stack([sum(log_p[t, word] for t, word in enumerate(path)) for path in paths]).logsumexp(0)


def test_it_is_the_sum_over_all_paths_in_value_and_gradient():
    logits = torch.randn(5, 5, 3, dtype=torch.float64, requires_grad=True)
    log_p, lengths = logits.log_softmax(-1), torch.tensor([5, 4, 5, 3, 2])
    words = [[0, 1], [1, 1], [0], [], [1, 1]]  # the last needs a blank between its words, so three vectors
    labels = torch.zeros(5, 2, dtype=torch.long)
    for row, one in enumerate(words):
        labels[row, : len(one)] = torch.tensor(one, dtype=torch.long)
    counts = torch.tensor([len(one) for one in words])
    nats, _ = torch.ops.regard.ctc(log_p, labels, lengths, counts, BLANK)
    theirs = torch.stack([brute_force(log_p[row, : lengths[row]], one) for row, one in enumerate(words)])
    assert torch.allclose(nats, theirs, atol=1e-12)
    assert nats[4] == 0
    weights = torch.randn(5, dtype=torch.float64)
    (ours,) = torch.autograd.grad((nats * weights).sum(), logits, retain_graph=True)
    (slow,) = torch.autograd.grad((theirs * weights).sum(), logits)
    assert torch.allclose(ours, slow, atol=1e-12)


def model(weight=0.3):
    stack = StackConfig(n_layers=1)
    sizes = {"vocab_size": 11, "d_model": 8, "n_heads": 2, "encoder": stack, "decoder": stack}
    return Transformer(ModelConfig(**sizes, ctc=CTC(weight=weight))).double()


IDS = torch.tensor([[5, 1, 2, 3], [5, 4, 4, 0]])
TARGETS = torch.tensor([[1, 2, 3, 9], [4, 4, 9, -100]])  # 9 ends
SOURCE = torch.arange(12).view(2, 6) % 11
READ = {"source": SOURCE, "source_mask": Padding(torch.tensor([6, 5]))}


def test_the_objective_is_both_and_the_loss_is_the_decoders():
    joint = model().train()
    loss = joint(IDS, TARGETS, **READ)
    plain = joint.eval()(IDS, TARGETS, **READ)
    assert torch.equal(loss.nll, plain.nll)
    assert plain.objective.item() == pytest.approx(plain.nll.sum().item())
    log_p = joint.ctc(joint.encode(SOURCE, READ["source_mask"]).x)
    assert log_p.shape == (2, 6, 12)
    assert torch.allclose(log_p.exp().sum(-1), torch.ones(2, 6, dtype=torch.float64))
    theirs = torch.nn.functional.ctc_loss(
        log_p.transpose(0, 1), torch.tensor([1, 2, 3, 4, 4]), (6, 5), (3, 2), blank=11, reduction="sum"
    )
    assert loss.objective.item() == pytest.approx(0.7 * plain.objective.item() + 0.3 * theirs.item(), rel=1e-12)


def test_padding_changes_nothing():
    joint = model().train()
    together = joint(IDS, TARGETS, **READ).objective
    alone = joint(IDS[:1], TARGETS[:1], source=SOURCE[:1]).objective
    alone = alone + joint(IDS[1:, :3], TARGETS[1:, :3], source=SOURCE[1:, :5]).objective
    assert together.item() == pytest.approx(alone.item(), rel=1e-12)


def test_it_compiles_without_a_graph_break():
    joint = model().train()
    compiled = torch.compile(joint, backend="eager", fullgraph=True, dynamic=False)
    losses = [each(IDS, TARGETS, **READ).objective for each in (compiled, joint)]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-12)
    for one, other in zip(*(torch.autograd.grad(loss, joint.ctc.parameters()) for loss in losses), strict=True):
        assert torch.allclose(one, other, atol=1e-12)
        assert one.abs().max() > 0


def test_the_likeliest_path_by_hand():
    paths = torch.tensor([[0, 0, 2, 0, 1, 1], [2, 1, 1, 2, 2, 1], [2, 2, 2, 2, 2, 2]])
    log_p = torch.nn.functional.one_hot(paths, 3).double()
    assert greedy(log_p) == [[0, 0, 1], [1, 1], []]
    assert greedy(log_p, torch.tensor([3, 2, 0])) == [[0], [1], []]


def test_an_encoder_alone_learns_to_spell():
    """No decoder: CTC must find by itself which of the vectors stand for which words."""
    head, random = CTCHead(CTC(), 4, 6).double(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(std=0.1, generator=random)
    sounds = torch.randn(5, 6, generator=random, dtype=torch.float64)
    heard = torch.tensor([4, 0, 0, 4, 1, 3, 3, 4, 2, 4])  # 4 is silence
    optimiser = torch.optim.Adam(head.parameters(), lr=0.1)
    words = torch.tensor([[0, 1, 3, 2]])
    for _ in range(60):
        optimiser.zero_grad()
        nats, _ = torch.ops.regard.ctc(head(sounds[heard][None]), words, torch.tensor([10]), torch.tensor([4]), 4)
        nats.sum().backward()
        optimiser.step()
    assert greedy(head(sounds[heard][None])) == [[0, 1, 3, 2]]
