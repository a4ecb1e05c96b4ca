"""What the papers on norms' places measure, by hand; and that their checks can fail."""

import math

import pytest
import torch

from regard.papers import residual2023, xiong2020


def test_slope_is_the_power():
    assert xiong2020.slope((4, 8, 32), [3 * n**-0.5 for n in (4, 8, 32)]) == pytest.approx(-0.5)
    assert xiong2020.slope((4, 8, 32), [2.0] * 3) == pytest.approx(0.0)


def test_blind_is_the_loss_of_six_letters_of_eight_and_a_sure_end():
    batch = xiong2020.TaskBatches("reverse", 50, symbols=8, lengths=(6, 6)).at(0)
    logits = torch.full((*batch.targets.shape, 10), -math.inf)
    logits[..., 2:] = 0.0  # one letter as likely as another
    logits[:, -1] = torch.tensor([0.0] + [-math.inf] * 9)  # the end
    loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), batch.targets)
    assert loss.item() == pytest.approx(xiong2020.BLIND)


@torch.no_grad()
def test_what_blocks_read():
    """Two steps of two layers: of Pre-LN all four inputs, of Post-LN the inputs of all but the first, and the end."""
    ids = torch.randint(xiong2020.VOCABULARY, (2, 5))
    for kind in ("pre", "post"):
        model = xiong2020.build(kind, 2, 0, encoder=False)
        read = []
        for layer in xiong2020.layers(model):
            layer.attention.register_forward_pre_hook(lambda module, args, to=read: to.append(args[0].flatten(0, 1)))
            layer.feedforward.register_forward_pre_hook(lambda module, args, to=read: to.append(args[0].flatten(0, 1)))
        found = residual2023.read(model, ids)
        assert len(found) == 4
        for one, other in zip(found[: 4 if kind == "pre" else 3], read if kind == "pre" else read[1:], strict=True):
            assert torch.equal(one, other)
        expected = (found[1] - found[0]).abs().mean().item()
        assert residual2023.apart(model, ids)[0] == pytest.approx(expected)
        assert len(residual2023.alike(model, ids)) == 3


@torch.no_grad()
def test_sizes_are_those_of_the_stream():
    """The first layer's, by hand: Post-LN's second norm reads what its first one gave, and the feed-forward of it."""
    (found,) = xiong2020.sizes("post", 1, seed=0, models=1)
    model = xiong2020.build("post", 1, xiong2020.derive_seed(0, "model", 0))
    random = torch.Generator().manual_seed(xiong2020.derive_seed(0, "tokens", 0))
    outs = []
    block = model.encoder.layers[0]
    block.residual.norms[0].register_forward_hook(lambda norm, args, y: outs.append(y))
    model.encode(torch.randint(xiong2020.VOCABULARY, (8, xiong2020.LENGTH), generator=random))
    assert found == pytest.approx((outs[0] + block.feedforward(outs[0])).square().mean().item(), rel=1e-5)


def test_checks_can_fail():
    flat, falling = [1.0, 1.1, 0.9, 1.0], [1.0, 0.7, 0.5, 0.35]
    assert xiong2020._depth({"post": flat, "pre": falling}).holds
    assert not xiong2020._depth({"post": flat, "pre": flat}).holds
    assert not xiong2020._depth({"post": falling, "pre": falling}).holds
    assert xiong2020._layers({"post": [0.1, 0.9], "pre": [0.3, 0.2]}).holds
    assert not xiong2020._layers({"post": [0.5, 0.5], "pre": [0.3, 0.2]}).holds
    stuck, learnt, better = ([2.2] * 30, 0.1), ([0.5] * 30, 0.8), ([0.1] * 30, 0.9)
    assert xiong2020._warmup({"a": stuck, "b": learnt, "c": better}).holds
    assert not xiong2020._warmup({"a": learnt, "b": learnt, "c": better}).holds
    assert not xiong2020._warmup({"a": stuck, "b": stuck, "c": better}).holds
    assert xiong2020._without({"a": stuck, "b": learnt, "c": better}).holds
    assert not xiong2020._without({"a": stuck, "b": better, "c": learnt}).holds
    assert residual2023._warmup({"post": stuck, "pre": better, "resi_dual": learnt}).holds
    assert not residual2023._warmup({"post": better, "pre": better, "resi_dual": learnt}).holds
    assert residual2023._trained({"post": 0.8, "pre": 0.99, "resi_dual": 0.8}).holds
    assert not residual2023._trained({"post": 0.8, "pre": 0.8, "resi_dual": 0.8}).holds
    blocks = range(1, 64)
    level, shrinking = [0.5 for _ in blocks], [0.8 / k**0.5 for k in blocks]
    assert residual2023._collapse({"post": level, "pre": shrinking, "resi_dual": level}).holds
    assert not residual2023._collapse({"post": level, "pre": shrinking, "resi_dual": shrinking}).holds
    assert residual2023._gradient({"post": [0.01, 1.0], "pre": [0.2, 0.2], "resi_dual": [0.2, 2.0]}).holds
    assert not residual2023._gradient({"post": [0.01, 1.0], "pre": [0.2, 0.2], "resi_dual": [0.01, 2.0]}).holds
