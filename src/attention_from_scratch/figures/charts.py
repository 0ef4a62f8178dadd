"""Plain charts as SVG: lines, points, bars and a grid of numbers.

Series are labelled where they are drawn, not in a legend, and every point says its numbers when the mouse rests on it.
"""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from attention_from_scratch.figures.axes import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, Axes, number, text
from attention_from_scratch.figures.base import PALETTE, Figure, colour, svg, text_colour

_ORDER = ("query", "key", "value", "weights", "mask", "ink")
_DASHES = ("", "7 4", "2 4", "9 3 2 3")

Points = tuple[Sequence[float], Sequence[float]]


def lines(
    series: Mapping[str, Points],
    *,
    x_label: str,
    y_label: str,
    alt: str,
    caption: str,
    log_x: bool = False,
    log_y: bool = False,
    colors: Mapping[str, str] | None = None,
    bands: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
) -> Figure:
    """A line for each entry of `series`: `{"with the scale": (x, y), …}`.

    `colors` gives a name of the palette (or any CSS colour) for a series; `bands` a lower and an upper edge to shade.
    """
    data = {name: _pair(name, points) for name, points in series.items()}
    edges = {name: (_floats(low), _floats(high)) for name, (low, high) in (bands or {}).items()}
    ys = [y for _, line in data.values() for y in line] + [
        y for band in edges.values() for e in band for y in e
    ]
    axes = Axes.of(
        [x for xs, _ in data.values() for x in xs], ys,
        x_label=x_label, y_label=y_label, log_x=log_x, log_y=log_y, right=_room(data),
    )  # fmt: skip
    paint = _paint(data, colors)
    parts = [axes.svg]
    for name, (low, high) in edges.items():
        xs = data[name][0]
        outline = axes.path(xs, high) + axes.path(xs[::-1], low[::-1]).replace("M", "L") + "Z"
        parts.append(f'<path d="{outline}" style="fill:{colour(paint[name])};fill-opacity:.16;stroke:none"/>')
    for index, (name, (xs, ys)) in enumerate(data.items()):
        dash = _DASHES[index // len(_ORDER)]
        style = f"{_stroke(paint[name])};stroke-dasharray:{dash or 'none'}"
        parts.append(f'<path d="{axes.path(xs, ys)}" style="{style}"/>')
        parts += [
            _spot(axes, x, y, name, paint[name], radius=3 if len(xs) <= 24 else 0) for x, y in _thin(xs, ys)
        ]
    return _figure(parts + _end_labels(axes, data, paint), alt, caption)


def scatter(
    series: Mapping[str, Points],
    *,
    x_label: str,
    y_label: str,
    alt: str,
    caption: str,
    log_x: bool = False,
    log_y: bool = False,
    colors: Mapping[str, str] | None = None,
    curves: Mapping[str, Points] | None = None,
) -> Figure:
    """Points for each entry of `series`, and lines through them for each entry of `curves`."""
    data = {name: _pair(name, points) for name, points in series.items()}
    drawn = {name: _pair(name, points) for name, points in (curves or {}).items()}
    together = list(data.values()) + list(drawn.values())
    axes = Axes.of(
        [x for xs, _ in together for x in xs], [y for _, ys in together for y in ys],
        x_label=x_label, y_label=y_label, log_x=log_x, log_y=log_y, right=_room({**data, **drawn}),
    )  # fmt: skip
    paint = _paint({**data, **drawn}, colors)
    parts = [axes.svg]
    for name, (xs, ys) in data.items():
        parts += [
            _spot(axes, x, y, name, paint[name], radius=3.5, opacity=0.65)
            for x, y in zip(xs, ys, strict=True)
        ]
    for name, (xs, ys) in drawn.items():
        style = _stroke(paint[name])
        parts.append(f'<path d="{axes.path(xs, ys)}" style="{style}"/>')
    return _figure(parts + _end_labels(axes, {**data, **drawn}, paint), alt, caption)


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
    rows = [_floats(row) for row in matrix]
    if len(rows) != len(row_labels) or any(len(row) != len(column_labels) for row in rows):
        shape = f"{len(rows)} × {len(rows[0]) if rows else 0}"
        raise ValueError(
            f"{len(row_labels)} row and {len(column_labels)} column labels do not fit a {shape} matrix"
        )
    left = 22 + 10.5 * max(len(label) for label in row_labels) + (0 if not row_title else 8)
    size = min(72.0, (WIDTH - left - 8) / len(column_labels))
    tall = min(size, 46.0)
    top = 30.0 + (24.0 if column_title or row_title else 0.0)
    peak = max((abs(v) for row in rows for v in row if math.isfinite(v)), default=0.0) or 1.0
    parts = [text(row_title, 4, 16, kind="afs-label", fill=text_colour(row_color)) if row_title else ""]
    parts.append(
        text(column_title, left, 16, kind="afs-label", fill=text_colour(column_color)) if column_title else ""
    )
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


def _spot(
    axes: Axes, x: float, y: float, name: str, paint: str, *, radius: float, opacity: float = 1.0
) -> str:
    if not (math.isfinite(x) and math.isfinite(y)):
        return ""
    hover = f"<title>{html.escape(name)}: ({number(x, 3)}, {number(y, 3)})</title>"
    shape = f'<circle cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="{radius or 7:g}"'
    return f'{shape} style="fill:{colour(paint)};fill-opacity:{opacity if radius else 0:g}">{hover}</circle>'


def _end_labels(axes: Axes, data: Mapping[str, Points], paint: Mapping[str, str]) -> list[str]:
    """A name at the right end of each series, moved apart where two would overlap."""
    ends = sorted((axes.y(_last(ys)), name) for name, (_, ys) in data.items())
    gap, at, placed = 19.0, -math.inf, []
    for y, name in ends:
        at = max(y, at + gap)
        placed.append((at, name))
    over = max(0.0, placed[-1][0] - (HEIGHT - BOTTOM)) if placed else 0.0
    return [
        text(name, axes.x.end + 10, max(TOP, y - over) + 5, kind="afs-label", fill=text_colour(paint[name]))
        for y, name in placed
    ]


def _stroke(paint: str) -> str:
    return f"fill:none;stroke:{colour(paint)};stroke-width:2.5;stroke-linejoin:round"


def _last(ys: Sequence[float]) -> float:
    return next((y for y in reversed(ys) if math.isfinite(y)), 0.0)


def _thin(xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float]]:
    stride = max(1, len(xs) // 60)
    return list(zip(xs, ys, strict=True))[::stride]


def _room(names: Mapping[str, Any]) -> float:
    return min(WIDTH - LEFT - 240, 26 + 8.6 * max((len(name) for name in names), default=0))


def _paint(names: Mapping[str, Any], colors: Mapping[str, str] | None) -> dict[str, str]:
    chosen = dict(colors or {})
    unknown = set(chosen) - set(names)
    if unknown:
        raise ValueError(f"colors= names {sorted(unknown)}, but the series are {sorted(names)}")
    free = [name for name in _ORDER if name not in chosen.values()] or list(PALETTE)
    rest = iter(free * (len(names) + 1))
    return {name: chosen.get(name) or next(rest) for name in names}


def _pair(name: str, points: Points) -> tuple[list[float], list[float]]:
    xs, ys = (_floats(values) for values in points)
    if len(xs) != len(ys):
        raise ValueError(f"series {name!r} has {len(xs)} x values and {len(ys)} y values")
    return xs, ys


def _floats(values: Any) -> list[float]:
    return [float(v) for v in (values.tolist() if hasattr(values, "tolist") else values)]


def _figure(parts: list[str], alt: str, caption: str) -> Figure:
    return Figure(svg("".join(parts), width=WIDTH, height=HEIGHT, alt=alt), alt=alt, caption=caption)
