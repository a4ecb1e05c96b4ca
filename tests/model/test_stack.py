"""Layers whose heads differ in number and width stand in one stack, and each meets positions of its own size."""

import pytest

from regard.positions import Places, Position
from tests.laws.members import close, config, rich, words

MIXED = ["dot", "single_head", "differential", "latent"]


@pytest.mark.parametrize("position", Position.kinds())
def test_what_positions_keep_for_all_layers_is_kept_for_layers_like_it(position, monkeypatch):
    """The same numbers as with nothing kept, and every parameter of the positions has its part in them."""
    kinds = MIXED[:2] if "weights" in Position.kinds()[position].needs else MIXED
    attention = [{"kind": kind} for kind in kinds]
    model = rich(config("decoder", n_layers=len(kinds), head_dim=8, attention=attention, position=position))
    ids = words(2, 8)
    kept = model(ids)
    kept.tanh().sum().backward()
    for name, parameter in model.named_parameters():
        if ".positions." in name:
            assert parameter.grad is not None
            assert parameter.grad.abs().max() > 0, name
    monkeypatch.setattr(Places, "once", lambda self, key, make: make(self.index))
    monkeypatch.setattr(
        Places, "between", lambda self, seen, key, make: make(self.index[:, :, None] - seen.index[:, None, :])
    )
    close(model(ids), kept)
