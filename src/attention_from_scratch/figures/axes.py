"""Axes for the plain charts: scales, round ticks, grid lines and the words beside them."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 600.0, 340.0
TOP, BOTTOM, LEFT = 38.0, 52.0, 58.0
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Scale:
    """Maps data from `low` … `high` to the drawing from `start` … `end`, linearly or by logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (_log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self, about: int) -> list[tuple[float, str]]:
        """Round values inside the scale, each with its text."""
        return _log_ticks(self.low, self.high) if self.log else _ticks(self.low, self.high, about)


@dataclass(frozen=True)
class Axes:
    """A frame to draw in: `x` and `y` map data to the drawing, `svg` is the frame itself."""

    x: Scale
    y: Scale
    svg: str

    @classmethod
    def of(
        cls,
        xs: Sequence[float],
        ys: Sequence[float],
        *,
        x_label: str,
        y_label: str,
        log_x: bool = False,
        log_y: bool = False,
        right: float = 18.0,
    ) -> "Axes":
        """Axes that hold all points; `right` is the room kept for labels at the ends of lines."""
        x_low, x_high = _span(xs, log_x, "x", room=0.0)
        y_low, y_high = _span(ys, log_y, "y", room=0.04)
        x = Scale(x_low, x_high, LEFT, WIDTH - right, log_x)
        y = Scale(y_low, y_high, HEIGHT - BOTTOM, TOP, log_y)
        return cls(x, y, _frame(x, y, x_label, y_label))

    def path(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        """The points as an SVG path; a gap where a value is not finite."""
        pen, parts = "M", []
        for x, y in zip(xs, ys, strict=True):
            if not (math.isfinite(x) and math.isfinite(y)):
                pen = "M"
                continue
            parts.append(f"{pen}{self.x(x):.1f},{self.y(y):.1f}")
            pen = "L"
        return "".join(parts)


def text(words: str, x: float, y: float, *, anchor: str = "start", kind: str = "", fill: str = "") -> str:
    """One line of words; `kind` is a class of the style sheet."""
    style = f' style="fill:{fill}"' if fill else ""
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}{style}>{html.escape(words)}</text>'


def number(value: float, digits: int = 2) -> str:
    """A number as a reader expects it: a true minus sign, no needless digits, powers of ten when it is extreme."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if value and not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.{digits}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        power = "10" + str(int(exponent)).translate(_SUPERSCRIPT)
        shown = {"1": power, "-1": "-" + power}.get(mantissa, f"{mantissa}·{power}")
    else:
        shown = f"{value:.{max(digits, 3)}g}" if abs(value) < 1 else f"{value:.{digits}f}"
        shown = shown.rstrip("0").rstrip(".") if "." in shown else shown
    return shown.replace("-", "−")


def floats(values: Any) -> list[float]:
    """Plain numbers out of a list, an array or a tensor."""
    return [float(v) for v in (values.tolist() if hasattr(values, "tolist") else values)]


def _frame(x: Scale, y: Scale, x_label: str, y_label: str) -> str:
    parts = []
    for value, words in y.ticks(5):
        at = y(value)
        parts.append(f'<path class="afs-rule" d="M{x.start:g},{at:.1f}H{x.end:g}"/>')
        parts.append(text(words, x.start - 8, at + 4.5, anchor="end", kind="afs-tick"))
    parts.append(f'<path class="afs-axis" d="M{x.start:g},{y.start:g}H{x.end:g}"/>')
    for value, words in x.ticks(6):
        parts.append(f'<path class="afs-axis" d="M{x(value):.1f},{y.start:g}v5"/>')
        parts.append(text(words, x(value), y.start + 21, anchor="middle", kind="afs-tick"))
    parts.append(text(x_label, (x.start + x.end) / 2, HEIGHT - 6, anchor="middle"))
    parts.append(text(y_label, 4, 16))
    return "".join(parts)


def _span(values: Sequence[float], log: bool, axis: str, *, room: float) -> tuple[float, float]:
    finite = [float(v) for v in values if math.isfinite(v)]
    if not finite:
        raise ValueError(f"there is no finite {axis} value to draw")
    low, high = min(finite), max(finite)
    if log and low <= 0:
        raise ValueError(
            f"a logarithmic {axis} axis cannot show {low:g}; leave out values that are not positive"
        )
    if low == high:
        return (low / 2, high * 2) if log else (low - (abs(low) / 2 or 1), high + (abs(high) / 2 or 1))
    if log:
        stretch = (high / low) ** room
        return low / stretch, high * stretch
    if 0 <= low < 0.35 * high:
        low = 0.0  # near enough to zero to start there: lengths then compare honestly
        return low, high + room * (high - low)
    return low - room * (high - low), high + room * (high - low)


def _ticks(low: float, high: float, about: int) -> list[tuple[float, str]]:
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    plain = max(abs(low), abs(high)) < 1e6 and places <= 4
    values = [i * step for i in range(first, last + 1)]
    return [(v, f"{v:.{places}f}".replace("-", "−") if plain else number(v)) for v in values]


def _log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    decades = range(math.floor(_log(low)) - 1, math.ceil(_log(high)) + 1)
    wide = _log(high) - _log(low)
    inside = [10.0**d for d in decades if low * 0.999 <= 10.0**d <= high * 1.001]
    if len(inside) < 3:
        multiples = (1, 2, 5) if wide > 0.7 else range(1, 10)
        inside = [
            m * 10.0**d for d in decades for m in multiples if low * 0.999 <= m * 10.0**d <= high * 1.001
        ]
    thin = inside[:: max(1, math.ceil(len(inside) / 7))]
    return [(value, number(value)) for value in thin]


def _log(value: float) -> float:
    return math.log10(value)
