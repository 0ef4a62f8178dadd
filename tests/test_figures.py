"""Figures as HTML: complete, safe, and honest about the numbers that they are given."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attention_from_scratch import figures
from attention_from_scratch.figures import base
from attention_from_scratch.figures.axes import Scale, number
from attention_from_scratch.figures.charts import apart

WORDS = {"alt": "What it shows.", "caption": "What to see."}
AXES = {"x_label": "width", "y_label": "entropy", **WORDS}
finite = st.floats(-1e9, 1e9, allow_nan=False).filter(lambda v: v == 0 or abs(v) > 1e-9)


def drawing(figure: figures.Figure) -> ElementTree.Element:
    return ElementTree.fromstring(figure.body)


def texts(figure: figures.Figure) -> list[str]:
    return [node.text or "" for node in drawing(figure).iter() if node.tag.endswith("text")]


def test_a_chart_is_an_image_with_a_text_alternative_and_a_caption() -> None:
    figure = figures.lines({"a": ([0, 1], [1, 2])}, **AXES)
    assert drawing(figure).attrib["role"] == "img"
    assert drawing(figure).attrib["aria-label"] == WORDS["alt"]
    assert WORDS["caption"] in figure._repr_html_()
    assert repr(figure) == "Figure: What it shows."


@pytest.mark.parametrize("missing", ["alt", "caption"])
def test_a_figure_without_words_is_refused(missing: str) -> None:
    with pytest.raises(ValueError, match=f"{missing}="):
        figures.lines({"a": ([0, 1], [1, 2])}, **{**AXES, missing: " "})


def test_words_are_escaped_and_maths_is_kept() -> None:
    caption = figures.bars(
        {"<b>": 1.0}, x_label="F1", alt='a "quote" & <tag>', caption="`x < y` and $\\q{Q}_h$"
    )
    html = caption._repr_html_()
    assert "<code>x &lt; y</code>" in html
    assert "\\({Q}_h\\)" in html
    assert "<b>" not in html
    assert "<tag>" not in html


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=30))
def test_every_finite_point_lies_inside_the_drawing(points: list[tuple[float, float]]) -> None:
    xs, ys = zip(*points, strict=True)
    figure = figures.scatter({"points": (xs, ys)}, **AXES)
    circles = [node.attrib for node in drawing(figure).iter() if node.tag.endswith("circle")]
    assert len(circles) == len(points)
    for circle in circles:
        assert 0 <= float(circle["cx"]) <= 600
        assert 0 <= float(circle["cy"]) <= 340


@given(st.lists(st.floats(-50, 400), max_size=8), st.floats(1, 30))
def test_labels_are_moved_apart_and_no_further_than_they_must(wanted: list[float], gap: float) -> None:
    wanted = sorted(wanted)
    placed = apart(wanted, gap, 0, 300)
    assert all(b - a >= gap - 1e-6 for a, b in pairwise(placed))
    if gap * len(wanted) < 300:
        assert all(-1e-6 <= y <= 300 + 1e-6 for y in placed)
    if all(0 <= y <= 300 for y in wanted) and all(b - a >= gap for a, b in pairwise(wanted)):
        assert placed == pytest.approx(wanted, abs=1e-9)


def test_a_label_far_from_the_crowd_stays_at_its_line() -> None:
    assert apart([100.0, 299.0, 300.0], 20, 0, 300) == [100.0, 280.0, 300.0]


def test_series_without_a_colour_do_not_look_like_queries_or_keys() -> None:
    figure = figures.lines({name: ([0, 1], [0, i]) for i, name in enumerate("abcde")}, **AXES)
    assert not [name for name in ("query", "key", "value", "weights") if f"--afs-{name}" in figure.body]
    strokes = [n.attrib["style"] for n in drawing(figure).iter() if "stroke-width:2.5" in n.get("style", "")]
    assert len(set(strokes)) == 5


def test_a_line_breaks_where_a_value_is_not_finite() -> None:
    figure = figures.lines({"a": ([0, 1, 2, 3, 4], [0.0, 1.0, math.nan, 1.0, 2.0])}, **AXES)
    paths = [
        node.attrib["d"]
        for node in drawing(figure).iter()
        if "stroke-width:2.5" in node.attrib.get("style", "")
    ]
    assert paths[0].count("M") == 2
    assert "nan" not in figure.body


def test_tensors_arrays_and_lists_give_the_same_chart() -> None:
    x, y = [0.0, 1.0, 2.0], [1.0, 4.0, 2.0]
    plain, array, tensor = (
        figures.lines({"a": (make(x), make(y))}, **AXES).body for make in (list, np.array, torch.tensor)
    )
    assert plain == array == tensor


def test_what_cannot_be_drawn_is_said() -> None:
    with pytest.raises(ValueError, match="2 x values and 3 y values"):
        figures.lines({"a": ([0, 1], [1, 2, 3])}, **AXES)
    with pytest.raises(ValueError, match="logarithmic x axis cannot show -1"):
        figures.lines({"a": ([-1, 1], [1, 2])}, log_x=True, **AXES)
    with pytest.raises(ValueError, match="no finite y value"):
        figures.lines({"a": ([0, 1], [math.nan, math.inf])}, **AXES)
    with pytest.raises(ValueError, match="do not fit a 2 × 2 matrix"):
        figures.heatmap(np.eye(2), row_labels=["a"], column_labels=["b", "c"], **WORDS)
    with pytest.raises(ValueError, match=r"colors= names \['b'\]"):
        figures.lines({"a": ([0, 1], [1, 2])}, colors={"b": "key"}, **AXES)


def test_a_heatmap_writes_its_numbers_and_darkens_with_them() -> None:
    figure = figures.heatmap(
        [[0.25, 0.75], [1.0, -0.5]], row_labels=["q1", "q2"], column_labels=["k1", "k2"], **WORDS
    )
    assert {"0.25", "0.75", "1.00", "−0.50", "q1", "k2"} <= set(texts(figure))
    styles = [node.attrib["style"] for node in drawing(figure).iter() if node.tag.endswith("rect")]
    opacity = [float(style.rpartition(":")[2]) for style in styles]
    assert opacity[0] < opacity[1] < opacity[2]
    assert "--afs-mask" in styles[3]


@given(finite, finite)
def test_ticks_are_inside_rising_and_tell_their_place(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    if high - low < 1e-6 * max(1.0, abs(low), abs(high)):
        return
    ticks = Scale(low, high, 0, 100).ticks(5)
    values = [value for value, _ in ticks]
    assert 2 <= len(ticks) <= 12
    assert values == sorted(values)
    slack = 1e-6 * (high - low)
    assert all(low - slack <= value <= high + slack for value in values)
    assert len({words for _, words in ticks}) == len(ticks)


NUMBERS = [(0.5, "0.5"), (-2, "−2"), (1234.5, "1234.5"), (1e7, "10⁷"), (2.5e-5, "2.5·10⁻⁵"), (math.inf, "∞")]


@pytest.mark.parametrize(("value", "words"), NUMBERS)
def test_numbers_read_as_people_write_them(value: float, words: str) -> None:
    assert number(value) == words


def test_a_moving_figure_carries_its_script_its_data_and_a_still_picture() -> None:
    html = figures.moving("landing", data={"a": np.arange(3)}, **WORDS)._repr_html_()
    assert '{"a":[0,1,2]}' in html
    assert 'class="afs-fallback"' in html
    assert html.count("<script") == html.count("</script") == 1
    still = figures.bars({"a": 1.0}, x_label="x", **WORDS)
    assert still.body in figures.moving("landing", data=None, fallback=still, **WORDS)._repr_html_()


def test_data_cannot_end_the_script() -> None:
    html = figures.moving("landing", data=["</script><b>"], **WORDS)._repr_html_()
    assert html.count("</script") == 1


def test_data_that_json_cannot_carry_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        figures.moving("landing", data=[math.nan], **WORDS)
    with pytest.raises(TypeError, match="holds a set"):
        figures.moving("landing", data={1, 2}, **WORDS)
    with pytest.raises(FileNotFoundError, match=r"no figures/nothing\.js"):
        figures.moving("nothing", data=None, **WORDS)


def test_chapter_figures_are_found_by_name_and_others_are_not() -> None:
    assert figures.landing.one_query().alt
    with pytest.raises(AttributeError, match="no figure and no chapter named 'nonsense'"):
        figures.nonsense  # noqa: B018


def test_the_text_colours_can_be_read_in_both_themes() -> None:
    css = base._asset("base.css")
    for ground, theme in (
        ("#ffffff", css.split("html[data-theme")[0]),
        ("#14181f", css.split("html[data-theme")[1]),
    ):
        for name in ("query", "key", "value", "weights", "mask"):
            colour = theme.split(f"--afs-{name}-text: ")[1][:7]
            assert contrast(colour, ground) >= 4.5, (name, ground)


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
