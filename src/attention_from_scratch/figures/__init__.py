"""Every picture of the course: plain charts, and figures that the reader can move.

    from attention_from_scratch import figures

    figures.lines(
        {"with the scale": (d, scaled), "without": (d, raw)},
        x_label="width d", y_label="entropy of the weights (bits)", log_x=True,
        colors={"without": "mask"},
        alt="Without the scale the entropy falls towards zero as d grows; with it, it stays near 2.6 bits.",
        caption="Four hundred random queries for each width. Divided by $\\sqrt{d}$, attention stays undecided.",
    )

`lines`, `scatter` (points, with `curves=` through them), `bars` and `heatmap` draw charts. Colours are names: `query`,
`key`, `value`, `weights`, `mask`, `ink`, `ochre`, `soft`. The first four mean what they say, so a series without an
entry in `colors` gets ink, ochre or grey. Numbers may be lists, arrays or tensors.

**A figure that moves** is two files of this package named after the chapter's slug:

`figures/soft_lookup.py` gives a function for the notebook to call, `figures.soft_lookup.keys_on_a_line(...)`:

    from attention_from_scratch.figures.base import Figure, moving

    def keys_on_a_line(keys: list[float], values: list[float]) -> Figure:
        \"\"\"Drag the query along the keys; weights and the answer follow.\"\"\"
        return moving("soft_lookup", data={"keys": keys, "values": values}, alt="…", caption="…")

`figures/soft_lookup.js` is one arrow function. A chapter with several figures gives each its own file and passes that
file's name to `moving`:

    // Weights of the keys for the query under the finger.
    (root, data, tools) => {
      const { svg, x, y, layer } = tools.plot(root, { x: [0, 10], y: [0, 1], xLabel: "key", yLabel: "weight" });
      const bar = (k) => tools.svg("line", { x1: x(k), x2: x(k), y1: y(0), stroke: tools.color("weights") });
      const bars = data.keys.map(bar);
      const dot = tools.svg("circle", { cy: y(0), r: 10, fill: tools.color("query") });
      layer.append(...bars, dot);
      const say = tools.say(root);
      const draw = (q) => {
        const weights = tools.softmax(data.keys.map((k) => -((q - k) ** 2)));
        bars.forEach((bar, i) => tools.set(bar, { y2: y(weights[i]) }));
        tools.set(dot, { cx: x(q) });
        say(`query ${tools.format(q)} → ${tools.format(tools.dot(weights, data.values))}`);
      };
      tools.drag(dot, { label: "query", x: { scale: x, min: 0, max: 10, step: 0.1, value: 5 }, onMove: draw });
      draw(5);
    }

`tools` (see `tools.js`) has svg, el, set, clear, canvas, plot, grid, row, slider, choice, button, stepper, drag, say,
color, format, softmax, dot, sum, clamp, scale, ticks and path. Everything made with it works by mouse, touch and
keyboard, in light and dark: paint with `tools.color("query")` or the classes of `base.css`, never with a fixed colour.
Draw into `root` only, use no ids and no globals: the same figure may stand twice on a page.

A figure module imports no chapter module (a student's package lacks this chapter's and later ones): it is given the
numbers it shows.
"""

from importlib import import_module
from types import ModuleType

from attention_from_scratch.figures.base import PALETTE, Figure, moving
from attention_from_scratch.figures.charts import lines, scatter
from attention_from_scratch.figures.grids import bars, heatmap

__all__ = ["PALETTE", "Figure", "bars", "heatmap", "lines", "moving", "scatter"]


def __getattr__(name: str) -> ModuleType:
    """A chapter's figures are imported when they are asked for: `figures.soft_lookup`."""
    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as problem:
        if problem.name != f"{__name__}.{name}":
            raise
        raise AttributeError(
            f"attention_from_scratch.figures has no figure and no chapter named {name!r}"
        ) from None
