"""A chapter's Markdown as plain Markdown, for notebooks: it must read well in any viewer."""

from __future__ import annotations

import html
import re

from coursebuild.chapter import Exercise, Question
from coursebuild.directives import Directive
from coursebuild.references import EQUATION, Citation, Label
from coursebuild.render import Renderer, amount, dots

MACRO = re.compile(r"\\([qkvw])\{")
LABEL_LINE = re.compile(r"^\([^()\s][^()\n]*\)=[ \t]*$\n?", re.MULTILINE)
COMMENT_LINE = re.compile(r"^%.*$\n?", re.MULTILINE)
PAGE_LINK = re.compile(r"\]\((?:\./)?(\d\d_[a-z0-9_]+)\.md(#[^)]*)?\)")


class NotebookMarkdown(Renderer):
    """Headings, quoted blocks and `<details>`: no syntax that only MyST knows."""

    def exercise(self, exercise: Exercise, body: str) -> str:
        """A heading, a line of facts, the text."""
        facts = [
            f"difficulty {dots(exercise.difficulty)}",
            f"about {amount(exercise.minutes, 'minute')}",
            amount(exercise.points, "point"),
            f"`{exercise.name}`",
        ]
        title = self.inline(exercise.title, exercise.line)
        return f"### Exercise {exercise.number}: {title}\n\n*{' · '.join(facts)}*\n\n{body}\n"

    def question(self, question: Question, body: str) -> str:
        """A heading, a line of facts, the text; the answer cell follows."""
        facts = f"*{amount(question.points, 'point')} · a written answer, graded by a person*"
        title = self.inline(question.title, question.line)
        return f"### Question {question.number}: {title}\n\n{facts}\n\n{body}\n"

    def hint(self, title: str, body: str) -> str:
        """A fold in plain HTML; the blank lines let viewers render the Markdown inside."""
        return f"<details>\n<summary>Hint: {_inline_html(title)}</summary>\n\n{body}\n\n</details>\n"

    def admonition(self, directive: Directive, title: str, body: str) -> str:
        """A quoted block that starts with its title in bold."""
        heading = title or directive.name.capitalize()
        lines = [f"**{heading}**", "", *body.split("\n")]
        return "\n".join(f"> {line}".rstrip() for line in lines) + "\n"

    def cite(self, role: str, keys: list[str]) -> str:
        """The authors and the year, in parentheses unless they are part of the sentence (`cite:t`)."""
        cited = [self.references.citations.get(key, Citation(key, "")) for key in keys]
        if role == "cite:t":
            return " and ".join(citation.textual for citation in cited)
        return f"({'; '.join(citation.short for citation in cited)})"

    def term(self, title: str, target: str) -> str:
        """The word."""
        return title or target

    def ref(self, title: str, label: Label) -> str:
        """The title of what is meant."""
        return self.inline(title, 1)

    def doc(self, title: str, target: str, name: str) -> str:
        """For a chapter a link to its notebook, for other pages their title."""
        shown = title or self.references.titles.get(name, name)
        return f"[{shown}]({name}.ipynb)" if re.match(r"\d\d_", name) else shown

    def eq(self, label: str) -> str:
        """The number that the equation is tagged with."""
        return f"({self.equations.get(label, '?')})"

    def prose(self, text: str) -> str:
        """Text without labels, comments and the book's macros; labelled equations get their number as a tag."""
        text = COMMENT_LINE.sub("", LABEL_LINE.sub("", text))
        text = PAGE_LINK.sub(r"](\1.ipynb)", plain_macros(text))
        return EQUATION.sub(lambda m: f"\\tag{{{self.equations.get(m['label'], '?')}}}\n$$", text)


def plain_macros(text: str) -> str:
    """The letters of `\\q{Q}`, `\\k{K}`, `\\v{V}`, `\\w{A}` without their colours."""
    while match := MACRO.search(text):
        depth, end = 1, match.end()
        while end < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        inner = text[match.end() : end - 1 if not depth else end]
        before = text[: match.start()]
        plain = f"{{{inner}}}" if len(inner) > 1 else inner
        # a command that stands before, as in \\cdot\\k{k}, must not swallow the letter
        gap = " " if plain[:1].isalpha() and re.search(r"\\[A-Za-z]+$", before) else ""
        text = before + gap + plain + text[end:]
    return text


def _inline_html(text: str) -> str:
    """Code spans and emphasis of a title as HTML, since Markdown is not read inside `<summary>`."""
    text = html.escape(text, quote=False)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    return re.sub(r"\*([^*\s][^*]*)\*", r"<em>\1</em>", text)
