"""The one writer of grades: nbgrader's own gradebook through nbgrader's own models, one transaction a submission."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nbgrader.api import (
    Assignment,
    Comment,
    Grade,
    Gradebook,
    MissingEntry,
    Notebook,
    Student,
    SubmittedAssignment,
    SubmittedNotebook,
)  # fmt: skip
from nbgrader.preprocessors import AssignLatePenalties
from nbgrader.utils import parse_utc
from sqlalchemy.exc import SQLAlchemyError

from autograder.classroom import Classroom
from autograder.report import SubmissionReport
from coursebuild.errors import CourseError

NO_RESPONSE = "No response."


@dataclass(frozen=True)
class Manual:
    """What a person has graded of a submission, and what still waits for one."""

    score: float
    max_score: float
    pending: int


@dataclass(frozen=True)
class ByHand:
    """What a person wrote beside one cell: points in place of the automatic ones, points on top, a comment."""

    score: float | None = None
    extra_credit: float = 0.0
    comment: str = ""
    waits: bool = False


@dataclass
class Handed:
    """What of a submission goes into the gradebook besides the report."""

    student: str
    timestamp: str | None
    unchanged: set[str] = field(default_factory=set)  # the grade ids of cells left as they were released
    new: bool = True  # another submission than the one whose grade stands in the gradebook


class GradeWriter:
    """An open gradebook and one released chapter in it."""

    def __init__(self, room: Classroom, chapter: str) -> None:
        self.chapter = chapter
        self._config = room.config()
        course = self._config.CourseDirectory.get("course_id") or "default_course"
        try:
            if not room.has_gradebook:
                raise MissingEntry
            self._book = Gradebook(room.database, course)
            self._db: Any = self._book.db
            self._notebook: Notebook = self._book.find_notebook(chapter, chapter)
        except MissingEntry as error:
            raise CourseError(
                f"{chapter} is not released in {room.root}; run `course class release {room.root} {chapter}` first"
            ) from error
        except SQLAlchemyError as error:
            raise CourseError(
                f"the gradebook {room.database} cannot be opened: {first_line(error)}"
            ) from error
        self._assignment: Assignment = self._notebook.assignment

    def close(self) -> None:
        """Close the database."""
        self._book.close()

    def max_scores(self) -> dict[str, float]:
        """The points of every graded cell, by its id."""
        return {cell.name: float(cell.max_score) for cell in self._notebook.grade_cells}

    def set_max_scores(self, exercises: dict[str, float]) -> None:
        """Let the graded cells be worth what their tests add up to (private tests add points)."""
        with self._transaction():
            for cell in self._notebook.grade_cells:
                name = cell.name.removesuffix("-hidden")
                if cell.name != name and name in exercises:
                    cell.max_score = exercises[name]

    def depends_on(self, student: str) -> str:
        """What the grade and the page depend on besides the verdict, as text; a change means writing anew.

        Due dates, extensions and the rule for late work; what a person wrote by hand; whether there is a grade at all.
        """
        submission = self._submission(student)
        extension = submission.extension if submission else None
        late = self._config.get("LateSubmissionPlugin", {}), self._config.get("AssignLatePenalties", {})
        known = "known" if submission else "new"
        return (
            f"{self._assignment.duedate}|{extension}|{late}|{known}|{sorted(self.by_hand(student).items())}"
        )

    def by_hand(self, student: str) -> dict[str, ByHand]:
        """What a person wrote, by exercise or question; only where there is something, or where something waits."""
        found: dict[str, ByHand] = {}
        submission = self._submission(student)
        comments = {c.name: c.manual_comment for c in self._comments(submission) if c.manual_comment}
        for grade in self._grades(submission):
            name = grade.name.removesuffix("-hidden")
            waits = bool(grade.needs_manual_grade)
            one = ByHand(grade.manual_score, grade.extra_credit or 0.0, comments.pop(name, ""), waits)
            if one != ByHand():
                found[name] = one
        return found | {name: ByHand(comment=comment) for name, comment in comments.items()}

    def write(self, handed: Handed, report: SubmissionReport) -> None:
        """Write one submission's grade, all of it or nothing. What a person wrote in formgrader stays."""
        with self._transaction():
            submission = self._submission(handed.student) or self._new_submission(handed.student)
            submission.timestamp = _time(handed.timestamp)
            for notebook in self._notebooks(submission):
                self._grade_notebook(notebook, handed, report)
                self._db.flush()
                self._penalise(notebook, submission)

    def manual(self, student: str) -> Manual:
        """The written part of a student's grade."""
        submission = self._submission(student)
        questions = {cell.name for cell in self._notebook.grade_cells if cell.cell_type == "markdown"}
        top = sum(cell.max_score for cell in self._notebook.grade_cells if cell.name in questions)
        grades = [grade for grade in self._grades(submission) if grade.name in questions]
        score = sum((grade.manual_score or 0.0) + (grade.extra_credit or 0.0) for grade in grades)
        return Manual(float(score), float(top), sum(bool(grade.needs_manual_grade) for grade in grades))

    def penalty(self, student: str) -> float:
        """The points taken off for being late."""
        submission = self._submission(student)
        return float((submission.late_submission_penalty if submission else 0.0) or 0.0)

    def _notebooks(self, submission: SubmittedAssignment | None) -> list[SubmittedNotebook]:
        notebooks = submission.notebooks if submission else []
        return [notebook for notebook in notebooks if notebook.notebook_id == self._notebook.id]

    def _grades(self, submission: SubmittedAssignment | None) -> list[Grade]:
        return [grade for notebook in self._notebooks(submission) for grade in notebook.grades]

    def _comments(self, submission: SubmittedAssignment | None) -> list[Comment]:
        return [comment for notebook in self._notebooks(submission) for comment in notebook.comments]

    def _submission(self, student: str) -> SubmittedAssignment | None:
        query = self._db.query(SubmittedAssignment)
        found: SubmittedAssignment | None = query.filter_by(
            assignment_id=self._assignment.id, student_id=student
        ).one_or_none()
        return found

    def _new_submission(self, student: str) -> SubmittedAssignment:
        """As nbgrader's add_submission, without its commits."""
        person = self._db.get(Student, student)
        if person is None:
            person = Student(id=student)
            self._db.add(person)
        with self._db.no_autoflush:
            submission = SubmittedAssignment(assignment=self._assignment, student=person)
            self._db.add(submission)
            for notebook in self._assignment.notebooks:
                mirrored = SubmittedNotebook(notebook=notebook, assignment=submission)
                grades = [Grade(cell_id=c.id) for c in [*notebook.grade_cells, *notebook.task_cells]]
                comments = [Comment(cell_id=c.id) for c in [*notebook.solution_cells, *notebook.task_cells]]
                self._db.add_all([mirrored, *grades, *comments])
                mirrored.grades, mirrored.comments = grades, comments
        self._db.flush()
        return submission

    def _grade_notebook(self, notebook: SubmittedNotebook, handed: Handed, report: SubmissionReport) -> None:
        scores = {f"{exercise.exercise}-hidden": exercise.score for exercise in report.exercises}
        for grade in notebook.grades:
            if grade.cell.cell_type == "markdown":
                answered = report.status == "graded" and grade.name not in handed.unchanged
                auto = None if answered else 0.0
            else:
                auto = scores.get(grade.name, 0.0)
            _regrade(grade, auto, handed.new)
        for comment in notebook.comments:
            comment.auto_comment = NO_RESPONSE if comment.name in handed.unchanged else None
        if handed.new:
            notebook.flagged = bool(report.flags or any(exercise.flags for exercise in report.exercises))

    def _penalise(self, notebook: SubmittedNotebook, submission: SubmittedAssignment) -> None:
        """As nbgrader's AssignLatePenalties, with the plugin that the class's configuration names."""
        notebook.late_submission_penalty = None
        if submission.total_seconds_late <= 0:
            return
        assigner = AssignLatePenalties(config=self._config)
        assigner.init_plugin()
        self._db.refresh(notebook, ["score"])
        penalty = assigner.plugin_inst.late_submission_penalty(
            submission.student.id, notebook.score, submission.total_seconds_late
        )
        if penalty is not None:
            notebook.late_submission_penalty = min(max(float(penalty), 0.0), float(notebook.score))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            yield
            self._db.commit()
        except BaseException:
            self._db.rollback()
            raise


def _regrade(grade: Grade, auto: float | None, new: bool) -> None:
    """nbgrader's rule: a grade that a person gave is looked at again, here only when something has changed."""
    same = not new and grade.auto_score == auto
    grade.auto_score = auto
    if same:
        return
    grade.needs_manual_grade = auto is None or grade.manual_score is not None


def _time(timestamp: str | None) -> datetime | None:
    try:
        return parse_utc(timestamp) if timestamp else None
    except (ValueError, OverflowError, TypeError):
        return None


def valid_time(timestamp: str | None) -> bool:
    """Whether a timestamp can be read (or there is none)."""
    return timestamp is None or _time(timestamp) is not None


def first_line(error: Exception) -> str:
    """The first line of a database error, without SQL."""
    return str(getattr(error, "orig", error)).strip().splitlines()[0] if str(error) else type(error).__name__


__all__ = ["GradeWriter", "Handed", "Manual", "first_line", "valid_time"]
