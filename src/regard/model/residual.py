"""How a layer's steps (attention, cross-attention, feed-forward) join the residual stream, and where the norms stand.

    PostNorm   x ← norm(x + f(x))                             the 2017 paper
    PreNorm    x ← x + f(norm(x)),  one norm after the last    trains deep stacks without warm-up

Source   Vaswani et al. 2017, arXiv:1706.03762, §3.1; Xiong et al. 2020, arXiv:2002.04745, §3 (both, compared).
Cost     one norm a step; PreNorm one more a stack.
Differs  Dropout is on each f(x) before it is added (§5.4 of the 2017 paper).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from regard.layers import Norm, Sizes, tap
from regard.settings import Part

Step = Callable[[Tensor], Tensor]


class Residual(Part, family="regard.model.residual"):
    """How steps join the stream. A placement may keep a stream of several tensors between `start` and `end`."""

    def build(self, norm: Norm, sizes: Sizes, steps: int) -> nn.Module:
        """A module for one layer of so many steps: forward(stream, steps) → stream."""
        raise NotImplementedError

    def end(self, norm: Norm, sizes: Sizes) -> nn.Module:
        """What the stack does to the stream after its last layer."""
        return nn.Identity()


class PostNorm(Residual):
    def build(self, norm: Norm, sizes: Sizes, steps: int) -> PostNormModule:
        return PostNormModule(norm, sizes, steps)


class PreNorm(Residual):
    def build(self, norm: Norm, sizes: Sizes, steps: int) -> PreNormModule:
        return PreNormModule(norm, sizes, steps)

    def end(self, norm: Norm, sizes: Sizes) -> nn.Module:
        return norm.build(sizes.d_model)


class PostNormModule(nn.Module):
    def __init__(self, norm: Norm, sizes: Sizes, steps: int) -> None:
        super().__init__()
        self.dropout, self.place = sizes.dropout, sizes.place
        self.norms = nn.ModuleList(norm.build(sizes.d_model) for _ in range(steps))

    def forward(self, x: Float[Tensor, "b t d"], steps: Sequence[Step]) -> Float[Tensor, "b t d"]:
        for norm, step in zip(self.norms, steps, strict=True):
            x = norm(x + F.dropout(step(x), self.dropout, self.training))
        return tap(self.place, "stream", x)


class PreNormModule(nn.Module):
    def __init__(self, norm: Norm, sizes: Sizes, steps: int) -> None:
        super().__init__()
        self.dropout, self.place = sizes.dropout, sizes.place
        self.norms = nn.ModuleList(norm.build(sizes.d_model) for _ in range(steps))

    def forward(self, x: Float[Tensor, "b t d"], steps: Sequence[Step]) -> Float[Tensor, "b t d"]:
        for norm, step in zip(self.norms, steps, strict=True):
            x = x + F.dropout(step(norm(x)), self.dropout, self.training)
        return tap(self.place, "stream", x)


KINDS: dict[str, type[Residual]] = {
    "post": PostNorm,
    "pre": PreNorm,
}
