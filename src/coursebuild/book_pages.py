"""The book's pages of the chapters: checked, run, and shown with stubs (or, for instructors, with solutions)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nbformat import NotebookNode

from coursebuild.book import Page
from coursebuild.chapter import Chapter, all_chapters, full_name
from coursebuild.check import faults_of
from coursebuild.compose import book_notebook, dumps, release_notebook
from coursebuild.errors import refuse
from coursebuild.execute import run_chapters
from coursebuild.paths import REPOSITORY, Paths
from coursebuild.reader import read_chapter


def chapter_pages(
    names: Sequence[str] | None = None,
    *,
    solutions: bool = False,
    paths: Paths = REPOSITORY,
    say: Callable[[str], None] = print,
    quiet: bool = False,
) -> list[Page]:
    """The pages of the named chapters, or of all; every fault of every chapter is raised at once."""
    wanted = [full_name(name, paths) for name in names] if names else all_chapters(paths)
    chapters = [read_chapter(name, paths) for name in sorted(set(wanted))]
    refuse(fault for chapter in chapters for fault in faults_of(chapter))
    executed = run_chapters(chapters, quiet=quiet)
    return [_page(chapter, executed[chapter.name], solutions) for chapter in chapters]


def _page(chapter: Chapter, executed: NotebookNode, solutions: bool) -> Page:
    return Page(
        name=chapter.name,
        notebook=dumps(book_notebook(chapter, executed, solutions=solutions)),
        download=dumps(release_notebook(chapter)),
        head={"part": chapter.part, "points": f"{chapter.points:g}", "minutes": chapter.minutes},
    )
