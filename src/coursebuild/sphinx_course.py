"""The book's own Sphinx extension: what stands at a chapter's head, moving figures on pages without code, search.

    :::{moving-figure} module.function

shows the figure that `attention_from_scratch.figures.module.function()` makes. The cards and folds of a chapter need
nothing of their own: `for_book.py` writes them as MyST.
"""

from __future__ import annotations

import html
from importlib import import_module
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from coursebuild.sphinx_search import BilingualSearch


class MovingFigureDirective(Directive):
    """Puts a figure of the library into a page that has no code cells."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module, _, function = self.arguments[0].rpartition(".")
        figure = getattr(import_module(f"attention_from_scratch.figures.{module}"), function)()
        return [nodes.raw("", figure._repr_html_(), format="html")]


def put_chapter_head(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Under a chapter's title: its part, time and points, and the notebook to download."""
    chapter = app.config.course_chapters.get(docname.rpartition("/")[2])
    title = next(iter(doctree.findall(nodes.title)), None)
    if chapter is None or title is None or title.parent is None:
        return
    name = html.escape(docname.rpartition("/")[2])
    words = [f"Part {chapter['part']}"] if chapter.get("part") else []
    words += [f"about {_duration(chapter['minutes'])}"] if chapter.get("minutes") else []
    words += [f"{chapter['points']} points"] if chapter.get("points") else []
    facts = "".join(f"<span>{html.escape(word)}</span>" for word in words)
    link = f'<a class="notebook" href="../notebooks/{name}.ipynb" download>Download the notebook</a>'
    edition = '<span class="edition">Instructors’ edition</span>' if app.config.course_solutions else ""
    head = nodes.raw("", f'<p class="chapter-head">{edition}{facts}{link}</p>', format="html")
    title.parent.insert(title.parent.index(title) + 1, head)


def _duration(minutes: int) -> str:
    hours, rest = divmod(int(minutes), 60)
    half = " and a half" if rest == 30 else ""
    if not hours:
        return f"{rest} minutes"
    if rest not in (0, 30):
        return f"{hours} h {rest} min"
    return f"{hours}{half} hour{'s' if hours > 1 or half else ''}"


def mark_edition(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Say on every page of the instructors' edition that it is one."""
    if app.config.course_solutions:
        context["theme_announcement"] = (
            "Instructors’ edition: it shows the solutions. Do not hand it to students."
        )


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_config_value("course_chapters", {}, "env")
    app.add_config_value("course_solutions", False, "env")
    app.add_directive("moving-figure", MovingFigureDirective)
    app.add_search_language(BilingualSearch)
    app.connect("doctree-resolved", put_chapter_head)
    app.connect("html-page-context", mark_edition)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
