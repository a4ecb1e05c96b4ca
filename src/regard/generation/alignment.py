"""Alignments: which source words each target word looked at, from cross-attention, as numbers and as pictures.

    A[j, i] = mean over heads of softmax(q_j · k_i),        hard: a_j = argmax_i A[j, i]

Row j is the look that chose target word j, so it belongs to the step that reads the word before it. All rows of a text
come from one teacher-forced pass.

Source   soft alignment: Bahdanau, Cho & Bengio 2015, arXiv:1409.0473, §5.2.1. Mean over the heads of a Transformer's
         penultimate layer, found to align best: Garg et al. 2019, arXiv:1909.02074, §4.1.
Cost     one pass over the text, by the plain formula.
Differs  A layer is chosen by its number; a decoder with one look at the source (a recurrent one) has layer 0 alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regard.attention import Padding
from regard.layers import taps
from regard.model import Encoded, Transformer
from regard.settings import RegardError


class Looks:
    """Hears the weights of one layer's cross-attention inside `with looks:`; a block may be entered again."""

    def __init__(self, layer: int | None = None) -> None:
        self.layer = layer
        self._heard: dict[str, list[Tensor]] = {}

    def __enter__(self) -> Looks:
        self._heard = {}
        self._taps = taps(self._hear)
        self._taps.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._taps.__exit__(None, None, None)

    def _hear(self, name: str, x: Tensor) -> None:
        if name.endswith("cross.weights"):
            self._heard.setdefault(name, []).append(x)

    def weights(self) -> Float[Tensor, "b h t s"]:
        """What was heard in the last block. Raises `RegardError` where there is no such layer, or no weights."""
        layers = list(self._heard.values())
        if not layers:
            raise RegardError(
                "this model's cross-attention shows no weights for each source word: take one that does, such as 'dot'."
            )
        layer = max(len(layers) - 2, 0) if self.layer is None else self.layer
        if not -len(layers) <= layer < len(layers):
            raise RegardError(f"layer {layer} does not look at a source: {len(layers)} do, counted from 0.")
        return torch.cat(layers[layer], dim=2)  # a recurrent decoder looks once for each word


def real(encoded: Encoded) -> Bool[Tensor, "b s"]:
    """Which places of the sources are real, not padding."""
    rows, s = encoded.x.shape[:2]
    slots = torch.arange(s, device=encoded.x.device)[None]
    padding = encoded.mask.padding
    every = torch.ones(rows, s, dtype=torch.bool, device=encoded.x.device)
    return every if padding is None else padding.allowed(slots[:, :1, None], slots[:, None])[:, 0]


@torch.inference_mode()
def align(
    model: Transformer,
    encoded: Encoded,
    prompts: Sequence[Sequence[int]],
    texts: Sequence[Sequence[int]],
    layer: int | None = None,
) -> list[Float[Tensor, "t s"]]:
    """How much each word of each text looked at each word of its source; every row sums to one.

    `prompts` hold the begin token (and what else a text began with), `texts` what followed, with or without the end
    token. `layer` counts the decoder's layers, from the last if negative; None is the penultimate, or the only one.

    Raises `RegardError` where the model has no cross-attention with weights, or numbers of rows differ.
    """
    if model.encoder is None or model.decoder is None:
        raise RegardError("an alignment joins a text to its source: give a model with an encoder and a decoder.")
    if not len(prompts) == len(texts) == len(encoded.x) or not all(map(len, prompts)):
        raise RegardError(
            f"{len(prompts)} prompts, {len(texts)} texts and {len(encoded.x)} sources do not go together: an alignment "
            "needs one of each, and at least one token in each prompt."
        )
    device = encoded.x.device
    rows = [torch.tensor([*prompt, *text[:-1]], device=device) for prompt, text in zip(prompts, texts, strict=True)]
    lengths = torch.tensor([len(row) for row in rows], device=device)
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    training = model.training
    model.eval()
    try:
        with Looks(layer) as looks:
            model.hidden(ids, mask=Padding(lengths), encoded=encoded)
    finally:
        model.train(training)
    weights = looks.weights().mean(1)
    return [
        row[len(prompt) - 1 :][: len(text)][:, mine]
        for row, mine, prompt, text in zip(weights, real(encoded), prompts, texts, strict=True)
    ]


def links(weights: Float[Tensor, "t s"]) -> list[tuple[int, int]]:
    """The hard alignment: (source word, target word) for each target word, counted from 0."""
    return [(source, target) for target, source in enumerate(weights.argmax(-1).tolist())] if weights.numel() else []


SHADES = ((0.75, "█"), (0.5, "▓"), (0.25, "▒"), (0.1, "░"))


