"""The book's own Sphinx extension: exercise cards, hints that fold, questions, and what stands at a chapter's head.

:::{exercise} Title        a card; :name:, :difficulty: 1-5, :minutes:, :points:
:::{hint} Title            folds
:::{question} Title        a card for a written answer; :name:, :points:
:::{moving-figure} NAME    the figure that `attention_from_scratch.figures.NAME` makes, `module.function`
"""

from __future__ import annotations

import html
from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from coursebuild.sphinx_search import BilingualSearch


class card(nodes.General, nodes.Element):
    """An exercise or a question."""


class fold(nodes.General, nodes.Element):
    """A hint: its summary shows, the rest folds away."""


def _difficulty(words: str) -> int:
    value = directives.nonnegative_int(words)
    if not 1 <= value <= 5:
        raise ValueError("the difficulty is a number from 1 to 5")
    return value


class CardDirective(SphinxDirective):
    """`exercise` and `question`: the same card with different words on it."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar[dict[str, Callable[[str], Any]]] = {  # type: ignore[misc]
        "name": directives.unchanged_required,
        "difficulty": _difficulty,
        "minutes": directives.positive_int,
        "points": directives.nonnegative_int,
    }

    def run(self) -> list[nodes.Node]:
        node = card(kind=self.name, title=self.arguments[0], options=dict(self.options))
        node["ids"] = [f"{self.name}-{nodes.make_id(self.options.get('name') or self.arguments[0])}"]
        self.state.nested_parse(self.content, self.content_offset, node)
        return [node]


class HintDirective(SphinxDirective):
    """A hint that the reader opens."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        node = fold(title=self.arguments[0])
        self.state.nested_parse(self.content, self.content_offset, node)
        return [node]


class MovingFigureDirective(Directive):
    """Puts a figure of the library into a page that has no code cells."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module, _, function = self.arguments[0].rpartition(".")
        figure = getattr(import_module(f"attention_from_scratch.figures.{module}"), function)()
        return [nodes.raw("", figure._repr_html_(), format="html")]


def _facts(options: dict[str, Any]) -> str:
    facts = []
    if level := options.get("difficulty"):
        dots = "".join(f'<i class="{"on" if i < level else "off"}"></i>' for i in range(5))
        facts.append(f'<span class="dots" role="img" aria-label="difficulty {level} of 5">{dots}</span>')
    if minutes := options.get("minutes"):
        facts.append(f"<span>{minutes} min</span>")
    if points := options.get("points"):
        facts.append(f"<span>{points} point{'s' if points != 1 else ''}</span>")
    return "".join(facts)


def visit_card(translator: HTML5Translator, node: nodes.Element) -> None:
    kind, title = node["kind"], html.escape(node["title"])
    label = {"exercise": "Exercise", "question": "Write"}[kind]
    translator.body.append(
        f'<section class="course-card {kind}" id="{node["ids"][0]}" aria-label="{label}: {title}"><div class="head">'
        f'<span class="kind">{label}</span><span class="facts">{_facts(node["options"])}</span>'
        f'</div><p class="card-title">{title}</p>'
    )


def depart_card(translator: HTML5Translator, node: nodes.Element) -> None:
    translator.body.append("</section>")


def visit_fold(translator: HTML5Translator, node: nodes.Element) -> None:
    title = html.escape(node["title"])
    translator.body.append(
        f'<details class="course-hint"><summary><span class="kind">Hint</span> {title}</summary><div>'
    )


def depart_fold(translator: HTML5Translator, node: nodes.Element) -> None:
    translator.body.append("</div></details>")


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
    for name in ("exercise", "question"):
        app.add_directive(name, CardDirective, override=True)
    app.add_directive("hint", HintDirective, override=True)
    app.add_directive("moving-figure", MovingFigureDirective)
    app.add_node(card, html=(visit_card, depart_card))
    app.add_node(fold, html=(visit_fold, depart_fold))
    app.add_search_language(BilingualSearch)
    app.connect("doctree-resolved", put_chapter_head)
    app.connect("html-page-context", mark_edition)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
