"""Reads a chapter's source file into a `Chapter`, noting everything that is wrong with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from coursebuild import directives
from coursebuild.chapter import NAME, Cell, Chapter, Exercise, Question
from coursebuild.errors import CourseError
from coursebuild.module_source import read_module
from coursebuild.paths import Paths

ROLES = ("exercise", "tests", "given")
TAGS = ("setup", "book-only", "hide-input", "hide-output", "remove-input", "raises-exception")
FACTS = {"question": str, "part": str, "points": float, "minutes": int}
IDENTIFIER = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


def read_chapter(name: str, paths: Paths) -> Chapter:
    """A chapter with its faults noted, not raised."""
    match = NAME.match(name)
    assert match, name
    chapter = Chapter(paths, name, int(match["number"]), match["slug"])
    text = _text(chapter.path)
    notebook = _notebook(chapter, text)
    if notebook is None:
        return chapter
    _read_facts(chapter, notebook.metadata)
    lines = text.splitlines()
    for cell, start in zip(notebook.cells, notebook.metadata["source_map"], strict=True):
        if cell.cell_type == "markdown":
            _read_markdown(chapter, cell.source, _first_line(lines, start))
        else:
            _read_code(chapter, cell, start, lines)
    if not chapter.title:
        chapter.fault(1, "the chapter has no title; start it with a line '# Title'")
    _read_module(chapter)
    return chapter


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CourseError(f"{path} is not UTF-8 text; save it as UTF-8") from None


def _notebook(chapter: Chapter, text: str) -> Any:
    from jupytext.myst import MystMetadataParsingError, myst_to_notebook

    if not text.startswith("---\n"):
        chapter.fault(
            1, "the chapter has no front matter; start it with the '---' block shown in CONTRIBUTING.md"
        )
        return None
    try:
        return myst_to_notebook(text, add_source_map=True)
    except MystMetadataParsingError as error:
        line = re.search(r"at line (\d+)", str(error))
        said = " ".join(str(error).split())
        chapter.fault(
            int(line[1]) if line else 1, f"the options are not YAML ({said}); quote or correct them"
        )
    except Exception as error:  # a parser that breaks on the text
        chapter.fault(
            1, f"the file cannot be read as MyST ({type(error).__name__}: {error}); check its front matter"
        )
    return None


def _read_facts(chapter: Chapter, metadata: Any) -> None:
    facts = metadata.get("course") or {}
    for key, kind in FACTS.items():
        if key not in facts:
            chapter.fault(1, f"the front matter lacks course: {key}; add it")
            continue
        try:
            setattr(chapter, key, kind(facts[key]))
        except (TypeError, ValueError):
            chapter.fault(1, f"course: {key} is {facts[key]!r}; write a number")


def _first_line(lines: list[str], start: int) -> int:
    """The line, from 1, of the first text at or after the index `start`."""
    while start < len(lines) and not lines[start].strip():
        start += 1
    return start + 1


def _read_markdown(chapter: Chapter, source: str, line: int) -> None:
    chapter.cells.append(Cell("markdown", source, line, line))
    reading = directives.read(source, line)
    for where, text in reading.faults:
        chapter.fault(where, text)
    for directive in directives.walk(reading.blocks):
        if directive.name == "exercise":
            _read_exercise(chapter, directive)
        elif directive.name == "question":
            _read_question(chapter, directive)
    if not chapter.title and (match := re.search(r"^# +(.+?) *$", source, re.MULTILINE)):
        chapter.title = match[1]


def _number(chapter: Chapter, directive: directives.Directive, key: str) -> float:
    text = directive.options.get(key, "0")
    try:
        return float(text)
    except ValueError:
        chapter.fault(directive.line, f"the {directive.name}'s {key} is {text!r}; write a number")
        return 0


def _read_exercise(chapter: Chapter, directive: directives.Directive) -> None:
    difficulty = int(_number(chapter, directive, "difficulty"))
    if "difficulty" in directive.options and not 1 <= difficulty <= 5:
        chapter.fault(directive.line, f"the exercise's difficulty is {difficulty}; write 1 to 5")
    exercise = Exercise(
        name=_identifier(chapter, directive),
        title=directive.title,
        number=f"{chapter.number}.{len(chapter.exercises) + 1}",
        difficulty=difficulty,
        minutes=int(_number(chapter, directive, "minutes")),
        points=_number(chapter, directive, "points"),
        line=directive.line,
    )
    chapter.exercises.append(exercise)


def _read_question(chapter: Chapter, directive: directives.Directive) -> None:
    number = f"{chapter.number}.{chr(ord('A') + len(chapter.questions))}"
    name, points = _identifier(chapter, directive), _number(chapter, directive, "points")
    chapter.questions.append(Question(name, directive.title, number, points, directive.line))


def _identifier(chapter: Chapter, directive: directives.Directive) -> str:
    name = directive.options.get("name", "")
    if name and not IDENTIFIER.match(name):
        chapter.fault(
            directive.line, f"the name {name!r} is not an identifier; use letters, digits and underscores"
        )
    return name


def _read_code(chapter: Chapter, cell: Any, line: int, lines: list[str]) -> None:
    options, source = dict(cell.metadata), cell.source.strip("\n")
    body_line = line + 1
    while body_line <= len(lines) and (
        lines[body_line - 1].startswith(":") or not lines[body_line - 1].strip()
    ):
        body_line += 1
    tags = options.pop("tags", [])
    tags = tuple(str(tag) for tag in ([tags] if isinstance(tags, str) else tags or []))
    for tag in tags:
        if tag not in TAGS:
            chapter.fault(line, f"there is no cell tag {tag!r}; the tags are {', '.join(TAGS)}")
    roles = [key for key in options if key in ROLES]
    for key in options:
        if key not in ROLES:
            chapter.fault(
                line, f"the code cell has an unknown option {key!r}; use {', '.join(ROLES)} or tags"
            )
    role = roles[0] if roles else "setup" if "setup" in tags else "demo"
    if len(roles) > 1 or (roles and "setup" in tags):
        chapter.fault(line, "a cell is one of exercise, tests, given or set-up; make several cells of it")
    target = _target(chapter, str(options[role]), role, line) if roles else ""
    if role in ("exercise", "given") and source:
        chapter.fault(
            line,
            f"the {role} cell has a body; leave it empty, the code comes from {chapter.module_path.name}",
        )
    if role not in ("exercise", "given") and not source:
        chapter.fault(line, "the code cell is empty; write code or remove it")
    if not _is_closed(lines, line):
        chapter.fault(line, "the code cell is not closed; end it with a line of backticks like its first")
    chapter.cells.append(Cell(role, source, line, body_line, target, tags))


def _is_closed(lines: list[str], line: int) -> bool:
    """Whether a line of backticks ends the fence opened on `line` before another cell opens."""
    opening = re.match(r" *(`+|~+)", lines[line - 1])
    if opening is None:
        return True
    for text in lines[line:]:
        if text.strip() and not text.strip().strip(opening[1][0]) and len(text.strip()) >= len(opening[1]):
            return True
        if text.startswith("```{code-cell}"):
            return False
    return False


def _target(chapter: Chapter, text: str, role: str, line: int) -> str:
    slug, _, name = text.partition(".")
    if slug != chapter.slug or not IDENTIFIER.match(name):
        chapter.fault(
            line, f":{role}: is {text!r}; write {chapter.slug}.name, with the name of a function or class"
        )
    return name


def _read_module(chapter: Chapter) -> None:
    path = chapter.module_path
    try:
        chapter.module = read_module(path)
    except FileNotFoundError:
        chapter.fault(1, f"the reference module is missing; write {path.name}", path)
    except SyntaxError as error:
        chapter.fault(
            error.lineno or 1, f"the reference module is not Python ({error.msg}); correct it", path
        )
