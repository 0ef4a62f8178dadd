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
    shutil.copytree(ROOT / "book/_include", root / "book/_include")
    pages = ("howto", "data", "notation", "instructors", "threat_model", "glossary")
    for name in ("references.bib", "index.md", *(f"{page}.md" for page in pages)):
        shutil.copy(ROOT / "book" / name, root / "book")
    (root / f"book/chapters/{FIRST}.md").write_text(MARKDOWN)
    back = [{"file": name} for name in (*pages, "bibliography")]
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
    with pytest.raises(CourseError, match="Nothing was written"):
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
    extra = {"kill_matrix": "# What the hidden tests catch\n\n| a | b |\n|---|---|\n| one | two |\n"}
    home = build_html([page(code="return 2  # the solution")], paths=course, solutions=True, extra=extra)
    assert "What the hidden tests catch" in home.read_text()
    assert "<td><p>one</p></td>" in (home.parent / "kill_matrix.html").read_text()
    assert "html-instructor" in str(home)
    for name in ("index", f"chapters/{FIRST}", "glossary"):
        assert "Do not hand it to students" in (home.parent / f"{name}.html").read_text(), name


def with_solution(course: Paths) -> str:
    """Give the course a library with one solution and a hidden test; returns the line that must stay secret."""
    course.library.mkdir(parents=True, exist_ok=True)
    course.hidden.mkdir(parents=True, exist_ok=True)
    (course.library / "first.py").write_text(
        "def add_two(a, b):\n    ### BEGIN SOLUTION\n    total = sum([a, b], start=0)\n    return total\n"
        "    ### END SOLUTION\n"
    )
    (course.hidden / "first.py").write_text(
        "def adds(student, draw):\n    draw.secret_number_of_this_test(7)\n"
    )
    return "total = sum([a, b], start=0)"


@pytest.mark.parametrize("disguise", ["    {}", "\t{}  # a comment", "<b>{}</b>", "\x1b[38;5;28m{}\x1b[39m"])
def test_a_line_of_a_solution_is_found_in_a_cell_or_an_output(course: Paths, disguise: str) -> None:
    planted = with_solution(course)
    secret = page()
    notebook = nbformat.reads(secret.notebook, as_version=4)
    notebook.cells[1].outputs = [
        nbformat.v4.new_output(
            "error", ename="E", evalue="", traceback=["---> 3 " + disguise.format(planted)]
        )
    ]
    leaking = Page(FIRST, nbformat.writes(notebook), secret.download, secret.head)
    with pytest.raises(CourseError, match=r"shows readers line 3 of attention_from_scratch/first\.py"):
        build_html([leaking], paths=course)
    with pytest.raises(CourseError, match=r"shows readers line 3"):
        build_html([page(code=disguise.format(planted))], paths=course)


def test_a_leak_that_the_page_making_adds_is_removed(
    course: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = with_solution(course)

    def leaking(stage: Path, target: Path, doctrees: Path) -> None:
        html = "".join(f"<span>{word}</span> " for word in planted.split(" "))
        (target / "index.html").write_text(f"<pre>{html}</pre>")
        (target / "search.html").write_text("<p>draw.<em>secret_number_of_this_test</em>(7)</p>")
        (target / "howto.html").write_text("<p>Nothing but total = sum(a).</p>")

    monkeypatch.setattr("coursebuild.book._run_sphinx", leaking)
    with pytest.raises(CourseError, match=r"line 2 of hidden/first\.py") as raised:
        build_html([page()], paths=course, output=tmp_path / "html")
    assert "line 3 of attention_from_scratch/first.py" in str(raised.value)
    left = {path.name for path in (tmp_path / "html").rglob("*.html")}
    assert left == {"howto.html"}


def test_a_line_that_the_authors_show_is_no_leak(
    course: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coursebuild.book._run_sphinx", lambda stage, target, doctrees: None)
    planted = with_solution(course)
    chapter = course.chapters / f"{FIRST}.md"
    before = chapter.read_text()
    chapter.write_text(before + f"\nCould it be `{planted}`?\n")
    try:
        build_html([page(code=planted)], paths=course, output=tmp_path / "html")
    finally:
        chapter.write_text(before)
