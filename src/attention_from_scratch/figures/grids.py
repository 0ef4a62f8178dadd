"""Plain charts as SVG: bars, and a grid of numbers."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from attention_from_scratch.figures.axes import WIDTH, floats, number, text
from attention_from_scratch.figures.base import Figure, colour, svg, text_colour


def bars(
    values: Mapping[str, float],
    *,
    x_label: str,
    alt: str,
    caption: str,
    color: str | Sequence[str] = "weights",
    digits: int = 2,
) -> Figure:
    """One horizontal bar for each entry of `values`, with its name before it and its number after it."""
    if not values:
        raise ValueError("there is no bar to draw")
    paints = [color] * len(values) if isinstance(color, str) else list(color)
    low, high = min(0.0, *values.values()), max(0.0, *values.values())
    left = min(240.0, 24 + 10.5 * max(len(name) for name in values))
    span, step = WIDTH - left - 72, 34.0
    at = lambda value: left + (value - low) / ((high - low) or 1) * span  # noqa: E731
    parts = []
    for index, ((name, value), paint) in enumerate(zip(values.items(), paints, strict=True)):
        y = 8 + index * step
        start, end = sorted((at(0), at(value)))
        parts.append(text(name, left - 10, y + 18, anchor="end"))
        hover = f"<title>{html.escape(name)}: {number(value, digits)}</title>"
        parts.append(
            f'<rect x="{start:.1f}" y="{y:g}" width="{max(end - start, 1):.1f}" height="26" rx="3" '
            f'style="fill:{colour(paint)}">{hover}</rect>'
        )
        parts.append(text(number(value, digits), end + 8, y + 18, kind="afs-label"))
    bottom = 8 + len(values) * step
    parts.append(f'<path class="afs-axis" d="M{at(0):.1f},2V{bottom:g}"/>')
    parts.append(text(x_label, left, bottom + 20, kind="afs-tick"))
    return Figure(svg("".join(parts), width=WIDTH, height=bottom + 30, alt=alt), alt=alt, caption=caption)


def heatmap(
    matrix: Any,
    *,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    alt: str,
    caption: str,
    values: bool = True,
    row_title: str = "",
    column_title: str = "",
    row_color: str = "query",
    column_color: str = "key",
    color: str = "weights",
    digits: int = 2,
) -> Figure:
    """A grid of cells, darker for larger numbers; cells below zero are grey. `values` writes the numbers in."""
    rows = [floats(row) for row in matrix]
    if len(rows) != len(row_labels) or any(len(row) != len(column_labels) for row in rows):
        shape = f"{len(rows)} × {len(rows[0]) if rows else 0}"
        raise ValueError(
            f"{len(row_labels)} row and {len(column_labels)} column labels do not fit a {shape} matrix"
        )
    left = 22 + 10.5 * max(len(label) for label in [*row_labels, row_title])
    size = min(72.0, (WIDTH - left - 8) / len(column_labels))
    tall = min(size, 46.0)
    top = 30.0 + (24.0 if column_title else 0.0)
    peak = max((abs(v) for row in rows for v in row if math.isfinite(v)), default=0.0) or 1.0
    parts = [
        text(row_title, left - 10, top - 9, anchor="end", kind="afs-label", fill=text_colour(row_color)),
        text(column_title, left, 16, kind="afs-label", fill=text_colour(column_color)),
    ]
    for c, label in enumerate(column_labels):
        parts.append(
            text(label, left + (c + 0.5) * size, top - 9, anchor="middle", fill=text_colour(column_color))
        )
    for r, (label, row) in enumerate(zip(row_labels, rows, strict=True)):
        parts.append(
            text(label, left - 10, top + (r + 0.5) * tall + 5, anchor="end", fill=text_colour(row_color))
        )
        for c, value in enumerate(row):
            hover = f"{label}, {column_labels[c]}: {number(value, max(digits, 3))}"
            parts.append(_cell(left + c * size, top + r * tall, size, tall, value, peak, color, hover))
            if values:
                strong = math.isfinite(value) and abs(value) / peak > 0.55
                words = f"{value:.{digits}f}".replace("-", "−") if math.isfinite(value) else number(value)
                at = (left + (c + 0.5) * size, top + (r + 0.5) * tall + 5)
                parts.append(text(words, *at, anchor="middle", kind="afs-on" if strong else ""))
    height = top + len(rows) * tall + 6
    return Figure(svg("".join(parts), width=WIDTH, height=height, alt=alt), alt=alt, caption=caption)


def _cell(
    x: float, y: float, width: float, height: float, value: float, peak: float, color: str, hover: str
) -> str:
    finite = math.isfinite(value)
    paint = colour(color if finite and value >= 0 else "mask")
    opacity = 0.06 + 0.94 * abs(value) / peak if finite else 0.25
    return (
        f'<rect x="{x + 1:.1f}" y="{y + 1:.1f}" width="{width - 2:.1f}" height="{height - 2:.1f}" rx="3" '
        f'style="fill:{paint};fill-opacity:{opacity:.3f}"><title>{html.escape(hover)}</title></rect>'
    )