def to_text(weights: Float[Tensor, "t s"], source: Sequence[str], target: Sequence[str]) -> str:
    """A picture for the terminal: a line a target word, two columns a source word, which is written downwards."""
    from rich.cells import cell_len, set_cell_size

    _check(weights, source, target)
    heads = [_letters(word, longest=16) for word in source]
    height = max(map(len, heads), default=0)
    rows = [_shown(word) for word in target]
    margin = max(map(cell_len, rows), default=0)
    lines = []
    for line in range(height):
        letters = (head[line - height + len(head)] if line >= height - len(head) else "" for head in heads)
        lines.append(" " * (margin + 1) + "".join(set_cell_size(letter, 2) for letter in letters))
    for word, row in zip(rows, weights.tolist(), strict=True):
        cells = "".join(2 * next((shade for least, shade in SHADES if weight >= least), " ") for weight in row)
        lines.append(" " * (margin - cell_len(word)) + f"{word} {cells}")
    lines.append(" " * (margin + 1) + "  ".join(f"{shade} ≥ {least:.0%}" for least, shade in reversed(SHADES)))
    return "\n".join(line.rstrip() for line in lines) + "\n"


CELL, FONT = 20, 13
"""Sizes in pixels of a cell of the picture and of its letters."""


def to_svg(weights: Float[Tensor, "t s"], source: Sequence[str], target: Sequence[str], title: str = "") -> str:
    """A picture as SVG: a row a target word, a column a source word, darker where the look was stronger.

    The strongest look of each row has a frame; pointing at a cell names both words and their weight.
    """
    from rich.cells import cell_len

    _check(weights, source, target)
    columns, rows = [_shown(word) for word in source], [_shown(word) for word in target]

    def width(words: Sequence[str]) -> float:
        return 0.62 * FONT * max(map(cell_len, words), default=0) + 10

    left, top = max(width(rows), 40.0), width(columns) + (2 * FONT if title else 6)
    right, bottom = left + CELL * len(columns), top + CELL * len(rows)
    wide, high = max(right, left + 160) + 12, bottom + 44
    text = f'font-family="system-ui, sans-serif" font-size="{FONT}" fill="#222"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high:.0f}" width="{wide:.0f}" '
        f'height="{high:.0f}" {text}>',
        f"<title>{escape(_shown(title or 'alignment'))}</title>",
        f'<rect width="{wide:.0f}" height="{high:.0f}" fill="#fff"/>',
    ]
    if title:
        parts.append(f'<text x="8" y="{FONT + 6}" font-weight="bold">{escape(_shown(title))}</text>')
    for place, word in enumerate(columns):
        x, y = left + CELL * (place + 0.5) + FONT / 3, top - 5
        parts.append(f'<text x="{x:.1f}" y="{y:.1f}" transform="rotate(-90 {x:.1f} {y:.1f})">{escape(word)}</text>')
    for place, word in enumerate(rows):
        y = top + CELL * (place + 0.5) + FONT / 3
        parts.append(f'<text x="{left - 5:.1f}" y="{y:.1f}" text-anchor="end">{escape(word)}</text>')
    best = {target: source for source, target in links(weights)}
    for j, row in enumerate(weights.tolist()):
        for i, weight in enumerate(row):
            frame = ' stroke="#d55e00" stroke-width="1.5"' if best[j] == i else ' stroke="#ddd" stroke-width="0.5"'
            parts.append(
                f'<rect x="{left + CELL * i:.1f}" y="{top + CELL * j:.1f}" width="{CELL}" height="{CELL}" '
                f'fill="{_colour(weight)}"{frame}><title>{escape(rows[j])} ← {escape(columns[i])}: {weight:.0%}'
                "</title></rect>"
            )
    for step in range(5):
        x = left + 32 * step
        parts.append(f'<rect x="{x:.1f}" y="{bottom + 10:.1f}" width="32" height="8" fill="{_colour(step / 4)}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 32:.1f}" font-size="10">{step / 4:.0%}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _colour(weight: float) -> str:
    """From white to a dark blue."""
    share = min(max(weight, 0.0), 1.0)
    return "#" + "".join(f"{round(255 + share * (end - 255)):02x}" for end in (8, 48, 107))


def _shown(word: str) -> str:
    """A word as a label: what cannot be printed stands as �, and a word of spaces as ␣."""
    clean = "".join(letter if letter.isprintable() else "�" for letter in word)
    return clean.strip() or ("␣" if clean else "∅")


def _letters(word: str, longest: int) -> list[str]:
    """The letters of a label, each with the marks that stand on it."""
    from rich.cells import cell_len

    letters: list[str] = []
    for letter in _shown(word):
        if letters and cell_len(letter) == 0:
            letters[-1] += letter
        else:
            letters.append(letter)
    return letters if len(letters) <= longest else [*letters[: longest - 1], "…"]


def _check(weights: Tensor, source: Sequence[str], target: Sequence[str]) -> None:
    if tuple(weights.shape) != (len(target), len(source)):
        raise RegardError(
            f"an alignment of shape {list(weights.shape)} does not go with {len(target)} target and {len(source)} "
            "source words: give a row for each target word and a column for each source word."
        )
