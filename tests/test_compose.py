"""The composer on a small course and on the real chapters: what notebooks hold, and what they must not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from small_course import CHAPTER, edit, make

from coursebuild import compose
from coursebuild.chapter import Chapter, all_chapters, load
from coursebuild.compose import grade_id
from coursebuild.errors import CourseError
from coursebuild.module_source import BEGIN, END
from coursebuild.paths import REPOSITORY, ROOT, Paths


@pytest.fixture
def course(tmp_path: Path) -> Paths:
    return make(tmp_path)


@pytest.fixture
def first(course: Paths) -> Chapter:
    return load("first", course)


def by_id(notebook: NotebookNode) -> dict[str, NotebookNode]:
    return {grade_id(cell): cell for cell in notebook.cells if grade_id(cell)}


def text_of(notebook: NotebookNode) -> str:
    return "\n".join(cell.source for cell in notebook.cells)


def test_chapters_are_listed_in_order_and_found_by_either_name(course: Paths) -> None:
    assert all_chapters(course) == ["01_first", "02_second"]
    assert load("first", course).name == load("01_first", course).name == "01_first"
    with pytest.raises(CourseError, match=r"no chapter 'third'; the chapters are 01_first, 02_second"):
        load("third", course)


def test_a_chapter_knows_its_exercises_and_questions(first: Chapter) -> None:
    assert [(e.name, e.number, e.difficulty, e.points) for e in first.exercises] == [
        ("mean", "1.1", 2, 3),
        ("Counter", "1.2", 1, 2),
    ]
    assert [(q.name, q.points) for q in first.questions] == [("why_divide", 2)]
    assert first.setup_sources == ["import math", "SCALE = 1.0"]


def test_the_release_has_nbgraders_cells(first: Chapter) -> None:
    cells = by_id(compose.release_notebook(first))
    assert list(cells) == [
        "setup-1", "given-SCALE", "mean", "mean-visible", "mean-visible-2", "mean-hidden",
        "Counter", "Counter-visible", "Counter-hidden", "why_divide",
    ]  # fmt: skip
    facts = {name: cell.metadata.nbgrader for name, cell in cells.items()}
    assert (facts["mean"].solution, facts["mean"].grade) == (True, False)
    assert (facts["mean-visible"].points, facts["mean-hidden"].points, facts["why_divide"].points) == (
        0,
        3,
        2,
    )
    assert cells["mean-visible"].metadata.editable is False
    assert cells["why_divide"].source == "YOUR ANSWER HERE"
    assert cells["mean"].source.endswith("    # YOUR CODE HERE\n    raise NotImplementedError()")
    assert "Raises ValueError" in cells["mean"].source
    assert "return self.secret_count" in cells["Counter"].source, "what is outside the markers is given"


def test_the_release_is_what_nbgrader_makes_of_the_source(
    first: Chapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same cells and checksums as a real `nbgrader generate_assignment` writes."""
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config

    # nbgrader calls the `alembic` that stands beside this Python
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    folder = tmp_path / "class"
    path = folder / "source" / first.name / f"{first.name}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(compose.dumps(compose.source_notebook(first)), encoding="utf-8")
    config = Config()
    config.CourseDirectory.root = str(folder)
    config.CourseDirectory.db_url = f"sqlite:///{folder}/gradebook.db"
    outcome = NbGraderAPI(config=config).generate_assignment(first.name)
    assert outcome["success"], outcome
    made = nbformat.read(folder / "release" / first.name / f"{first.name}.ipynb", as_version=4)
    ours = compose.release_notebook(first)
    assert [(c.cell_type, c.source.rstrip("\n"), c.metadata) for c in made.cells] == [
        (c.cell_type, c.source, c.metadata) for c in ours.cells
    ]


def test_solutions_keep_the_metadata_and_hold_no_hidden_test(first: Chapter) -> None:
    release, solved = by_id(compose.release_notebook(first)), by_id(compose.solution_notebook(first))
    assert {n: c.metadata for n, c in release.items()} == {n: c.metadata for n, c in solved.items()}
    assert "return SCALE * math.fsum(values) / len(values)" in solved["mean"].source
    assert solved["why_divide"].source == "Because a sum grows."
    assert "autograder" not in text_of(compose.solution_notebook(first))
    assert BEGIN not in text_of(compose.solution_notebook(first))


def test_the_source_runs_the_hidden_tests_and_ends_in_the_score(first: Chapter) -> None:
    source = by_id(compose.source_notebook(first))["mean-hidden"].source
    assert source.splitlines()[-2:] == ['grade("first.mean", globals())', "### END HIDDEN TESTS"]


def test_markdown_for_notebooks_is_plain(first: Chapter) -> None:
    text = text_of(compose.release_notebook(first))
    assert "says One et al. (2020) (One et al., 2020), with a key and weights." in text
    assert "See The end, Exercise 1.1, [Second steps](02_second.ipynb), and (1)." in text
    assert "$Q\\cdot K^\\top{V_{ij}}$, `{term}` in code" in text
    assert "\\tag{1}\n$$" in text
    assert "### Exercise 1.1: The `mean` of numbers" in text
    assert "<summary>Hint: Which <code>sum</code>?</summary>" in text
    assert "> **Note**\n>\n> Mind the empty list." in text
    assert "x = 1  # {term}`not a role`" in text, "code is left alone"
    assert ":::" not in text
    assert "(the-end)=" not in text
    assert "only in the book" not in text


