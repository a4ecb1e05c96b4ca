"""The engine of attention that is linear in length: a causal scan over chunks of tokens.

    S_t = γ_t S_{t−1} + k_t u_tᵀ        y_t = q_tᵀ S_t        [f e] a head, S_0 = what was seen before

    sum rule     u_t = v_t
    delta rule   u_t = β_t (v_t − γ_t S_{t−1}ᵀ k_t)

`step` is this, one token at a time. `sums` and `deltas` give the same numbers from whole chunks of c tokens: inside a
chunk a small triangle of products, as in plain attention; between chunks the states alone are carried, so that time and
memory grow with the length and not with its square. Unrolled over a chunk that begins with the state S,

    y = (Γ ⊙ Q Kᵀ) U + r ⊙ Q S        S' = g S + (w ⊙ K)ᵀ U

with Γ_ij = γ_{j+1} … γ_i (0 for j > i), r_i = γ_1 … γ_i, w_j = γ_{j+1} … γ_c and g = γ_1 … γ_c: these four are
`Fading`.
Where a document begins the state is forgotten, which is a γ of 0 there.

Source   chunks: Hua et al. 2022, arXiv:2202.10447, §3.2; Sun et al. 2023, arXiv:2307.08621, eq. 7. U of the delta rule:
         Yang et al. 2024, arXiv:2406.06484, §3, and with γ arXiv:2412.06464, §3.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Fading(NamedTuple):
    """How much of what was written is left when it is read, by chunks: 1 everywhere is no fading."""

    inside: Float[Tensor, "b h n c c"]
    """Of token j at token i of the same chunk; 0 for j > i."""
    read: Float[Tensor, "b h n c 1"]
    """Of the state that the chunk begins with, at token i."""
    write: Float[Tensor, "b h n c 1"]
    """Of token j, at the chunk's end."""
    carry: Float[Tensor, "b h n 1 1"]
    """Of the state that the chunk begins with, at the chunk's end."""


def fading(
    log_decay: Float[Tensor, "#b #h t"] | None, document: Int[Tensor, "b t"] | None, chunk: int
) -> Fading | None:
    """The four factors from log γ ≤ 0 and from numbers that change where a document begins; None: nothing fades."""
    if log_decay is None and document is None:
        return None
    if log_decay is None:
        assert document is not None
        log_decay = torch.zeros(1, 1, 1, device=document.device).expand(1, 1, document.shape[1])
    since = _chunked(log_decay, chunk, dim=2).cumsum(-1)  # log of γ_1 … γ_i
    rows = torch.arange(chunk, device=since.device)
    seen = rows[:, None] >= rows
    whole = [torch.ones_like(since, dtype=torch.bool)[..., :1]] * 3
    if document is not None:
        number = _chunked(document[:, None], chunk, dim=2, last=True)
        begins = torch.cat([number[:, :, :1, :1], number[:, :, :-1, -1:]], dim=2)  # whose state the chunk begins with
        ends = number[..., -1:]
        seen = seen & (number[..., :, None] == number[..., None, :])
        whole = [number == begins, number == ends, begins == ends]

    def left(log: Tensor, kept: Tensor) -> Tensor:
        """exp(log) where kept, else 0; the mask comes first, for what is not kept may be as large as it likes."""
        return torch.where(kept, log, float("-inf")).exp()

    end = since[..., -1:]
    return Fading(
        left(since[..., :, None] - since[..., None, :], seen),
        left(since, whole[0])[..., None],
        left(end - since, whole[1])[..., None],
        left(end, whole[2])[..., None],
    )


def step(
    q: Float[Tensor, "b h 1 f"],
    k: Float[Tensor, "b h 1 f"],
    v: Float[Tensor, "b h 1 e"],
    state: Float[Tensor, "b h f e"],
    log_decay: Float[Tensor, "#b #h 1"] | None = None,
    beta: Float[Tensor, "b h 1"] | None = None,
) -> tuple[Float[Tensor, "b h 1 e"], Float[Tensor, "b h f e"]]:
    """The recurrent form: one token, in constant time and memory."""
    if log_decay is not None:
        state = state * log_decay.exp()[..., None]
    if beta is not None:
        v = beta[..., None] * (v - k @ state)
    state = state + k.mT * v
    return q @ state, state


def sums(
    q: Float[Tensor, "b h t f"],
    k: Float[Tensor, "b h t f"],
    v: Float[Tensor, "b h t e"],
    state: Float[Tensor, "b h f e"] | None = None,
    fades: Fading | None = None,
    chunk: int = 64,
) -> tuple[Float[Tensor, "b h t e"], Float[Tensor, "b h f e"]]:
    """The sum rule in chunks, and the state after the last token. No gradient reaches `fades`."""
    b, h, t, _ = q.shape
    if state is None:
        state = q.new_zeros(b, h, q.shape[3], v.shape[3])
    q, k, v = (_chunked(x, chunk, dim=2).contiguous() for x in (q, k, v))
    y, state = _Sums.apply(q, k, v, state, *(fades or (None,) * 4))
    return y.flatten(2, 3)[:, :, :t], state


