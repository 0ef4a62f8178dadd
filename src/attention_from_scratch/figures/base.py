"""What all figures share: the palette, the frame around a figure, and figures that move.

A figure is a value with `_repr_html_`: the last line of a cell shows it. It is one self-contained piece of HTML, with
its own style sheet and no request to anywhere, so it looks and works the same in the book, in JupyterLab, VS Code and
Colab, in light and dark.
"""

import html
import json
import re
from importlib import resources
from string import Template
from typing import Any, Final

PALETTE: Final = {
    "query": "#0072B2",
    "key": "#D55E00",
    "value": "#009E73",
    "weights": "#AA4499",
    "mask": "#888888",
}
"""One colour for each thing, everywhere; the dark variants stand in `base.css`. Safe for the colour-blind."""

_INK: Final = {"ink", "soft", "ochre", "rule", "ground", "raised"}
_MATHS: Final = re.compile(r"\$([^$]+)\$")
_CODE: Final = re.compile(r"`([^`]+)`")
_COLOUR_MACRO: Final = re.compile(r"\\[qkvw]\{([^{}]*)\}")

_FRAME: Final = Template(
    '<figure class="afs-figure"><style>$style</style>'
    '<div class="afs-stage">$body</div>'
    '<figcaption class="mathjax_process">$caption</figcaption>$script</figure>'
)

_SCRIPT: Final = Template("""<script>(() => {
const here = document.currentScript;
const figure = here && here.closest(".afs-figure");
if (!figure) return;
const stage = figure.querySelector(".afs-stage");
const kept = [...stage.childNodes];
const tools = $tools;
const draw = ($draw
);
const root = tools.el("div", {role: "group", "aria-label": $alt});
stage.replaceChildren(root);
try { draw(root, $data, tools); } catch (problem) {
  stage.replaceChildren(...kept);
  console.error("figure $name:", problem);
}
})();</script>""")


class Figure:
    """A piece of HTML with a caption, shown by a notebook or the book.

    `body` is trusted markup (an SVG, say); `alt` and `caption` are plain text, where `` `code` `` and `$maths$` are
    understood.
    """

    def __init__(self, body: str, *, alt: str, caption: str, script: str = "") -> None:
        for name, words in (("alt", alt), ("caption", caption)):
            if not words.strip():
                raise ValueError(f"a figure needs {name}=: a sentence that says what the figure shows")
        self.body = body
        self.alt = alt
        self.caption = caption
        self.script = script

    def _repr_html_(self) -> str:
        return _FRAME.substitute(
            style=_asset("base.css"), body=self.body, caption=rich_text(self.caption), script=self.script
        )

    def __repr__(self) -> str:
        return f"Figure: {self.alt}"


def svg(content: str, *, width: float, height: float, alt: str) -> str:
    """Frame SVG content as an image with a text for those who cannot see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{html.escape(alt)}">{content}</svg>'
    )


def moving(name: str, *, data: Any, alt: str, caption: str, fallback: "Figure | str | None" = None) -> Figure:
    """A figure that the reader can move: the script `figures/NAME.js`, run in the page with `data`.

    The script's file is one arrow function `(root, data, tools) => { … }`. It draws into `root`, an empty element;
    `tools` is described in `tools.js`. `data` is turned into JSON (arrays and tensors become lists). `fallback`, a
    plain chart or a sentence, stands there where scripts do not run; without it `alt` does.
    """
    source = _asset(f"{name}.js").strip().removesuffix(";")
    if "</script" in source.lower():
        raise ValueError(
            f'figures/{name}.js holds "</script": write it as "<\\/script", or it ends the page\'s script'
        )
    script = _SCRIPT.substitute(
        tools=_asset("tools.js").strip(), draw=source, data=_json(data), alt=_json(alt), name=name
    )
    return Figure(_still(fallback, alt), alt=alt, caption=caption, script=script)


def colour(name: str) -> str:
    """The CSS colour for a name of the palette (`query`), a shade of the page (`ink`, `soft`), or any CSS colour."""
    return f"var(--afs-{name})" if name in PALETTE or name in _INK else html.escape(name)


def text_colour(name: str) -> str:
    """Like `colour`, in the shade that is dark (or light) enough to be read as text."""
    return f"var(--afs-{name}-text)" if name in PALETTE else colour(name)


def rich_text(words: str) -> str:
    """Escape words for HTML, keeping `` `code` `` and `$maths$` (without the book's colour macros)."""
    text = _CODE.sub(r"<code>\1</code>", html.escape(words, quote=False))
    return _MATHS.sub(lambda match: "\\(" + _COLOUR_MACRO.sub(r"{\1}", match[1]) + "\\)", text)


def _still(fallback: Figure | str | None, alt: str) -> str:
    if isinstance(fallback, Figure):
        return fallback.body
    return f'<p class="afs-fallback">{rich_text(fallback or alt)}</p>'


def _asset(name: str) -> str:
    file = resources.files(__package__) / name
    if not file.is_file():
        raise FileNotFoundError(
            f"there is no figures/{name} in attention_from_scratch; write it beside base.py"
        )
    return file.read_text(encoding="utf-8")


def _json(data: Any) -> str:
    try:
        text = json.dumps(data, default=_plain, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except ValueError as problem:
        raise ValueError(
            "the data of a moving figure holds NaN or infinity, which JSON cannot carry"
        ) from problem
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(
        f"the data of a moving figure holds a {type(value).__name__}; give lists, numbers and strings"
    )
