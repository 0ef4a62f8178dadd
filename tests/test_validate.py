"""`course validate`: what a student is told, by the visible tests alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from small_course import edit, make

from coursebuild import cli
from coursebuild.paths import ROOT
from coursebuild.release import release


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    course = make(tmp_path)
    edit(
        course, "book/chapters/01_first.md", ":tests: first.Counter\n", ":tests: first.Counter\nimport math\n"
    )
    release(course)
    monkeypatch.chdir(course.notebooks)
    return course.notebooks / "01_first.ipynb"


def write(path: Path, name: str, source: str) -> None:
    """Put code into the cell of a grade id."""
    found = nbformat.read(path, as_version=4)
    for cell in found.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") == name:
            cell.source = source
    nbformat.write(found, path)


RIGHT_MEAN = "def mean(values):\n    return sum(values) / len(values)"
RIGHT_COUNTER = """\
class Counter:
    def __init__(self):
        self.n = 0

    def add(self):
        self.n += 1

    def read(self):
        return self.n
"""


def test_right_solutions_pass(notebook: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(notebook, "mean", RIGHT_MEAN)
    write(notebook, "Counter", RIGHT_COUNTER)
    write(notebook, "why_divide", "Because.")
    before = notebook.read_bytes()
    assert cli.main(["validate", "01_first.ipynb"]) == 0
    assert "All 2 exercises pass their visible tests." in capsys.readouterr().out
    assert notebook.read_bytes() == before, "the student's file is not touched"
    assert validated_by_nbgrader(notebook) == {}, "JupyterLab's Validate says the same"


def test_a_wrong_and_an_unwritten_solution(notebook: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(notebook, "mean", "def mean(values):\n    return sum(values)")
    assert cli.main(["validate", str(notebook)]) == 1
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "failed" in validated_by_nbgrader(notebook), "JupyterLab's Validate says the same"
    assert lines == [
        "✗ failed    mean",
        "the mean of 1 and 3 is 2, got 4.0",
        "· not yet   Counter",
        "· not yet   why_divide",
        "the written answer is missing",
        "0 of 3 are done.",
    ]


def test_an_assertion_without_words_shows_its_line(
    notebook: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(notebook, "mean", RIGHT_MEAN)
    write(notebook, "Counter", RIGHT_COUNTER.replace("+= 1", "+= 2"))
    assert cli.main(["validate", str(notebook)]) == 1
    assert "assert counter.read() == 1" in capsys.readouterr().out


def test_a_warning_fails_as_it_does_in_jupyterlab(notebook: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(notebook, "mean", RIGHT_MEAN)
    write(
        notebook,
        "Counter",
        "import warnings\n" + RIGHT_COUNTER.replace("self.n += 1", "warnings.warn('odd'); self.n += 1"),
    )
    assert cli.main(["validate", str(notebook)]) == 1
    assert "a warning was printed" in capsys.readouterr().out
    assert "failed" in validated_by_nbgrader(notebook)


def validated_by_nbgrader(path: Path) -> dict[str, object]:
    from nbgrader.validator import Validator

    return dict(Validator().validate(str(path)))


def test_the_solutions_of_the_course_pass(notebook: Path) -> None:
    assert cli.main(["validate", str(notebook.parents[1] / "solutions" / notebook.name)]) == 0


def test_an_endless_loop_is_said(notebook: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(notebook, "mean", "def mean(values):\n    while True: pass")
    assert cli.main(["validate", str(notebook), "--timeout", "3"]) == 2
    assert "ran longer than 3 s; is there an endless loop?" in capsys.readouterr().err


def test_a_changed_test_is_refused(notebook: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(notebook, "mean-visible", "assert True")
    assert cli.main(["validate", str(notebook)]) == 2
    assert "mean-visible of 01_first.ipynb was changed; copy it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no file"),
        ("not json", "is a broken notebook"),
        ('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', "has no visible tests"),
        ('{"cells": 3, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', "is a broken notebook"),
    ],
)
def test_what_is_no_notebook(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, said: str
) -> None:
    path = tmp_path / "x.ipynb"
    if content is not None:
        path.write_text(content)
    assert cli.main(["validate", str(path)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_it_works_without_the_instructors_package(notebook: Path) -> None:
    """As on a student's laptop: nothing named autograder can be imported."""
    write(notebook, "mean", RIGHT_MEAN)
    write(notebook, "Counter", RIGHT_COUNTER)
    write(notebook, "why_divide", "Because.")
    program = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'autograder': raise ModuleNotFoundError(name=name.split('.')[0])\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from coursebuild.cli import main\n"
        "sys.exit(main(['validate', sys.argv[1]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(notebook)],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
