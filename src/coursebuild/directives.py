"""The directives of a chapter's Markdown, read into a tree.

The grammar is the colon fence of MyST: `:::{name} Title`, `:key: value` lines, a body, `:::`. An outer fence has
more colons than what it holds. Rendering the tree is the business of `render.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

OPENING = re.compile(r"^ {0,3}(?P<colons>:{3,})\{(?P<name>[^}]*)\}[ \t]*(?P<title>.*?)[ \t]*$")
CLOSING = re.compile(r"^ {0,3}(?P<colons>:{3,})[ \t]*$")
OPTION = re.compile(r"^ {0,3}:(?P<key>[A-Za-z_-]+):[ \t]*(?P<value>.*?)[ \t]*$")
CODE_FENCE = re.compile(r"^ {0,3}(?P<ticks>`{3,}|~{3,})(?P<info>.*)$")

ADMONITIONS = ("note", "tip", "warning", "admonition")


@dataclass(frozen=True)
class Shape:
    """What a directive takes."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    titled: bool = True


SHAPES = {
    "exercise": Shape(("name", "difficulty", "minutes", "points")),
    "question": Shape(("name", "points"), ("minutes",)),
    "hint": Shape(),
    "note": Shape(optional=("class",), titled=False),
    "tip": Shape(optional=("class",), titled=False),
    "warning": Shape(optional=("class",), titled=False),
    "admonition": Shape(optional=("class",)),
}


@dataclass
class Text:
    """Markdown without directives, and the line on which it starts."""

    lines: list[str]
    line: int


@dataclass
class Directive:
    """A directive with what stands in it."""

    name: str
    title: str
    line: int
    options: dict[str, str] = field(default_factory=dict)
    body: list[Text | Directive] = field(default_factory=list)


@dataclass
class Reading:
    """The blocks of a piece of Markdown and what is wrong with them, by line."""

    blocks: list[Text | Directive] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)


def read(markdown: str, line: int = 1) -> Reading:
    """Read Markdown that starts on line `line` of its file."""
    return _Reader(line).read(markdown.split("\n"))


def walk(blocks: list[Text | Directive]) -> Iterator[Directive]:
    """All directives, outer before inner."""
    for block in blocks:
        if isinstance(block, Directive):
            yield block
            yield from walk(block.body)


class _Reader:
    def __init__(self, line: int) -> None:
        self.line = line
        self.reading = Reading()
        self.open: list[tuple[int, Directive]] = []
        self.ticks = ""  # the code fence that we are in
        self.ticks_line = 0
        self.in_options = False

    def read(self, lines: list[str]) -> Reading:
        for text in lines:
            self.take(text)
            self.line += 1
        for _, directive in self.open:
            self.fault(
                directive.line,
                f"the directive {directive.name!r} is not closed before the end of its cell; "
                "close it with a line of the same number of colons, and keep code cells out of it",
            )
        if self.ticks:
            self.fault(self.ticks_line, f"the code fence is not closed; close it with {self.ticks}")
        for directive in walk(self.reading.blocks):
            self.check(directive)
        return self.reading

    def fault(self, line: int, text: str) -> None:
        self.reading.faults.append((line, text))

    def take(self, text: str) -> None:
        if self.ticks:
            self.add(text)
            closing = text.strip()
            if closing.startswith(self.ticks) and not closing.strip(self.ticks[0]):
                self.ticks = ""
        elif match := CODE_FENCE.match(text):
            self.open_code(match, text)
        elif match := OPENING.match(text):
            self.open_directive(match)
        elif match := CLOSING.match(text):
            self.close(len(match["colons"]))
        elif self.in_options and (match := OPTION.match(text)):
            self.open[-1][1].options[match["key"]] = match["value"]
        else:
            self.add(text)

    def open_code(self, match: re.Match[str], text: str) -> None:
        self.ticks, self.ticks_line = match["ticks"], self.line
        if match["info"].lstrip().startswith("{"):
            name = match["info"].strip()
            self.fault(
                self.line,
                f"{match['ticks']}{name} is not known in Markdown; write directives with colons, :::{name}",
            )
        self.add(text)

    def open_directive(self, match: re.Match[str]) -> None:
        colons = len(match["colons"])
        directive = Directive(match["name"].strip(), match["title"], self.line)
        if self.open and colons >= self.open[-1][0]:
            outer = self.open[-1][1]
            self.fault(
                self.line,
                f"the directive {directive.name!r} stands inside {outer.name!r} of line {outer.line}, which has no "
                "more colons; close the outer one first or give it one more colon",
            )
        self.blocks().append(directive)
        self.open.append((colons, directive))
        self.in_options = True

    def close(self, colons: int) -> None:
        if not self.open:
            self.fault(self.line, f"{':' * colons} closes nothing; remove it")
            return
        opened, directive = self.open.pop()
        if opened != colons:
            self.fault(
                self.line,
                f"{':' * colons} closes the directive {directive.name!r} of line {directive.line}, which was opened "
                f"with {opened} colons; use the same number",
            )
        self.in_options = False

    def add(self, text: str) -> None:
        self.in_options = False
        blocks = self.blocks()
        if not blocks or not isinstance(blocks[-1], Text):
            blocks.append(Text([], self.line))
        last = blocks[-1]
        assert isinstance(last, Text)
        last.lines.append(text)

    def blocks(self) -> list[Text | Directive]:
        return self.open[-1][1].body if self.open else self.reading.blocks

    def check(self, directive: Directive) -> None:
        shape = SHAPES.get(directive.name)
        if shape is None:
            known = ", ".join(SHAPES)
            self.fault(
                directive.line, f"there is no directive {directive.name!r}; the directives are {known}"
            )
            return
        for key in shape.required:
            if key not in directive.options:
                self.fault(directive.line, f"the {directive.name} lacks its {key}; add a line :{key}:")
        for key in directive.options:
            if key not in shape.required + shape.optional:
                known = ", ".join(shape.required + shape.optional) or "none"
                self.fault(
                    directive.line,
                    f"the {directive.name} has an unknown option {key!r}; its options are: {known}",
                )
        if shape.titled and not directive.title:
            self.fault(
                directive.line, f"the {directive.name} has no title; write it after {{{directive.name}}}"
            )
