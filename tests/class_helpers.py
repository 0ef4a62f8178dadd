"""A class on the disk for the tests of grading, and a judge that needs no sandbox.

`python tests/class_helpers.py DIR CHAPTER` grades with that judge, slowly, so that a test can kill it in the middle.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Literal

from nbgrader.api import Gradebook

from autograder.classroom import Classroom, open_class
from autograder.grade import ClassResult, Options, grade_class
from autograder.report import (
    CellOutput,
    ExerciseResult,
    Flag,
    Isolation,
    SubmissionReport,
    TestResult,
    Written,
)
from coursebuild.chapter import load

CHAPTER = "03_multi_head"


class StubJudge:
    """Gives an exercise its points unless its cell says WRONG; counts what it is asked."""

    calls: list[str] = []  # noqa: RUF012 (shared on purpose: the grader makes the judge)
    slow = 0.0
    level: Literal["full", "landlock", "none"] = "landlock"

    def __init__(self, isolation: str | None = None, workers: int = 1) -> None:
        self.isolation = Isolation(self.level, {"network": True, "other_processes": False})

    def __enter__(self) -> StubJudge:
        return self

    def __exit__(self, *_: Any) -> None:
        return None

    def grade(
        self, notebook: bytes, chapter: str, *, seed: bytes, private_tests: Path | None = None
    ) -> SubmissionReport:
        """A report made from the text of the cells."""
        time.sleep(self.slow)
        self.calls.append(seed.hex())
        report = SubmissionReport(chapter, isolation=self.isolation, seconds={"judge": 0.01})
        try:
            cells = json.loads(notebook)["cells"]
        except (ValueError, KeyError):
            report.status = "invalid"
            report.flags.append(Flag("malformed", "the notebook cannot be read"))
            return report
        sources = {c["metadata"].get("nbgrader", {}).get("grade_id"): "".join(c["source"]) for c in cells}
        described = load(chapter)
        for exercise in described.exercises:
            wrong = "WRONG" in sources.get(exercise.name, "WRONG")
            test = TestResult("gives_values", exercise.points, not wrong, "the `values` are wrong" if wrong else "",
                              "off by 3" if wrong else "")  # fmt: skip
            report.exercises.append(ExerciseResult(exercise.name, exercise.points, [test]))
            if "<script>" in sources.get(exercise.name, ""):
                report.outputs.append(CellOutput(exercise.name, "<script>alert(1)</script>"))
        report.written = [Written(q.name, q.points, sources.get(q.name, "")) for q in described.questions]
        return report


def hand_in(room: Classroom, student: str, wrong: tuple[str, ...] = (), extra: str = "") -> Path:
    """A submission made from the release, with some exercises marked as wrong."""
    notebook = json.loads(room.release(CHAPTER).read_text("utf-8"))
    for cell in notebook["cells"]:
        name = cell["metadata"].get("nbgrader", {}).get("grade_id")
        if cell["metadata"].get("nbgrader", {}).get("solution") and cell["cell_type"] == "code":
            cell["source"] = f"# mine {extra}" + (" WRONG" if name in wrong else "")
    path = room.submitted / student / CHAPTER / f"{CHAPTER}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook), "utf-8")
    return path


def grade(room: Classroom, **options: Any) -> ClassResult:
    """Grade with the stub judge."""
    return grade_class(room, CHAPTER, Options(make_judge=StubJudge, **options))


def gradebook_rows(room: Classroom) -> list[tuple[Any, ...]]:
    """Everything that the gradebook says of everybody's work, without its random ids."""
    with Gradebook(room.database) as book:
        rows: list[tuple[Any, ...]] = []
        for submission in book.assignment_submissions(CHAPTER):
            for notebook in submission.notebooks:
                who = (submission.student.id, submission.timestamp, submission.extension)
                rows.append((*who, notebook.flagged, notebook.late_submission_penalty))
                for grade in notebook.grades:
                    found = (grade.auto_score, grade.manual_score, grade.extra_credit)
                    rows.append((*who, grade.name, *found, grade.needs_manual_grade))
                for comment in notebook.comments:
                    rows.append((*who, comment.name, comment.auto_comment, comment.manual_comment))
        return sorted(rows, key=str)


def by_student(result: ClassResult) -> dict[str, tuple[str, float]]:
    """Status and score of everybody."""
    return {one.student: (one.report.status, one.report.score) for one in result.results}


if __name__ == "__main__":
    StubJudge.slow = 0.05
    grade(open_class(Path(sys.argv[1])))
