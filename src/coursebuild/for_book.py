"""A chapter's Markdown as MyST, for the book: cards, folds and links that Sphinx checks again."""

from __future__ import annotations

import re

from coursebuild.chapter import Exercise, Question
from coursebuild.directives import Directive
from coursebuild.references import Label, anchor
from coursebuild.render import Renderer, amount, dots


class BookMarkdown(Renderer):
    """Roles that MyST knows stay as they are; exercises become cards, hints become folds."""

    def exercise(self, exercise: Exercise, body: str) -> str:
        """A card with the class `exercise`, whose first paragraph has the class `exercise-facts`."""
        facts = [
            f"difficulty {dots(exercise.difficulty)}",
            f"about {amount(exercise.minutes, 'minute')}",
            amount(exercise.points, "point"),
            f"`{exercise.name}`",
        ]
        label = anchor("exercise", self.chapter.slug, exercise.name)
        title = self.inline(exercise.title, exercise.line)
        return self.card("exercise", label, f"Exercise {exercise.number}: {title}", facts, body)

    def question(self, question: Question, body: str) -> str:
        """A card with the class `question`."""
        facts = [amount(question.points, "point"), "a written answer, graded by a person"]
        label = anchor("question", self.chapter.slug, question.name)
        title = self.inline(question.title, question.line)
        return self.card("question", label, f"Question {question.number}: {title}", facts, body)

    def card(self, kind: str, label: str, title: str, facts: list[str], body: str) -> str:
        """An admonition of our own class, with its label for links and a line of facts."""
        inner = f":::{{div}} {kind}-facts\n{' · '.join(facts)}\n:::\n\n{body}"
        return fenced("admonition", title, inner, f":class: {kind}", f":name: {label}")

    def hint(self, title: str, body: str) -> str:
        """A fold that needs no script."""
        return fenced("dropdown", f"Hint: {title}", body, ":class-container: hint")

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
        """A link with the title spelled out, which works for cards too."""
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
