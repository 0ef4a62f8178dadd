"""Code in the book whose long lines go on below, indented a little more than they began, on any width of page.

Pygments marks each line; here the mark becomes `<span class="line" style="--indent:8">`, and `course.css` does
the rest.
What is copied from the page is the code as it was.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

_MARK = "code-line"
# the mark of a line, and the spaces with which the line begins, perhaps inside other marks (a docstring's, say)
_LINE = re.compile(rf'<span id="{_MARK}-\d+">(?P<start>(?:<span class="\w+">)* *)')


def mark_lines(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Have every line of source code marked; other blocks (outputs, say) keep their columns and scroll."""
    for block in doctree.findall(nodes.literal_block):
        if block.get("language") not in ("none", "text", "myst-ansi", None):
            block["highlight_args"] = {**block.get("highlight_args", {}), "linespans": _MARK}


def indent_lines(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Put the depth of every line into its mark, which loses its id (blocks would share them)."""
    if "body" in context:
        context["body"] = _LINE.sub(_with_indent, context["body"])


def _with_indent(match: re.Match[str]) -> str:
    start = match["start"]
    kind = "line prose" if 'class="sd"' in start else "line"  # a docstring goes on flush, as text does
    return f'<span class="{kind}" style="--indent:{start.count(" ") - start.count("<")}">{start}'


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("doctree-resolved", mark_lines)
    app.connect("html-page-context", indent_lines)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
