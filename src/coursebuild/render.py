"""Renders a chapter's Markdown: the walk over blocks and roles that notebooks and book pages share.

A subclass says what each directive and role becomes. What cannot be resolved is noted in `faults`, with its line.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

from coursebuild.chapter import Chapter, Exercise, Question
from coursebuild.directives import CODE_FENCE, Directive, Text, read
from coursebuild.references import Label, References, equations

# A role, or a code span to be left alone; whichever comes first in the text wins.
ROLE_OR_CODE = re.compile(
    r"\{(?P<role>[A-Za-z][\w:+-]*)\}(?P<ticks>`+)(?P<content>.+?)(?P=ticks)(?!`)|(?P<code>(?P<t>`+)(?!`).+?(?<!`)(?P=t)(?!`))",
    re.DOTALL,
)
EXPLICIT = re.compile(r"^(?P<title>.*?)\s*<(?P<target>[^<>]+)>$", re.DOTALL)
CITE_ROLES = ("cite", "cite:t", "cite:p")
ROLES = (*CITE_ROLES, "term", "ref", "doc", "eq")


class Renderer(ABC):
    """Renders the Markdown cells of one chapter."""

    def __init__(self, chapter: Chapter, references: References) -> None:
        self.chapter = chapter
        self.references = references
        self.faults: list[tuple[int, str]] = []
        self.equations = self._equations()

    def render(self, markdown: str, line: int = 1) -> str:
        """One Markdown cell, rendered."""
        return self.tidy(self.blocks(read(markdown, line).blocks))

    @staticmethod
    def tidy(text: str) -> str:
        """Rendered text without needless blank lines."""
        return re.sub(r"\n{3,}", "\n\n", text).strip("\n")

    def blocks(self, blocks: list[Text | Directive]) -> str:
        """Blocks one after the other."""
        return "\n".join(self.block(block) for block in blocks)

    def block(self, block: Text | Directive) -> str:
        """One block."""
        if isinstance(block, Text):
            return self.text(block)
        body = self.blocks(block.body).strip("\n")
        if block.name == "exercise":
            found = next((e for e in self.chapter.exercises if e.line == block.line), None)
            return self.exercise(found, body) if found else body
        if block.name == "question":
            asked = next((q for q in self.chapter.questions if q.line == block.line), None)
            return self.question(asked, body) if asked else body
        title = self.inline(block.title, block.line)
        return self.hint(title, body) if block.name == "hint" else self.admonition(block, title, body)

    def text(self, block: Text) -> str:
        """Text without directives: code blocks stay, roles and maths are rendered."""
        return "\n".join(
            "\n".join(lines) if is_code else self.inline("\n".join(lines), line)
            for is_code, line, lines in _split_code(block)
        )

    def inline(self, text: str, line: int) -> str:
        """Prose with its roles rendered and its code spans left alone."""
        pieces, at = [], 0
        for match in ROLE_OR_CODE.finditer(text):
            pieces.append(self.prose(text[at : match.start()]))
            where = line + text.count("\n", 0, match.start())
            pieces.append(
                match["code"] or self.role(match["role"], " ".join(match["content"].split()), where)
            )
            at = match.end()
        pieces.append(self.prose(text[at:]))
        return "".join(pieces)

    def role(self, role: str, content: str, line: int) -> str:
        """One role; what it points at must exist."""
        explicit = EXPLICIT.match(content)
        title, target = (explicit["title"], explicit["target"]) if explicit else ("", content)
        if role in CITE_ROLES:
            keys = [key.strip() for key in content.split(",")]
            for key in keys:
                if self.references.has_bibliography and key not in self.references.citations:
                    self.fault(line, f"the citation {key!r} is unknown; add it to book/references.bib")
            return self.cite(role, keys)
        if role == "term":
            if self.references.has_glossary and target.casefold() not in self.references.terms:
                self.fault(line, f"the term {target!r} is unknown; add it to book/glossary.md")
            return self.term(title, target)
        if role == "ref":
            return self._ref(title, target, line)
        if role == "doc":
            return self._doc(title, target, line)
        if role == "eq":
            if content not in self.equations:
                self.fault(line, f"the equation {content!r} is unknown; label one with '$$ ({content})'")
            return self.eq(content)
        self.fault(line, f"there is no role {{{role}}}; the roles are {', '.join(ROLES)}")
        return content

    def fault(self, line: int, text: str) -> None:
        """Note something that cannot be rendered."""
        self.faults.append((line, text))

    def _ref(self, title: str, target: str, line: int) -> str:
        labels = self.references.labels
        label = labels.get(target) or labels.get(f"{self.chapter.slug}.{target}")
        if label is None:
            self.fault(line, f"the label {target!r} is unknown; write ({target})= above the heading it names")
            label = Label(target, target)
        return self.ref(title or label.title, label)

    def _doc(self, title: str, target: str, line: int) -> str:
        name = target.lstrip("./").removeprefix("chapters/")
        if name not in self.references.titles:
            known = ", ".join(sorted(self.references.titles))
            self.fault(line, f"there is no page {target!r}; the pages are {known}")
        return self.doc(title, target, name)

    def _equations(self) -> dict[str, int]:
        text = "\n".join(cell.source for cell in self.chapter.cells if cell.role == "markdown")
        return {label: number for number, label in enumerate(equations(text), 1)}

    @abstractmethod
    def prose(self, text: str) -> str:
        """Text between roles and code spans."""

    @abstractmethod
    def exercise(self, exercise: Exercise, body: str) -> str:
        """The card of an exercise."""

    @abstractmethod
    def question(self, question: Question, body: str) -> str:
        """The card of a written question."""

    @abstractmethod
    def hint(self, title: str, body: str) -> str:
        """A hint that folds."""

    @abstractmethod
    def admonition(self, directive: Directive, title: str, body: str) -> str:
        """A note, tip, warning or titled box."""

    @abstractmethod
    def cite(self, role: str, keys: list[str]) -> str:
        """A citation."""

    @abstractmethod
    def term(self, title: str, target: str) -> str:
        """A word that the glossary explains."""

    @abstractmethod
    def ref(self, title: str, label: Label) -> str:
        """A reference to a heading, an exercise or a question."""

    @abstractmethod
    def doc(self, title: str, target: str, name: str) -> str:
        """A reference to a page."""

    @abstractmethod
    def eq(self, label: str) -> str:
        """A reference to an equation."""


def amount(number: float, unit: str) -> str:
    """`1 point`, `2 points`, `2.5 points`."""
    return f"{number:g} {unit}" + ("" if number == 1 else "s")


def dots(difficulty: int) -> str:
    """A difficulty of 1 to 5 as filled and empty dots."""
    return "●" * difficulty + "○" * (5 - difficulty)


def _split_code(block: Text) -> list[tuple[bool, int, list[str]]]:
    """The lines of a text as runs of code blocks and prose, each with its first line number."""
    runs: list[tuple[bool, int, list[str]]] = []
    ticks = ""
    for number, text in enumerate(block.lines, block.line):
        opening = CODE_FENCE.match(text)
        is_code = bool(ticks or opening)
        if not runs or runs[-1][0] != is_code or (opening and not ticks):
            runs.append((is_code, number, []))
        runs[-1][2].append(text)
        if ticks and text.strip().startswith(ticks) and not text.strip().strip(ticks[0]):
            ticks = ""
        elif not ticks and opening:
            ticks = opening["ticks"]
    return runs
