"""From a chapter to its notebooks: nbgrader's source, the student's, the solved one and the book page."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable
from typing import Any

import nbformat
from nbformat import NotebookNode

from coursebuild.chapter import Cell, Chapter
from coursebuild.directives import Directive, Text, read
from coursebuild.for_book import BookMarkdown
from coursebuild.for_notebook import NotebookMarkdown
from coursebuild.hidden import model_answers
from coursebuild.module_source import BEGIN, END, without_markers
from coursebuild.nbgrading import digest, grading, release_of
from coursebuild.references import gather
from coursebuild.render import Renderer, amount

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
HIDDEN = """\
# Hidden tests of {name}: {points}, when your notebook is graded. They ask more than the tests above.
### BEGIN HIDDEN TESTS
from autograder.plain import grade
grade("{slug}.{name}", globals())
### END HIDDEN TESTS"""
HEADER = """\
# {title}

**Chapter {number}** · {question} · {points} · about {hours}

> **How to work.** Read from the top and run each cell with Shift+Enter. Where a cell says `# YOUR CODE HERE`, write
> your code there in place of the line that raises `NotImplementedError`, run it, then run the test cell below it.
> Demos that come after an exercise need its solution. When all tests pass press **Validate**, or run
> `course validate {name}.ipynb` in a terminal. When your notebook is graded, hidden tests run too.
>
> This chapter with its outputs and moving figures is the page `chapters/{name}.html` of the book."""


def source_notebook(chapter: Chapter) -> NotebookNode:
    """The notebook that nbgrader's generate_assignment reads: solutions and hidden tests between markers."""
    answers = model_answers(chapter)
    renderer = NotebookMarkdown(chapter, gather(chapter.paths))
    cells: list[NotebookNode] = []
    for index, cell in enumerate(chapter.cells):
        if "book-only" in cell.tags:
            continue
        if cell.role == "markdown":
            cells += _prose(chapter, renderer, cell, answers)
        else:
            cells.append(_code(chapter, cell, _grade_id(chapter, index)))
        if cell is _last_tests(chapter, cell.target):
            cells.append(_hidden_cell(chapter, cell.target))
    return _notebook(chapter, cells)


def release_notebook(chapter: Chapter) -> NotebookNode:
    """The student's notebook, made from the source notebook by nbgrader's own preprocessors."""
    notebook = release_of(source_notebook(chapter))
    notebook.metadata["course"] = {"chapter": chapter.name, "release": digest(notebook)}
    return notebook


def solution_notebook(chapter: Chapter) -> NotebookNode:
    """The student's notebook with every solution and model answer filled in, its nbgrader metadata unchanged."""
    solved = release_notebook(chapter)
    sources = {grade_id(cell): cell.source for cell in source_notebook(chapter).cells if grade_id(cell)}
    for cell in solved.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = without_markers(sources[grade_id(cell)])
    return solved


def book_source(chapter: Chapter) -> NotebookNode:
    """The solved chapter with the book's markup, to be run; `book_notebook` makes the page of it."""
    renderer = BookMarkdown(chapter, gather(chapter.paths))
    cells = []
    for cell in chapter.cells:
        if cell.role == "markdown":
            made = nbformat.v4.new_markdown_cell(renderer.render(cell.source, cell.line))
        else:
            made = nbformat.v4.new_code_cell(without_markers(chapter.source_of(cell)))
            made.metadata["tags"] = [tag for tag in cell.tags if tag not in ("setup", "book-only")]
            made.metadata["course"] = {"role": cell.role, "name": cell.target, "line": cell.body_line}
        cells.append(made)
    return _notebook(chapter, cells)


def book_notebook(chapter: Chapter, executed: NotebookNode, *, solutions: bool = False) -> NotebookNode:
    """The book page: stubs in place of solutions, with the outputs of the solved run; visible tests fold."""
    page = copy.deepcopy(executed)
    stubs = {grade_id(cell): cell.source for cell in release_notebook(chapter).cells}
    for cell in page.cells:
        facts = cell.metadata.get("course", {})
        role, name = facts.get("role"), facts.get("name")
        tags = cell.metadata.setdefault("tags", []) if role else []
        if role == "exercise":
            cell.source = cell.source if solutions else stubs[name]
            tags.append("exercise-solution" if solutions else "exercise-stub")
        elif role == "tests":
            tags += ["hide-input", "visible-tests"]
    return page


def grade_id(cell: NotebookNode) -> str:
    """The nbgrader id of a cell, or nothing."""
    return str(cell.metadata.get("nbgrader", {}).get("grade_id", ""))


