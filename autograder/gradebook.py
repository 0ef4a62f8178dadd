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
    new_uuid,
)  # fmt: skip
from nbgrader.preprocessors import AssignLatePenalties
from nbgrader.utils import parse_utc
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from autograder.classroom import Classroom
from autograder.gradebook_view import ByHand, Cell, Manual, Stored, stored
from autograder.report import SubmissionReport
from coursebuild.errors import CourseError

NO_RESPONSE = "No response."


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
        self._ids: tuple[str, str] = (self._assignment.id, self._notebook.id)
        self._cells = self._read_cells()
        self._mirrored = [(n.id, *_cell_ids(n)) for n in self._assignment.notebooks]

    def close(self) -> None:
        """Close the database."""
        self._book.close()

    def _read_cells(self) -> dict[str, Cell]:
        """The cells of the notebook by their id: read once, because every read in nbgrader's models is a query."""
        notebook = self._notebook
        graded = {c.id: Cell(c.name, c.cell_type, float(c.max_score)) for c in notebook.grade_cells}
        tasks = {c.id: Cell(c.name, "task", float(c.max_score)) for c in notebook.task_cells}
        return {c.id: Cell(c.name, "solution", 0.0) for c in notebook.solution_cells} | tasks | graded

    def max_scores(self) -> dict[str, float]:
        """The points of every graded cell, by its id."""
        graded = [cell for cell in self._cells.values() if cell.kind in ("code", "markdown")]
        return {cell.name: cell.max_score for cell in graded}

    def set_max_scores(self, exercises: dict[str, float]) -> None:
        """Let the graded cells be worth what their tests add up to (private tests add points)."""
        with self._transaction():
            for cell in self._notebook.grade_cells:
                name = cell.name.removesuffix("-hidden")
                if cell.name != name and name in exercises:
                    cell.max_score = exercises[name]
        self._cells = self._read_cells()

    def stored(self, student: str) -> Stored:
        """What the gradebook holds of a student's submission now."""
        return stored(self._db, *self._ids, self._cells, student)

    def depends_on(self, found: Stored) -> str:
        """What the grade and the page depend on besides the verdict, as text; a change means writing anew.

        Due dates, extensions and the rule for late work; what a person wrote by hand; whether there is a grade at all.
        """
        due = self._db.scalar(select(Assignment.duedate).where(Assignment.id == self._ids[0]))
        late = self._config.get("LateSubmissionPlugin", {}), self._config.get("AssignLatePenalties", {})
        known = "known" if found.known else "new"
        return f"{due}|{found.extension}|{late}|{known}|{sorted(found.by_hand.items())}"

    def write(self, handed: Handed, report: SubmissionReport) -> None:
        """Write one submission's grade, all of it or nothing. What a person wrote in formgrader stays."""
        with self._transaction():
            submission = self._submission(handed.student) or self._new_submission(handed.student)
            submission.timestamp = _time(handed.timestamp)
            self._db.flush()
            for notebook in self._notebooks(submission):
                self._grade_notebook(notebook, handed, report)
                self._db.flush()
                self._penalise(notebook, submission)

    def _notebooks(self, submission: SubmittedAssignment) -> list[SubmittedNotebook]:
        query = self._db.query(SubmittedNotebook)
        found: list[SubmittedNotebook] = query.filter_by(
            assignment_id=submission.id, notebook_id=self._ids[1]
        ).all()
        return found

    def _submission(self, student: str) -> SubmittedAssignment | None:
        query = self._db.query(SubmittedAssignment)
        found: SubmittedAssignment | None = query.filter_by(
            assignment_id=self._ids[0], student_id=student
        ).one_or_none()
        return found

    def _new_submission(self, student: str) -> SubmittedAssignment:
        """As nbgrader's add_submission, without its commits."""
        if self._db.get(Student, student) is None:
            self._db.add(Student(id=student))
        submission = SubmittedAssignment(id=new_uuid(), assignment_id=self._ids[0], student_id=student)
        self._db.add(submission)
        for notebook, graded, commented in self._mirrored:
            mirrored = SubmittedNotebook(id=new_uuid(), notebook_id=notebook, assignment_id=submission.id)
            self._db.add(mirrored)
            self._db.flush()
            self._db.add_all([Grade(cell_id=cell, notebook_id=mirrored.id) for cell in graded])
            self._db.add_all([Comment(cell_id=cell, notebook_id=mirrored.id) for cell in commented])
        return submission

    def _grade_notebook(self, notebook: SubmittedNotebook, handed: Handed, report: SubmissionReport) -> None:
        scores = {f"{exercise.exercise}-hidden": exercise.score for exercise in report.exercises}
        for grade in self._db.query(Grade).filter_by(notebook_id=notebook.id):
            cell = self._cells[grade.cell_id]
            if cell.kind == "markdown":
                answered = report.status == "graded" and cell.name not in handed.unchanged
                auto = None if answered else 0.0
            else:
                auto = scores.get(cell.name, 0.0)
            _regrade(grade, auto, handed.new)
        for comment in self._db.query(Comment).filter_by(notebook_id=notebook.id):
            untouched = self._cells[comment.cell_id].name in handed.unchanged
            comment.auto_comment = NO_RESPONSE if untouched else None
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


def _cell_ids(notebook: Notebook) -> tuple[list[str], list[str]]:
    """The ids of the cells that are graded, and of those that are commented on."""
    tasks = [cell.id for cell in notebook.task_cells]
    graded = [cell.id for cell in notebook.grade_cells] + tasks
    return graded, [cell.id for cell in notebook.solution_cells] + tasks


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


__all__ = ["ByHand", "GradeWriter", "Handed", "Manual", "Stored", "first_line", "valid_time"]