class _Sums(torch.autograd.Function):
    """q, k [b h n c f], v [b h n c e], state [b h f e], `Fading` or four times None → y [b h n c e], the last state.

    The backward pass by hand keeps the scores of the chunks and the states between them, and adds in place.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        state: Tensor,
        inside: Tensor | None,
        read: Tensor | None,
        write: Tensor | None,
        carry: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        scores = _triangle(_bmm(q, k.mT), inside)
        states, last = _carried(state, _bmm(_times(k, write).mT, v), carry)
        y = _add_bmm(_bmm(scores, v), _times(q, read), states)
        ctx.save_for_backward(q, k, v, scores, states, inside, read, write, carry)
        return y, last

    @staticmethod
    def backward(ctx: Any, dy: Tensor, dlast: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, scores, states, inside, read, write, carry = ctx.saved_tensors
        dy = dy.contiguous()
        dscores = _triangle(_bmm(dy, v.mT), inside)
        dq, dk = _bmm(dscores, k), _bmm(dscores.mT, q)
        del dscores
        _add_bmm(dq, _times(dy, read), states.mT)
        back = None if carry is None else carry.flip(2)
        dwrites, dstate = _carried(dlast, _bmm(_times(q, read).mT, dy).flip(2), back)
        dwrites = dwrites.flip(2)
        _add_bmm(dk, _times(v, write), dwrites.mT)
        dv = _add_bmm(_bmm(scores.mT, dy), _times(k, write), dwrites)
        return dq, dk, dv, dstate, None, None, None, None


def deltas(
    q: Float[Tensor, "b h t f"],
    k: Float[Tensor, "b h t f"],
    v: Float[Tensor, "b h t e"],
    beta: Float[Tensor, "b h t"],
    state: Float[Tensor, "b h f e"] | None = None,
    fades: Fading | None = None,
    chunk: int = 64,
) -> tuple[Float[Tensor, "b h t e"], Float[Tensor, "b h f e"]]:
    """The delta rule in chunks, and the state after the last token.

    Within a chunk u_i = β_i (v_i − r_i Sᵀ k_i − Σ_{j<i} Γ_ij (k_i · k_j) u_j) is a triangular system with two right
    sides: U = X − Y S, with X from the values and Y from the keys. So all chunks are solved at once, before their
    states are known, and only U and the states go from chunk to chunk.
    """
    b, h, t, f = q.shape
    if state is None:
        state = q.new_zeros(b, h, f, v.shape[3])
    q, k, v = (_chunked(x, chunk, dim=2) for x in (q, k, v))
    beta = _chunked(beta, chunk, dim=2)[..., None]
    fades = fades or fading(q.new_zeros(1, 1, q.shape[2] * chunk), None, chunk)
    assert fades is not None
    inside, read, write, carry = (x.to(q.dtype) for x in fades)
    strict = beta * (k @ k.mT * inside).tril(-1)
    sides = beta * torch.cat([v, read * k], dim=-1)
    x, y = torch.linalg.solve_triangular(strict, sides, upper=False, unitriangular=True).split([v.shape[-1], f], -1)
    states, us = [], []
    out = (write * k).mT
    carry = carry.expand(b, h, -1, 1, 1)
    for n in range(q.shape[2]):
        states.append(state)
        us.append(x[:, :, n] - y[:, :, n] @ state)
        state = carry[:, :, n] * state + out[:, :, n] @ us[n]
    mixed = (q @ k.mT * inside) @ torch.stack(us, dim=2) + read * q @ torch.stack(states, dim=2)
    return mixed.flatten(2, 3)[:, :, :t], state


def _carried(
    first: Float[Tensor, "b h f e"], writes: Float[Tensor, "b h n f e"], carry: Float[Tensor, "#b #h n 1 1"] | None
) -> tuple[Float[Tensor, "b h n f e"], Float[Tensor, "b h f e"]]:
    """S_0 = first, S_{m+1} = g_m S_m + writes_m: the states before each chunk, and the last."""
    states = torch.cat([first[:, :, None], writes[:, :, :-1]], dim=2)
    if carry is None:
        states.cumsum_(2)
        return states, states[:, :, -1] + writes[:, :, -1]
    left = torch.cat([torch.zeros_like(carry[:, :, :1]), carry[:, :, :-1]], dim=2)
    reach, n = 1, writes.shape[2]
    while reach < n:  # all at once, by doubling how far back a state has looked
        more = states[:, :, reach:] + left[:, :, reach:] * states[:, :, :-reach]
        left = torch.cat([left[:, :, :reach], left[:, :, reach:] * left[:, :, :-reach]], dim=2)
        states = torch.cat([states[:, :, :reach], more], dim=2)
        reach *= 2
    return states, carry[:, :, -1] * states[:, :, -1] + writes[:, :, -1]


def _chunked(x: Tensor, chunk: int, dim: int, last: bool = False) -> Tensor:
    """Tokens along `dim`, cut into chunks: filled up with zeros, or with the last token."""
    short = -x.shape[dim] % chunk
    if short:
        fill = x.narrow(dim, -1, 1) if last else x.new_zeros(()).expand_as(x.narrow(dim, 0, 1))
        x = torch.cat([x, fill.expand(*x.shape[:dim], short, *x.shape[dim + 1 :])], dim=dim)
    return x.unflatten(dim, (-1, chunk))


def _triangle(scores: Tensor, inside: Tensor | None) -> Tensor:
    return scores.tril_() if inside is None else scores.mul_(inside)


def _times(x: Tensor, factor: Tensor | None) -> Tensor:
    return x if factor is None else x * factor


def _bmm(a: Tensor, b: Tensor) -> Tensor:
    return torch.bmm(a.flatten(0, 2), b.flatten(0, 2)).unflatten(0, a.shape[:3])


def _add_bmm(sum: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """sum + a b, into sum."""
    sum.flatten(0, 2).baddbmm_(a.flatten(0, 2), b.flatten(0, 2))
    return sum
