"""A sample class: ten students' submissions of a chapter, made from the solutions and the named variants.

They are generated each time (the same bytes each time) and never committed, so they cannot fall behind the chapters.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode
from nbgrader.api import Gradebook

from attention_from_scratch.whole_files import write_whole
from autograder.class_setup import init_class, release_chapter
from autograder.classroom import Classroom
from autograder.variants.base import Variant, variants_of
from coursebuild.chapter import Chapter, load
from coursebuild.compose import solution_notebook
from coursebuild.errors import CourseError

HOSTILE = """
import os, sys, pathlib
print("<script>document.title = 'mine'</script>")
for place in ("gradebook.db", "../gradebook.db", "../../../gradebook.db"):
    try:
        pathlib.Path(place).write_text("10/10")
    except OSError as error:
        print(error)
import torch
torch.allclose = lambda *args, **kwargs: True
torch.testing.assert_close = lambda *args, **kwargs: None
"""
HELPER = """\
def passed(function, *args, **kwargs):
    return function(*args, **kwargs)"""
CALLS_HELPER = """


_mine = {name}


def {name}(*args, **kwargs):
    return passed(_mine, *args, **kwargs)"""
MARKER = "sample"
WRITTEN = (
    "Because the scores grow with the width, so the weights of one key go to one and the gradients vanish."
)


class Maker:
    """Makes notebooks of one chapter: the solution, with cells replaced."""

    def __init__(self, chapter: Chapter, release: NotebookNode) -> None:
        self.chapter, self.release = chapter, release
        self.solved = solution_notebook(chapter)
        self.names = [exercise.name for exercise in chapter.exercises]
        self.variants = variants_of(chapter.slug)

    def notebook(self, sources: dict[str, str], answers: bool = True) -> NotebookNode:
        """The solved notebook with the sources of some cells replaced, by grade id."""
        notebook = copy.deepcopy(self.solved)
        sources = dict(sources)
        for question in self.chapter.questions:
            sources.setdefault(question.name, WRITTEN if answers else self.stub(question.name))
        for cell in notebook.cells:
            grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
            if grade_id in sources:
                cell.source = sources[grade_id].rstrip("\n")
        return notebook

    def stub(self, name: str) -> str:
        """The cell of an exercise as released."""
        return next(
            str(cell.source)
            for cell in self.release.cells
            if cell.metadata.get("nbgrader", {}).get("grade_id") == name
        )

    def variant(self, name: str, right: bool, index: int = 0) -> dict[str, str]:
        """The source of one variant of an exercise, if there is one."""
        found = [v for v in self.variants if v.exercise == name and v.is_right == right]
        return {name: self._source(found[index % len(found)])} if found else {}

    def _source(self, variant: Variant) -> str:
        return variant.source(self.chapter.solution(variant.exercise))

    def mixed(self, right: bool, names: list[str], index: int = 0) -> dict[str, str]:
        """Variants of several exercises together."""
        return {k: v for name in names for k, v in self.variant(name, right, index).items()}

    def with_helper(self) -> NotebookNode:
        """Right work that needs a cell which the student added."""
        notebook = self.notebook({})
        first = self.names[0]
        for index, cell in enumerate(notebook.cells):
            if cell.metadata.get("nbgrader", {}).get("grade_id") == first:
                cell.source = f"{cell.source}{CALLS_HELPER.format(name=first)}"
                helper = nbformat.v4.new_code_cell(HELPER)
                helper["id"] = "my-helper"
                notebook.cells.insert(index, helper)
                break
        return notebook


def _last_half(maker: Maker) -> list[str]:
    return maker.names[len(maker.names) // 2 :]


STUDENTS: dict[str, Callable[[Maker], NotebookNode | str]] = {
    "amara.okafor": lambda m: m.notebook({}),
    "ben.adler": lambda m: m.notebook(m.mixed(True, m.names)),
    "chiara.rossi": lambda m: m.with_helper() if m.names[0].islower() else m.notebook({}),
    "daniel.kim": lambda m: m.notebook(m.variant(m.names[0], False)),
    "elif.yilmaz": lambda m: m.notebook(m.mixed(False, _last_half(m), 1)),
    "farid.haddad": lambda m: m.notebook(m.mixed(False, m.names, 2), answers=False),
    "greta.lindqvist": lambda m: m.notebook({name: m.stub(name) for name in _last_half(m)}),
    "hugo.martin": lambda m: copy.deepcopy(m.release),
    "ines.silva": lambda m: nbformat.writes(m.notebook({}))[:2000],
    "jonas.weber": lambda m: m.notebook({m.names[-1]: HOSTILE + m.stub(m.names[-1])}),
    "kaito.mori": lambda m: m.notebook({m.names[0]: "import os\nos._exit(0)"}),
}


def submissions(room: Classroom, name: str, count: int, kinds: Sequence[str]) -> dict[str, str]:
    """Any number of submissions of a released chapter, of the given kinds in turn: the notebooks' texts by student."""
    maker = Maker(load(name), nbformat.read(room.release(name), as_version=4))
    texts = {}
    for index in range(count):
        made = STUDENTS[kinds[index % len(kinds)]](maker)
        texts[f"student{index:03d}"] = made if isinstance(made, str) else nbformat.writes(made)
    return texts


def make_sample(directory: Path, chapters: list[str]) -> dict[str, list[str]]:
    """Make a class in `directory` with every chapter released and handed in; returns who handed in what.

    A sample class that is there already is used again, or made anew where a chapter's exercises have changed. A class
    of anybody's own is refused.
    """
    marker = Path(directory) / ".course" / MARKER
    if Path(directory).is_dir() and any(Path(directory).iterdir()) and not marker.is_file():
        raise CourseError(f"{directory} is not a sample class and is left alone; name a new directory")
    try:
        return _fill(directory, chapters)
    except CourseError:
        if not marker.is_file():
            raise
        shutil.rmtree(directory)
        return _fill(directory, chapters)


def _fill(directory: Path, chapters: list[str]) -> dict[str, list[str]]:
    room, _ = init_class(directory)
    write_whole(room.state / MARKER, "made by `course class sample`; it may be deleted\n")
    made: dict[str, list[str]] = {}
    for name in chapters:
        release_chapter(room, name)
        made[name] = hand_in(room, name)
    with Gradebook(room.database) as book:
        for student in STUDENTS:
            first, last = student.title().split(".")
            book.update_or_create_student(student, first_name=first, last_name=last)
    return made


def hand_in(room: Classroom, name: str) -> list[str]:
    """Write the sample submissions of one released chapter."""
    chapter = load(name)
    maker = Maker(chapter, nbformat.read(room.release(name), as_version=4))
    try:
        for student, make in STUDENTS.items():
            made = make(maker)
            path = room.submitted / student / name / f"{name}.ipynb"
            write_whole(path, made if isinstance(made, str) else nbformat.writes(made))
    except OSError as error:
        raise CourseError(
            f"cannot write the sample submissions in {room.submitted}: {error.strerror}"
        ) from error
    return list(STUDENTS)
