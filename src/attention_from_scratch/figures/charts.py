"""Plain charts as SVG: lines and points.

Series are labelled where they are drawn, not in a legend, and every point says its numbers when the mouse rests on it.
"""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from attention_from_scratch.figures.axes import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, Axes, floats, number, text
from attention_from_scratch.figures.base import Figure, colour, svg, text_colour

# the colours of query, key, value and weights mean just these, so a series gets one only where `colors` says so
_ORDER = ("ink", "ochre", "mask")
_DASHES = ("", "7 4", "2 4", "9 3 2 3")
_LABEL_GAP = 21.0

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
    edges = {name: (floats(low), floats(high)) for name, (low, high) in (bands or {}).items()}
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
        parts.append(f'<path d="{axes.path(xs, ys)}" style="{_stroke(paint[name], index)}"/>')
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
    for index, (name, (xs, ys)) in enumerate(drawn.items(), len(data)):
        style = _stroke(paint[name], index)
        parts.append(f'<path d="{axes.path(xs, ys)}" style="{style}"/>')
    return _figure(parts + _end_labels(axes, {**data, **drawn}, paint), alt, caption)


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
    heights = apart([y for y, _ in ends], _LABEL_GAP, TOP, HEIGHT - BOTTOM)
    return [
        text(name, axes.x.end + 10, y + 5, kind="afs-label", fill=text_colour(paint[name]))
        for y, (_, name) in zip(heights, ends, strict=True)
    ]


def apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Heights at least `gap` apart and, if there is room, within `low` … `high`, near the rising ones wanted."""
    down, at = [], -math.inf
    for y in wanted:
        at = max(y, low, at + gap)
        down.append(at)
    up, at = [], math.inf
    for y in reversed(down):  # only those that the lower edge pushes back have to move
        at = min(y, high if math.isinf(at) else at - gap)
        up.append(at)
    return up[::-1]


def _stroke(paint: str, index: int) -> str:
    """Of the series number `index`: dashes tell apart those that colour cannot."""
    dash = _DASHES[index // len(_ORDER) % len(_DASHES)] or "none"
    return f"fill:none;stroke:{colour(paint)};stroke-width:2.5;stroke-linejoin:round;stroke-dasharray:{dash}"


def _last(ys: Sequence[float]) -> float:
    return next((y for y in reversed(ys) if math.isfinite(y)), 0.0)


def _thin(xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float]]:
    stride = max(1, len(xs) // 60)
    return list(zip(xs, ys, strict=True))[::stride]


def _room(names: Mapping[str, Any]) -> float:
    return min(WIDTH - LEFT - 240, 20 + 10.2 * max((len(name) for name in names), default=0))


def _paint(names: Mapping[str, Any], colors: Mapping[str, str] | None) -> dict[str, str]:
    chosen = dict(colors or {})
    unknown = set(chosen) - set(names)
    if unknown:
        raise ValueError(f"colors= names {sorted(unknown)}, but the series are {sorted(names)}")
    free = [name for name in _ORDER if name not in chosen.values()] or list(_ORDER)
    rest = iter(free * (len(names) + 1))
    return {name: chosen.get(name) or next(rest) for name in names}


def _pair(name: str, points: Points) -> tuple[list[float], list[float]]:
    xs, ys = (floats(values) for values in points)
    if len(xs) != len(ys):
        raise ValueError(f"series {name!r} has {len(xs)} x values and {len(ys)} y values")
    return xs, ys


def _figure(parts: list[str], alt: str, caption: str) -> Figure:
    return Figure(svg("".join(parts), width=WIDTH, height=HEIGHT, alt=alt), alt=alt, caption=caption)
