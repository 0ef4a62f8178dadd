"""A chapter's Markdown as MyST, for the book: cards and folds, which `sphinx_course.py` draws, and links."""

from __future__ import annotations

import html
import re

from coursebuild.chapter import Exercise, Question
from coursebuild.directives import Directive
from coursebuild.references import Label
from coursebuild.render import Renderer


class BookMarkdown(Renderer):
    """Roles that MyST knows stay as they are; exercises become cards, hints become folds."""

    def exercise(self, exercise: Exercise, body: str) -> str:
        """A card, drawn by the book's own extension."""
        options = {
            "name": exercise.name,
            "difficulty": exercise.difficulty,
            "minutes": exercise.minutes,
            "points": f"{exercise.points:g}",
        }
        title = f"{exercise.number} {self.inline(exercise.title, exercise.line)}"
        return fenced("exercise", title, body, *(f":{key}: {value}" for key, value in options.items()))

    def question(self, question: Question, body: str) -> str:
        """A card, drawn by the book's own extension."""
        title = f"{question.number} {self.inline(question.title, question.line)}"
        return fenced("question", title, body, f":name: {question.name}", f":points: {question.points:g}")

    def hint(self, title: str, body: str) -> str:
        """A fold, drawn by the book's own extension."""
        return fenced("hint", title, body)

    def admonition(self, directive: Directive, title: str, body: str) -> str:
        """As MyST has it."""
        options = [f":{key}: {value}" for key, value in directive.options.items()]
        return fenced(directive.name, title, body, *options)

    def cite(self, role: str, keys: list[str]) -> str:
        """A citation that reads as in the notebook: authors and year."""
        return f"{{{role}}}`{','.join(keys)}`"

    def term(self, title: str, target: str) -> str:
        """A link to the glossary."""
        return f"{{term}}`{title} <{target}>`" if title else f"{{term}}`{target}`"

    def ref(self, title: str, label: Label) -> str:
        """A link with the title spelled out; cards are no targets of Sphinx, so those links are plain HTML."""
        if ".html#" in label.target:
            return f'<a class="reference internal" href="{label.target}">{html.escape(title)}</a>'
        return f"{{ref}}`{title.replace('`', '')} <{label.target}>`"

    def doc(self, title: str, target: str, name: str) -> str:
        """A link to a page."""
        return f"{{doc}}`{title} <{target}>`" if title else f"{{doc}}`{target}`"

    def eq(self, label: str) -> str:
        """A link to an equation."""
        return f"{{eq}}`{label}`"

    def prose(self, text: str) -> str:
        """Text as it is."""
        return text


def fenced(name: str, title: str, body: str, *options: str) -> str:
    """A colon fence with more colons than any that it holds."""
    longest = max((len(run) for run in re.findall(r"^ {0,3}(:{3,})", body, re.MULTILINE)), default=2)
    colons = ":" * max(3, longest + 1)
    head = "\n".join([f"{colons}{{{name}}} {title}".rstrip(), *options])
    return f"{head}\n\n{body}\n{colons}\n"
