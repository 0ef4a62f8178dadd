"""A chapter: its cells, exercises and questions, read from `book/chapters/NN_slug.md` and `src/…/slug.py`.

`load` refuses a chapter that cannot be read; whether it is a good chapter is the business of `check.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from coursebuild.errors import CourseError, Fault, refuse
from coursebuild.module_source import ModuleSource
from coursebuild.paths import REPOSITORY, Paths

NAME = re.compile(r"^(?P<number>\d\d)_(?P<slug>[a-z][a-z0-9_]*)$")


@dataclass
class Cell:
    """One cell of the source. `role` is markdown, exercise, tests, given, setup or demo."""

    role: str
    source: str
    line: int
    body_line: int
    target: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exercise:
    """A graded exercise, as its directive in the chapter describes it."""

    name: str
    title: str
    number: str
    difficulty: int
    minutes: int
    points: float
    line: int


@dataclass(frozen=True)
class Question:
    """A written question, graded by a person."""

    name: str
    title: str
    number: str
    points: float
    line: int


@dataclass
class Chapter:
    """Everything that the chapter's source says, and the module that its solutions come from."""

    paths: Paths
    name: str
    number: int
    slug: str
    title: str = ""
    question: str = ""
    part: str = ""
    points: float = 0
    minutes: int = 0
    cells: list[Cell] = field(default_factory=list)
    exercises: list[Exercise] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    module: ModuleSource | None = None
    faults: list[Fault] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """The chapter's source file."""
        return self.paths.chapters / f"{self.name}.md"

    @property
    def module_path(self) -> Path:
        """The chapter's reference module, a file or a package."""
        package = self.paths.library / self.slug / "__init__.py"
        return package if package.is_file() else self.paths.library / f"{self.slug}.py"

    @property
    def hidden_path(self) -> Path:
        """The chapter's hidden tests."""
        return self.paths.hidden / f"{self.slug}.py"

    def fault(self, line: int, text: str, path: Path | None = None) -> None:
        """Note something wrong in the chapter's source, or in another of its files."""
        self.faults.append(Fault(path or self.path, line, text))

    def solution(self, name: str) -> str:
        """The reference source of a function or class, with its markers."""
        if self.module is None or name not in self.module.spans:
            raise CourseError(f"{self.module_path} defines no {name}; write it there or correct the chapter")
        return self.module.source(name)

    def source_of(self, cell: Cell) -> str:
        """What a code cell holds when solved."""
        return self.solution(cell.target) if cell.role in ("exercise", "given") else cell.source

    @cached_property
    def setup_sources(self) -> list[str]:
        """What runs before a student's cells when a submission is graded: set-up cells and given code."""
        return [self.source_of(cell) for cell in self.cells if cell.role in ("setup", "given")]


def all_chapters(paths: Paths = REPOSITORY) -> list[str]:
    """The names of all chapters, `NN_slug`, in the order of the book."""
    return sorted(path.stem for path in paths.chapters.glob("*.md") if NAME.match(path.stem))


def full_name(name: str, paths: Paths = REPOSITORY) -> str:
    """`NN_slug` for a slug or an `NN_slug`."""
    known = all_chapters(paths)
    for candidate in known:
        if name in (candidate, candidate[3:]):
            return candidate
    listed = ", ".join(known) or f"none: {paths.chapters} is empty"
    raise CourseError(f"there is no chapter {name!r}; the chapters are {listed}")


def load(name: str, paths: Paths = REPOSITORY) -> Chapter:
    """A chapter by its slug or `NN_slug`; CourseError with every fault when it cannot be read."""
    from coursebuild.reader import read_chapter

    chapter = read_chapter(full_name(name, paths), paths)
    refuse(chapter.faults)
    return chapter
