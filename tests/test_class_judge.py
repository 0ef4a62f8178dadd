"""A class graded by the real judge: the sample class's honest scores, and the same scores as plain nbgrader's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nbgrader.api import Gradebook

from autograder.classroom import Classroom, open_class
from autograder.sample import make_sample
from coursebuild.chapter import load

CHAPTER = "03_multi_head"
NOISE = """

import logging, os, sys, warnings
logging.basicConfig()
_quiet = {name}


def {name}(*args, **kwargs):
    warnings.warn("this is slow")
    logging.warning("mind this")
    print("on stderr", file=sys.stderr)
    os.write(2, b"on the descriptor")
    return _quiet(*args, **kwargs)
"""
HONEST = ("amara.okafor", "daniel.kim")


def course(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person does."""
    return subprocess.run(
        [sys.executable, "-m", "coursebuild.cli", *arguments],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Classroom, dict[str, Any]]:
    """The sample class, graded once from the command line."""
    root = tmp_path_factory.mktemp("sample") / "class"
    make_sample(root, [CHAPTER])
    done = course("grade", str(root), CHAPTER, "--json", str(root / "out.json"))
    assert done.returncode == 0, done.stderr
    entries = json.loads((root / "out.json").read_text("utf-8"))["submissions"]
    return open_class(root), {entry["student"]: entry for entry in entries}


@pytest.fixture(scope="module")
def top() -> float:
    return sum(exercise.points for exercise in load(CHAPTER).exercises)


@pytest.mark.parametrize("student", ["amara.okafor", "ben.adler", "chiara.rossi"])
def test_right_work_has_every_point(
    graded: tuple[Classroom, dict[str, Any]], student: str, top: float
) -> None:
    entry = graded[1][student]
    failed = [test for exercise in entry["exercises"] for test in exercise["tests"] if not test["passed"]]
    assert (entry["status"], entry["score"]) == ("graded", top), failed


@pytest.mark.parametrize("student", ["daniel.kim", "elif.yilmaz", "farid.haddad", "greta.lindqvist"])
def test_wrong_work_loses_points_and_reads_why(
    graded: tuple[Classroom, dict[str, Any]], student: str, top: float
) -> None:
    room, entries = graded
    entry = entries[student]
    assert 0 <= entry["score"] < top
    failed = [test for exercise in entry["exercises"] for test in exercise["tests"] if not test["passed"]]
    assert failed
    assert all(test["message"] for test in failed)
    page = room.feedback(student, CHAPTER).read_text("utf-8")
    assert failed[0]["name"].replace("_", " ") in page
    assert "student." not in page, "no code of the hidden tests"


def test_untouched_and_broken_notebooks(graded: tuple[Classroom, dict[str, Any]]) -> None:
    assert (graded[1]["hugo.martin"]["status"], graded[1]["hugo.martin"]["score"]) == ("graded", 0)
    assert (graded[1]["ines.silva"]["status"], graded[1]["ines.silva"]["score"]) == ("invalid", 0)
    assert graded[1]["ines.silva"]["flags"]


def test_hostile_work_gets_what_its_honest_part_is_worth(
    graded: tuple[Classroom, dict[str, Any]], top: float
) -> None:
    jonas, kaito = graded[1]["jonas.weber"], graded[1]["kaito.mori"]
    assert jonas["exercises"][-1]["score"] == 0
    assert jonas["score"] <= top - jonas["exercises"][-1]["max_score"]
    assert kaito["exercises"][0]["score"] == 0
    assert kaito["status"] == "graded"


def test_a_second_run_judges_nothing_and_says_the_same(graded: tuple[Classroom, dict[str, Any]]) -> None:
    room, _ = graded
    journal = room.journal(CHAPTER).read_bytes()
    done = course("grade", str(room.root), CHAPTER, "--json", str(room.root / "again.json"))
    assert done.returncode == 0, done.stderr
    assert (room.root / "again.json").read_bytes() == (room.root / "out.json").read_bytes()
    assert room.journal(CHAPTER).read_bytes() == journal


def test_wrong_usage_exits_2_with_one_sentence(
    graded: tuple[Classroom, dict[str, Any]], tmp_path: Path
) -> None:
    room = str(graded[0].root)
    for arguments in (
        ("grade", str(tmp_path / "nowhere"), CHAPTER),
        ("grade", room, "99_nothing"),
        ("grade", room, CHAPTER, "--student", "nobody"),
        ("grade", room, CHAPTER, "--json", str(tmp_path / "no" / "where.json")),
        ("class", "release", room, "nothing"),
        ("export", str(tmp_path), "--format", "csv"),
    ):
        done = course(*arguments)
        assert done.returncode == 2, (arguments, done)
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_plain_nbgrader_gives_honest_work_the_same_scores(
    graded: tuple[Classroom, dict[str, Any]], tmp_path: Path
) -> None:
    room, _ = graded
    plain = tmp_path / "plain"
    shutil.copytree(room.root / "source", plain / "source")
    shutil.copy(room.root / "gradebook.db", plain / "gradebook.db")
    with Gradebook(f"sqlite:///{plain / 'gradebook.db'}") as book:
        for submission in list(book.assignment_submissions(CHAPTER)):
            book.remove_submission(CHAPTER, submission.student.id)
    for student in HONEST:
        shutil.copytree(room.submitted / student / CHAPTER, plain / "submitted" / student / CHAPTER)
    make_noisy(plain / "submitted" / HONEST[0] / CHAPTER / f"{CHAPTER}.ipynb")
    command = [sys.executable, "-m", "nbgrader", "autograde", CHAPTER]
    done = subprocess.run(command, cwd=plain, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for student in HONEST:
        assert code_scores(plain, student) == code_scores(room.root, student)


def make_noisy(path: Path) -> None:
    """Let a right notebook warn on stderr in every call, which plain nbgrader takes for a failure."""
    notebook = json.loads(path.read_text("utf-8"))
    name = "unpack_projections"  # no demo of the chapter calls it in a loop
    cell = next(c for c in notebook["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == name)
    cell["source"] = "".join(cell["source"]) + NOISE.format(name=name)
    path.write_text(json.dumps(notebook), "utf-8")


def code_scores(root: Path, student: str) -> dict[str, float | None]:
    """The automatic scores of the cells graded by tests."""
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as book:
        notebook = book.find_submission_notebook(CHAPTER, CHAPTER, student)
        return {grade.name: grade.auto_score for grade in notebook.grades if grade.cell.cell_type == "code"}


def test_nbgrader_in_the_class_directory_asks_the_judge(graded: tuple[Classroom, dict[str, Any]]) -> None:
    room, entries = graded
    room.autograded("daniel.kim", CHAPTER).unlink()
    command = [sys.executable, "-m", "nbgrader", "autograde", CHAPTER, "--student", "daniel.kim"]
    done = subprocess.run(command, cwd=room.root, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "FAILED" in room.autograded("daniel.kim", CHAPTER).read_text("utf-8")
    with Gradebook(room.database) as book:
        submission = book.find_submission(CHAPTER, "daniel.kim")
        assert submission.score - (submission.written_score or 0) == entries["daniel.kim"]["score"]


def test_export_holds_everybody(graded: tuple[Classroom, dict[str, Any]]) -> None:
    room, entries = graded
    done = course("export", str(room.root), "--format", "csv")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1 + len(entries)
