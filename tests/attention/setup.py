"""What tests of attention share: one layer of a kind with random weights, and a view of its tokens."""

import torch

from regard.attention import Attention, Mask, View
from regard.layers import Sizes


def sizes(d=12, heads=3, head=4, groups=None, context=16, layer=0):
    return Sizes(
        d_model=d,
        n_heads=heads,
        n_kv_heads=groups or heads,
        head_dim=head,
        d_ff=8,
        context_length=context,
        layer=layer,
    )


def view(t, mask=None, s=None):
    q, k = torch.arange(t)[None], torch.arange(s or t)[None]
    return View(mask or Mask(), q, k, square=s is None)


def layer(settings: Attention, of: Sizes | None = None, seed=0):
    """In float64, every parameter drawn with a spread of one half."""
    module = settings.build(of or sizes()).double().eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random, dtype=torch.float64) / 2)
    return module


def tokens(rows=2, length=6, d=12, seed=1):
    return torch.randn(rows, length, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
