"""Submissions made from the solved chapter 01, with an attack in the cell of one exercise or around it."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable
from typing import Any

from autograder.judge import Judge, Limits
from autograder.report import ExerciseResult, SubmissionReport
from coursebuild.chapter import load
from coursebuild.compose import solution_notebook

CHAPTER = "01_soft_lookup"
TARGET = "attend"
# The other exercises are solved; the attacked one is worth nothing by itself.
WRONG = "\n\ndef attend(q, K, V):\n    raise RuntimeError('no idea')\n"
RETURNS = "\n\ndef attend(q, K, V):\n    return {}\n"
SEED = b"a seed of the tests" * 2
# Wide enough for a machine that is busy with something else, short enough for the rows that never end.
LIMITS = Limits(cells=8, call=3, total=60, cpu=60, memory=1 << 30)

Notebook = dict[str, Any]
Edit = Callable[[Notebook], None]


@functools.cache
def _solved() -> str:
    return json.dumps(solution_notebook(load(CHAPTER)))


def solved() -> Notebook:
    """The solved notebook, to be changed."""
    return json.loads(_solved())


def points() -> dict[str, float]:
    """What each exercise is worth."""
    return {exercise.name: exercise.points for exercise in load(CHAPTER).exercises}


FULL = sum(points().values())
WITHOUT = FULL - points()[TARGET]


def cell(notebook: Notebook, grade_id: str) -> dict[str, Any]:
    """The cell with a grade id."""
    return next(c for c in notebook["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == grade_id)


def with_code(code: str) -> bytes:
    """The solved notebook with the target's cell replaced."""
    notebook = solved()
    cell(notebook, TARGET)["source"] = code
    return json.dumps(notebook).encode()


def edited(edit: Edit, code: str | None = WRONG) -> bytes:
    """The notebook changed by `edit`, by default with a wrong solution of the target."""
    notebook = copy.deepcopy(solved())
    if code is not None:
        cell(notebook, TARGET)["source"] = code
    edit(notebook)
    return json.dumps(notebook).encode()


def code_cell(source: str, **metadata: Any) -> dict[str, Any]:
    """A cell that a student added."""
    return {
        "cell_type": "code",
        "source": source,
        "metadata": metadata,
        "outputs": [],
        "execution_count": None,
    }


def grade(judge: Judge, content: bytes) -> SubmissionReport:
    """One verdict."""
    return judge.grade(content, CHAPTER, seed=SEED)


def flags(report: SubmissionReport) -> set[str]:
    """The names of everything that was flagged."""
    found = {flag.name for flag in report.flags}
    return found | {flag.name for exercise in report.exercises for flag in exercise.flags}


def target_of(report: SubmissionReport) -> ExerciseResult:
    """The result of the attacked exercise."""
    return next(one for one in report.exercises if one.exercise == TARGET)


def told(report: SubmissionReport) -> str:
    """Everything that a student may read in a report."""
    tests = [test.message for exercise in report.exercises for test in exercise.tests]
    return "\n".join([*tests, *(output.error for output in report.outputs)])


def printed(report: SubmissionReport) -> str:
    """What the cells of a submission printed."""
    return "\n".join(output.text for output in report.outputs)


def expect(
    judge: Judge, content: bytes, score: float, *names: str, status: str = "graded"
) -> SubmissionReport:
    """The attack gets its honest value and its flags, reaches nothing, and the next honest work gets everything.

    An attack prints REACHED where it got at something that it must not get at.
    """
    report = grade(judge, content)
    failed = [(t.name, t.detail) for e in report.exercises for t in e.tests if not t.passed]
    assert (report.status, report.score) == (status, score), (failed, report.flags, report.outputs)
    assert set(names) <= flags(report), report.flags
    assert "REACHED" not in printed(report), report.outputs
    honest = grade(judge, json.dumps(solved()).encode())
    assert honest.score == FULL, "the submission after it suffers"
    assert not honest.flags, honest.flags
    return report