def test_the_notebook_starts_with_how_to_work(first: Chapter) -> None:
    head = compose.release_notebook(first).cells[0].source
    assert head.startswith("# First steps\n")
    assert "Validate" in head
    assert "chapters/01_first.html" in head
    assert text_of(compose.release_notebook(first)).count("# First steps") == 1


def test_the_book_shows_stubs_and_the_outputs_of_solutions(first: Chapter) -> None:
    executed = compose.book_source(first)
    for cell in executed.cells:
        if "only in the book" in cell.source:
            cell.outputs = [nbformat.v4.new_output("stream", text="3.0")]
    page = compose.book_notebook(first, executed)
    text = text_of(page)
    assert "fsum" not in text
    assert "# YOUR CODE HERE" in text
    assert "fsum" in text_of(compose.book_notebook(first, executed, solutions=True))
    assert any(cell.get("outputs") for cell in page.cells if "only in the book" in cell.source)
    assert ":::{exercise} 1.1 The `mean` of numbers" in text
    assert '<a class="reference internal" href="01_first.html#exercise-mean">Exercise 1.1</a>' in text
    assert "{ref}`The end <the-end>`" in text
    tests = [cell for cell in page.cells if "visible-tests" in cell.metadata.get("tags", [])]
    assert len(tests) == 3
    assert not [cell for cell in page.cells if "HIDDEN" in cell.source]


def test_nested_directives_keep_more_colons_outside(first: Chapter) -> None:
    text = text_of(compose.book_source(first))
    assert "::::{exercise}" in text
    assert "\n:::{note}\n" in text


def test_the_same_bytes_in_every_process(course: Paths) -> None:
    program = (
        "import sys, pathlib; from coursebuild.paths import Paths; from coursebuild.chapter import load;"
        "from coursebuild import compose; c = load('first', Paths(pathlib.Path(sys.argv[1])));"
        "print(compose.dumps(compose.release_notebook(c)), compose.dumps(compose.solution_notebook(c)))"
    )
    made = [
        subprocess.run(
            [sys.executable, "-c", program, str(course.root)],
            capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert made[0] == made[1]
    assert len(made[0]) > 1000


def test_prose_moves_no_grade_cell_id(course: Paths) -> None:
    before = {name: cell.id for name, cell in by_id(compose.release_notebook(load("first", course))).items()}
    edit(course, CHAPTER, "Means are", "+++\n\nA new cell.\n\n+++\n\nMeans are")
    after = {name: cell.id for name, cell in by_id(compose.release_notebook(load("first", course))).items()}
    assert before == after


@pytest.mark.parametrize("name", all_chapters())
class TestRealChapters:
    """What must hold of every chapter of the course."""

    def test_nothing_leaks(self, name: str) -> None:
        chapter = load(name)
        student = text_of(compose.release_notebook(chapter))
        assert chapter.module is not None
        for line in solution_lines(chapter):
            assert line not in code_lines(compose.release_notebook(chapter)), (
                f"{line!r} is in the notebook of {name}"
            )
        for notebook in (student, text_of(compose.solution_notebook(chapter))):
            assert "HIDDEN TESTS" not in notebook
            assert "autograder" not in notebook
        for sentence in hidden_sentences(chapter):
            assert sentence not in student

    def test_notebooks_are_valid_and_without_outputs(self, name: str) -> None:
        chapter = load(name)
        for notebook in (compose.release_notebook(chapter), compose.solution_notebook(chapter)):
            nbformat.validate(notebook)
            assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
            for cell in notebook.cells:
                assert not cell.get("outputs")
                assert cell.get("execution_count") is None

    def test_no_directive_syntax_is_left(self, name: str) -> None:
        for cell in compose.release_notebook(load(name)).cells:
            if cell.cell_type == "markdown":
                prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", cell.source, flags=re.MULTILINE | re.DOTALL)
                assert ":::" not in prose
                leftovers = r"(?<!begin)(?<!end)\{[a-z:]+\}$|\\[qkvw]\{|^\(.*\)=$|^\+\+\+"
                assert not re.search(leftovers, prose, re.MULTILINE)

    def test_committed_notebooks_are_in_step(self, name: str) -> None:
        from coursebuild.release import generated

        for path, text in generated(load(name)).items():
            assert path.read_text(encoding="utf-8") == text, (
                f"run `course release`: {path.name} is out of step"
            )


def solution_lines(chapter: Chapter) -> list[str]:
    """The lines between markers that are long enough to give something away."""
    found, inside = [], False
    assert chapter.module is not None
    for line in chapter.module.text.splitlines():
        if BEGIN in line or END in line:
            inside = BEGIN in line
        elif inside and len(line.strip()) > 24:
            found.append(line.strip())
    return found


def code_lines(notebook: NotebookNode) -> set[str]:
    """The stripped lines of the cells in which students write."""
    cells = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    return {line.strip() for cell in cells for line in cell.source.splitlines()}


def hidden_sentences(chapter: Chapter) -> list[str]:
    from autograder.testing import exercises_of
    from autograder.testing import load as load_hidden

    exercises = exercises_of(load_hidden(chapter.slug)).values()
    return [test.says for exercise in exercises for test in exercise.tests]


def test_the_real_course_is_at_the_root() -> None:
    assert REPOSITORY.root == ROOT
    assert (ROOT / "pyproject.toml").is_file()
    assert json.dumps(all_chapters())
