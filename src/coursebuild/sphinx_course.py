"""The book's own Sphinx extension: cards for exercises and questions, hints that fold, and the head of a chapter.

:::{exercise} Title             a card; :name:, :difficulty: 1-5, :minutes:, :points:
:::{question} Title             a card for a written answer; :name:, :points:
:::{hint} Title                 folds
:::{moving-figure} module.name  the figure that `attention_from_scratch.figures.module.name()` makes
"""

from __future__ import annotations

import html
from importlib import import_module
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import OptionSpec
from sphinx.writers.html5 import HTML5Translator

from coursebuild.sphinx_search import BilingualSearch


class card(nodes.General, nodes.Element):
    """An exercise or a question; its first child is the title."""


class fold(nodes.General, nodes.Element):
    """A hint: its first child, the summary, shows; the rest folds away."""


class card_title(nodes.TextElement):
    """The title of a card or the summary of a fold."""


class CardDirective(SphinxDirective):
    """`exercise` and `question`: the same card with different words on it."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar[OptionSpec] = {
        "name": directives.unchanged_required,
        "difficulty": directives.positive_int,
        "minutes": directives.positive_int,
        "points": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        """Called by Sphinx."""
        node = card(kind=self.name, options=dict(self.options))
        node["ids"] = [f"{self.name}-{nodes.make_id(self.options['name'])}"]
        return _filled(self, node)


class HintDirective(SphinxDirective):
    """A hint that the reader opens."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Called by Sphinx."""
        return _filled(self, fold())


def _filled(directive: SphinxDirective, node: nodes.Element) -> list[nodes.Node]:
    words, _ = directive.state.inline_text(directive.arguments[0], directive.lineno)
    node += card_title("", "", *words, kind="hint" if isinstance(node, fold) else node["kind"])
    directive.state.nested_parse(directive.content, directive.content_offset, node)
    return [node]


class MovingFigureDirective(Directive):
    """Puts a figure of the library into a page that has no code cells."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module, _, function = self.arguments[0].rpartition(".")
        figure = getattr(import_module(f"attention_from_scratch.figures.{module}"), function)()
        return [nodes.raw("", figure._repr_html_(), format="html")]


LABELS = {"exercise": "Exercise", "question": "Write"}


def _facts(options: dict[str, Any]) -> str:
    facts = []
    if level := options.get("difficulty"):
        dots = "".join(f'<i class="{"on" if i < level else "off"}"></i>' for i in range(5))
        facts.append(f'<span class="dots" role="img" aria-label="difficulty {level} of 5">{dots}</span>')
    if minutes := options.get("minutes"):
        facts.append(f"<span>{minutes} min</span>")
    if points := options.get("points"):
        facts.append(f"<span>{html.escape(points)} point{'' if points == '1' else 's'}</span>")
    return "".join(facts)


def visit_card(translator: HTML5Translator, node: nodes.Element) -> None:
    """The head of a card: what it is, and its facts."""
    kind, identifier = node["kind"], html.escape(node["ids"][0])
    translator.body.append(
        f'<section class="course-card {kind}" id="{identifier}"><div class="head">'
        f'<span class="kind">{LABELS[kind]}</span><span class="facts">{_facts(node["options"])}</span></div>'
    )


def depart_card(translator: HTML5Translator, node: nodes.Element) -> None:
    """The end of a card."""
    translator.body.append("</section>")


def visit_fold(translator: HTML5Translator, node: nodes.Element) -> None:
    """A fold that needs no script."""
    translator.body.append('<details class="course-hint">')


def depart_fold(translator: HTML5Translator, node: nodes.Element) -> None:
    """The end of a fold."""
    translator.body.append("</div></details>")


def visit_card_title(translator: HTML5Translator, node: nodes.Element) -> None:
    """The title of a card, or what shows of a fold."""
    hint = node["kind"] == "hint"
    translator.body.append('<summary><span class="kind">Hint</span> ' if hint else '<p class="card-title">')


def depart_card_title(translator: HTML5Translator, node: nodes.Element) -> None:
    """The end of the title."""
    translator.body.append("</summary><div>" if node["kind"] == "hint" else "</p>")


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
    for name in LABELS:
        app.add_directive(name, CardDirective)
    app.add_directive("hint", HintDirective)
    app.add_directive("moving-figure", MovingFigureDirective)
    app.add_node(card, html=(visit_card, depart_card))
    app.add_node(fold, html=(visit_fold, depart_fold))
    app.add_node(card_title, html=(visit_card_title, depart_card_title))
    app.add_search_language(BilingualSearch)
    app.connect("doctree-resolved", put_chapter_head)
    app.connect("html-page-context", mark_edition)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