def dumps(notebook: NotebookNode) -> str:
    """A notebook as the text of its file; the same notebook always gives the same bytes."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def _prose(
    chapter: Chapter, renderer: NotebookMarkdown, cell: Cell, answers: dict[str, str]
) -> list[NotebookNode]:
    """A Markdown cell, cut behind each written question to make room for its answer cell."""
    made: list[NotebookNode] = []
    for blocks in _cut_behind_questions(read(cell.source, cell.line).blocks):
        text = Renderer.tidy(renderer.blocks(blocks))
        if f"# {chapter.title}" in text.split("\n") and (first := f"# {renderer.inline(chapter.title, 1)}"):
            made.append(nbformat.v4.new_markdown_cell(_header(chapter, renderer)))
            text = text.replace(first, "", 1).strip("\n")
        if text:
            made.append(nbformat.v4.new_markdown_cell(text))
        last = blocks[-1]
        if isinstance(last, Directive) and last.name == "question":
            made.append(_answer_cell(chapter, last.options["name"], answers))
    return made


def _cut_behind_questions(blocks: list[Text | Directive]) -> Iterable[list[Text | Directive]]:
    run: list[Text | Directive] = []
    for block in blocks:
        run.append(block)
        if isinstance(block, Directive) and block.name == "question":
            yield run
            run = []
    if run:
        yield run


def _header(chapter: Chapter, renderer: NotebookMarkdown) -> str:
    hours = (
        amount(round(chapter.minutes / 30) / 2, "hour")
        if chapter.minutes >= 90
        else f"{chapter.minutes} minutes"
    )
    return HEADER.format(
        title=renderer.inline(chapter.title, 1),
        number=chapter.number,
        question=renderer.inline(chapter.question, 1),
        points=amount(chapter.points, "point"),
        hours=hours,
        name=chapter.name,
    )


def _answer_cell(chapter: Chapter, name: str, answers: dict[str, str]) -> NotebookNode:
    points = next(question.points for question in chapter.questions if question.name == name)
    made = nbformat.v4.new_markdown_cell(f"{BEGIN}\n{answers[name]}\n{END}")
    made.metadata["nbgrader"] = grading(name, grade=True, solution=True, points=points)
    return made


def _code(chapter: Chapter, cell: Cell, identifier: str) -> NotebookNode:
    made = nbformat.v4.new_code_cell(chapter.source_of(cell))
    if cell.role == "exercise":
        made.metadata["nbgrader"] = grading(identifier, solution=True)
    elif cell.role == "tests":
        made.metadata["nbgrader"] = grading(identifier, grade=True, locked=True, points=0)
    elif cell.role in ("setup", "given"):
        made.metadata["nbgrader"] = grading(identifier, locked=True)
    tags = [tag for tag in cell.tags if tag in ("setup", "raises-exception")]
    if tags:
        made.metadata["tags"] = tags
    if "hide-input" in cell.tags or "remove-input" in cell.tags:
        made.metadata["jupyter"] = {"source_hidden": True}
    return made


def _hidden_cell(chapter: Chapter, name: str) -> NotebookNode:
    points = next(exercise.points for exercise in chapter.exercises if exercise.name == name)
    text = HIDDEN.format(slug=chapter.slug, name=name, points=amount(points, "point"))
    made = nbformat.v4.new_code_cell(text)
    made.metadata["nbgrader"] = grading(f"{name}-hidden", grade=True, locked=True, points=points)
    return made


def _last_tests(chapter: Chapter, name: str) -> Cell | None:
    cells = [cell for cell in chapter.cells if cell.role == "tests" and cell.target == name]
    return cells[-1] if cells else None


def _grade_id(chapter: Chapter, index: int) -> str:
    """The grade id of a code cell: `name`, `name-visible`, `name-visible-2`, `given-name`, `setup-1`."""
    cell = chapter.cells[index]
    before = [c for c in chapter.cells[:index] if (c.role, c.target) == (cell.role, cell.target)]
    nth = len(before) + 1
    match cell.role:
        case "tests":
            return f"{cell.target}-visible" + (f"-{nth}" if nth > 1 else "")
        case "given":
            return f"given-{cell.target}"
        case "setup":
            return f"setup-{nth}"
    return cell.target


def _notebook(chapter: Chapter, cells: list[NotebookNode]) -> NotebookNode:
    """A notebook with derived cell ids, so that the same chapter always gives the same bytes."""
    for index, cell in enumerate(cells):
        key = grade_id(cell) or f"{index}/{cell.cell_type}"
        cell["id"] = hashlib.blake2b(f"{chapter.slug}/{key}".encode(), digest_size=6).hexdigest()
    metadata: dict[str, Any] = {"kernelspec": dict(KERNEL), "language_info": {"name": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)
