"""Pictures of predictions: which labels are taken for which, and whether probabilities mean what they say.

Each is SVG without a library, dark on light; `confusion_text` is for a terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from regard.evaluation.calibration import Calibration
from regard.evaluation.classification import columns

FONT = 13
"""Size in pixels of letters."""
LONGEST = 18
"""Columns of a label that are shown; the whole of it stands where one points."""


def shown(label: str, longest: int = LONGEST) -> str:
    """A label as it is written: cut with … where it is long, � for what cannot be printed."""
    from rich.cells import cell_len, set_cell_size

    clean = "".join(letter if letter.isprintable() else "�" for letter in label).strip() or "∅"
    return clean if cell_len(clean) <= longest else set_cell_size(clean, longest - 1).rstrip() + "…"


def confusion_text(counts: np.ndarray, labels: Sequence[str]) -> str:
    """A table for the terminal: a row a true label with the share of it that was right, a column a predicted one."""
    names = [shown(label, 12) for label in labels]
    total = counts.sum(axis=1)
    rows = [["true ↓ predicted →", *names, "right"]]
    for place, name in enumerate(names):
        right = f"{100 * counts[place, place] / total[place]:.1f}%" if total[place] else "–"
        rows.append([name, *(f"{count:,}" if count else "·" for count in counts[place].tolist()), right])
    return columns(rows)


def confusion_svg(counts: np.ndarray, labels: Sequence[str], title: str = "") -> str:
    """A row a true label, a column a predicted one: the count, and the share of the row by which it is darker."""
    names = [shown(label) for label in labels]
    widest = max(map(_width, names))
    cell = max(44.0, 0.62 * FONT * len(f"{int(counts.max()):,}") + 14) if len(names) <= 40 else 26.0
    upright = widest <= cell - 6
    left, top = widest + 40, (FONT + 8 if upright else widest + 8) + 2 * FONT + (FONT + 12 if title else 0)
    side = cell * len(names)
    wide, high = max(left + side, left + 5 * 40.0) + 96, top + side + 44
    parts = _open(wide, high, title or "confusion matrix")
    if title:
        parts.append(_text(10, FONT + 6, escape(shown(title, 80)), 'font-weight="bold"'))
    parts.append(_text(left + side / 2, (FONT + 12 if title else 0) + FONT + 4, "predicted", 'text-anchor="middle"'))
    y = top + side / 2
    parts.append(_text(FONT + 4, y, "true", f'text-anchor="middle" transform="rotate(-90 {FONT + 4:.1f} {y:.1f})"'))
    parts.append(_text(left + side + 10, top - 8, "right", 'fill="#555"'))
    for place, name in enumerate(names):
        middle, whole = cell * (place + 0.5), f"<title>{escape(labels[place])}</title>"
        parts.append(_text(left - 7, top + middle + FONT / 3, escape(name) + whole, 'text-anchor="end"'))
        x, y = left + middle, top - 8
        if upright:
            parts.append(_text(x, y, escape(name) + whole, 'text-anchor="middle"'))
        else:
            x += FONT / 3
            parts.append(_text(x, y, escape(name) + whole, f'transform="rotate(-90 {x:.1f} {y:.1f})"'))
    total = counts.sum(axis=1)
    for i, row in enumerate(counts.tolist()):
        for j, count in enumerate(row):
            share = count / total[i] if total[i] else 0.0
            x, y = left + cell * j, top + cell * i
            frame = 'stroke="#d55e00" stroke-width="1.5"' if i == j else 'stroke="#ccc" stroke-width="0.5"'
            says = f"{escape(labels[i])} taken for {escape(labels[j])}: {count:,} of {total[i]:,} ({share:.1%})"
            parts.append(
                f'<rect x="{x + 0.75:.2f}" y="{y + 0.75:.2f}" width="{cell - 1.5:.2f}" height="{cell - 1.5:.2f}" '
                f'fill="{_blue(share)}" {frame}><title>{says}</title></rect>'
            )
            if count:
                colour = "#fff" if share > 0.55 else "#222"
                middle, size = x + cell / 2, FONT if len(names) <= 40 else 9
                inside = f'text-anchor="middle" fill="{colour}" pointer-events="none"'
                both = len(names) <= 40
                parts.append(_text(middle, y + cell / 2 + (-1 if both else 3), f"{count:,}", inside, size))
                if both:
                    parts.append(_text(middle, y + cell / 2 + 11, f"{share:.0%}", inside, 9))
        right = f"{row[i] / total[i]:.1%} of {total[i]:,}" if total[i] else "–"
        parts.append(_text(left + side + 8, top + cell * (i + 0.5) + 4, right, 'fill="#555"', 10))
    for step in range(5):
        x, y = left + 40 * step, top + side + 12
        parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="40" height="8" fill="{_blue(step / 4)}" stroke="#ccc"/>')
        parts.append(_text(x, y + 22, f"{step / 4:.0%}" + (" of the row" if step == 4 else ""), "", 10))
    return "\n".join([*parts, "</svg>"]) + "\n"


def reliability_svg(found: Calibration, title: str = "") -> str:
    """Probability given against share right, a dot a bin; on the dashed line a model is as sure as it may be."""
    side, left, top = 300.0, 62.0, 20.0 + (FONT + 8 if title else 0)
    parts = _open(left + side + 24, top + side + 70, title or "reliability diagram")
    if title:
        parts.append(_text(10, FONT + 6, escape(shown(title, 48)), 'font-weight="bold"'))
    parts.append(f'<rect x="{left}" y="{top}" width="{side}" height="{side}" fill="#fafafa" stroke="#999"/>')
    for step in range(6):
        share = step / 5
        x, y = left + side * share, top + side * (1 - share)
        if 0 < step < 5:
            parts.append(f'<path d="M{left} {y:.1f}h{side}M{x:.1f} {top}v{side}" stroke="#e2e2e2"/>')
        parts.append(_text(x, top + side + 16, f"{share:.0%}", 'text-anchor="middle"', 11))
        parts.append(_text(left - 6, y + 4, f"{share:.0%}", 'text-anchor="end"', 11))
    parts.append(f'<path d="M{left} {top + side}L{left + side} {top}" stroke="#888" stroke-dasharray="5 4"/>')
    rows = list(zip(found.said.tolist(), found.right.tolist(), found.count.tolist(), strict=True))
    places = [(left + side * said, top + side * (1 - right)) for said, right, _ in rows]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    parts.append(f'<path d="M{path}" fill="none" stroke="#08306b" stroke-width="1.5"/>')
    for (x, y), (said, right, count) in zip(places, rows, strict=True):
        even = top + side * (1 - said)
        parts.append(f'<path d="M{x:.1f} {y:.1f}V{even:.1f}" stroke="#d55e00" stroke-width="2"/>')
        says = f"<title>{count:,} cases: said {said:.1%}, right {right:.1%}</title>"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="#08306b" stroke="#fff">{says}</circle>')
    parts.append(_text(left + side / 2, top + side + 36, "probability given", 'text-anchor="middle"'))
    x, y = 16.0, top + side / 2
    parts.append(_text(x, y, "share right", f'text-anchor="middle" transform="rotate(-90 {x} {y:.1f})"'))
    below = f"calibration error {found.error:.1%}, {len(rows)} bins of {int(found.count.sum()):,} in all"
    parts.append(_text(left, top + side + 58, below, 'fill="#555"', 11))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _open(wide: float, high: float, title: str) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high:.0f}" width="{wide:.0f}" '
        f'height="{high:.0f}" font-family="system-ui, sans-serif" font-size="{FONT}" fill="#222">',
        f"<title>{escape(shown(title, 200))}</title>",
        f'<rect width="{wide:.0f}" height="{high:.0f}" fill="#fff"/>',
    ]


def _text(x: float, y: float, inside: str, how: str = "", size: float = FONT) -> str:
    small = "" if size == FONT else f' font-size="{size}"'
    return f'<text x="{x:.1f}" y="{y:.1f}"{small}{" " + how if how else ""}>{inside}</text>'


def _width(label: str) -> float:
    from rich.cells import cell_len

    return 0.62 * FONT * cell_len(label)


def _blue(share: float) -> str:
    """From white to a dark blue."""
    return "#" + "".join(f"{round(255 + share * (end - 255)):02x}" for end in (8, 48, 107))
