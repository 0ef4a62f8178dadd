"""The book's builder on a small course: what is laid out, what is refused, what is left alone."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nbformat
import pytest
import yaml

from coursebuild.book import Page, build_html
from coursebuild.errors import CourseError
from coursebuild.paths import ROOT, Paths

pytestmark = pytest.mark.xdist_group("book")
FIRST = "01_first"
MARKDOWN = """# A first chapter

A {term}`query`, a citation {cite}`vaswani2017`, and $\\q{q}$.

:::{exercise} 1.1 Add `two` numbers
:name: add_two
:difficulty: 2
:minutes: 10
:points: 6
Write it.
:::

:::{hint} With $+$
Nothing else.
:::
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A course with this book's settings and pages, and one chapter of its own."""
    root = tmp_path_factory.mktemp("course")
    shutil.copy(ROOT / "_config.yml", root)
    (root / "book/chapters").mkdir(parents=True)
    shutil.copytree(ROOT / "book/_static", root / "book/_static")
    for name in ("glossary.md", "references.bib", "index.md", "howto.md", "notation.md"):
        shutil.copy(ROOT / "book" / name, root / "book")
    (root / f"book/chapters/{FIRST}.md").write_text(MARKDOWN)
    back = [{"file": name} for name in ("howto", "notation", "glossary", "bibliography")]
    parts = [
        {"caption": "One", "chapters": [{"file": f"chapters/{FIRST}"}]},
        {"caption": "Back", "chapters": back},
    ]
    contents = {"format": "jb-book", "root": "index", "parts": parts}
    (root / "book/bibliography.md").write_text("# Bibliography\n\n```{bibliography}\n```\n")
    (root / "book/_toc.yml").write_text(yaml.safe_dump(contents))
    return Paths(root)


def page(markdown: str = MARKDOWN, code: str = "raise NotImplementedError", name: str = FIRST) -> Page:
    cells = [nbformat.v4.new_markdown_cell(markdown), nbformat.v4.new_code_cell(code)]
    for index, cell in enumerate(cells):
        cell["id"] = f"cell-{index}"
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    text = nbformat.writes(nbformat.v4.new_notebook(cells=cells, metadata=metadata))
    return Page(name, text, text, {"part": "I", "points": "6", "minutes": 90})


@pytest.fixture(scope="module")
def built(course: Paths) -> Path:
    return build_html([page()], paths=course).parent


def test_the_chapter_shows_its_card_its_hint_and_its_facts(built: Path) -> None:
    text = (built / f"chapters/{FIRST}.html").read_text()
    assert 'id="exercise-add-two"' in text
    assert 'aria-label="difficulty 2 of 5"' in text
    assert '<details class="course-hint">' in text
    assert "about 1 and a half hours" in text
    assert f'href="../notebooks/{FIRST}.ipynb"' in text
    assert (built / f"notebooks/{FIRST}.ipynb").read_text() == page().download


def test_no_page_names_another_host_to_load_from(built: Path) -> None:
    loading = re.compile(
        r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=\"(https?:)?//[^\"]*\"", re.I
    )
    for path in built.rglob("*.html"):
        found = [
            match[0] for match in loading.finditer(path.read_text()) if 'rel="canonical"' not in match[0]
        ]
        assert not found, f"{path.name}: {found}"


def test_sources_and_stubs_are_not_published(built: Path) -> None:
    assert not (built / "_sources").exists()
    assert (built / "_static/mathjax/tex-svg.js").is_file()


def test_nothing_is_made_again_when_nothing_has_changed(course: Paths, built: Path) -> None:
    said: list[str] = []
    before = (built / "index.html").stat().st_mtime_ns
    build_html([page()], paths=course, say=said.append)
    assert (built / "index.html").stat().st_mtime_ns == before
    assert "up to date" in said[0]


@pytest.mark.parametrize("mark", ["### BEGIN SOLUTION", "### BEGIN HIDDEN TESTS"])
def test_a_solution_never_reaches_readers(course: Paths, built: Path, mark: str) -> None:
    before = (built / f"chapters/{FIRST}.html").read_bytes()
    with pytest.raises(CourseError, match="nothing was written"):
        build_html([page(code=f"def add():\n    {mark}\n    return 2")], paths=course)
    assert (built / f"chapters/{FIRST}.html").read_bytes() == before


def test_a_folder_of_somebody_else_is_left_alone(course: Paths, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(CourseError, match="--output"):
        build_html([page()], paths=course, output=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_chapter_that_the_contents_lack_is_named(course: Paths) -> None:
    with pytest.raises(CourseError, match=r"does not list 02_second"):
        build_html([page(), page(name="02_second")], paths=course)


def test_a_warning_stops_the_build_and_is_shown(course: Paths, tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="no-such-term"):
        build_html([page("# A chapter\n\n{term}`no-such-term`")], paths=course, output=tmp_path / "html")


def test_the_instructors_edition_says_so_on_every_page(course: Paths) -> None:
    home = build_html([page(code="return 2  # the solution")], paths=course, solutions=True)
    assert "html-instructor" in str(home)
    for name in ("index", f"chapters/{FIRST}", "glossary"):
        assert "Do not hand it to students" in (home.parent / f"{name}.html").read_text(), name
