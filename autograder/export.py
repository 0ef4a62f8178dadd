"""Grades for a learning management system: CSV for a spreadsheet, and the columns that Canvas and Moodle import."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, field

from nbgrader.api import Assignment, Gradebook, Student
from sqlalchemy.exc import SQLAlchemyError

from autograder.classroom import Classroom
from autograder.gradebook import first_line
from autograder.submitted import shown
from coursebuild.errors import CourseError

DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@dataclass
class Grades:
    """One student's grades: points after the late penalty, by assignment; none for what was not handed in."""

    student: str
    first_name: str
    last_name: str
    email: str
    lms_id: str
    scores: dict[str, float] = field(default_factory=dict)
    pending: dict[str, bool] = field(default_factory=dict)
    penalties: dict[str, float] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """Last name, first name; the id where neither is known."""
        return ", ".join(part for part in (self.last_name, self.first_name) if part) or self.student


def collect(room: Classroom) -> tuple[dict[str, float], list[Grades]]:
    """The assignments with their points, and everybody's grades."""
    if not room.has_gradebook:
        raise CourseError(f"there is no gradebook in {room.root} yet; release and grade a chapter first")
    try:
        with Gradebook(room.database) as book:
            assignments = sorted(book.db.query(Assignment).all(), key=lambda one: str(one.name))
            points = {str(one.name): float(one.max_score or 0.0) for one in assignments}
            people = sorted(book.db.query(Student).all(), key=lambda person: str(person.id))
            return points, [_grades(person) for person in people]
    except SQLAlchemyError as error:
        raise CourseError(f"the gradebook {room.database} cannot be read: {first_line(error)}") from error


def _grades(person: Student) -> Grades:
    grades = Grades(
        person.id,
        person.first_name or "",
        person.last_name or "",
        person.email or "",
        person.lms_user_id or "",
    )
    for submission in person.submissions:
        penalty = grades.penalties[submission.name] = float(submission.late_submission_penalty or 0.0)
        grades.scores[submission.name] = max(float(submission.score or 0.0) - penalty, 0.0)
        grades.pending[submission.name] = bool(submission.needs_manual_grade)
    return grades


def text(value: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if value.startswith(DANGEROUS) else value


def number(value: float | None) -> str:
    """A score; empty where there is none."""
    return "" if value is None else f"{value:.10g}"


def as_csv(points: dict[str, float], people: list[Grades]) -> list[list[str]]:
    """One line a student and assignment, for any spreadsheet."""
    who = ["student", "first_name", "last_name", "email"]
    rows = [[*who, "chapter", "score", "max_score", "late_penalty", "waits_for_a_person"]]
    for one in people:
        for name, score in sorted(one.scores.items()):
            who = [text(one.student), text(one.first_name), text(one.last_name), text(one.email)]
            penalty = number(one.penalties.get(name, 0.0))
            pending = "yes" if one.pending[name] else "no"
            rows.append([*who, text(name), number(score), number(points[name]), penalty, pending])
    return rows


def as_canvas(points: dict[str, float], people: list[Grades]) -> list[list[str]]:
    """Canvas's gradebook import: five columns that name the student, and a second line with the points possible."""
    rows = [["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *map(text, points)]]
    rows.append(["    Points Possible", "", "", "", "", *map(number, points.values())])
    for one in people:
        scores = [number(one.scores.get(name)) for name in points]
        rows.append([text(one.full_name), text(one.lms_id), "", text(one.student), "", *scores])
    return rows


def as_moodle(points: dict[str, float], people: list[Grades]) -> list[list[str]]:
    """Moodle's grade import: map the user by Username, ID number or Email address, and each chapter to its item."""
    rows = [["Username", "First name", "Last name", "ID number", "Email address", *map(text, points)]]
    for one in people:
        who = [one.student, one.first_name, one.last_name, one.lms_id, one.email]
        rows.append([*map(text, who), *(number(one.scores.get(name)) for name in points)])
    return rows


FORMATS: dict[str, Callable[[dict[str, float], list[Grades]], list[list[str]]]] = {
    "csv": as_csv,
    "canvas": as_canvas,
    "moodle": as_moodle,
}


def waiting(people: list[Grades]) -> str:
    """A warning where points are still to be given by a person, because an import would take them for final."""
    found = [f"{one.student} ({name})" for one in people for name, waits in one.pending.items() if waits]
    if not found:
        return ""
    named = ", ".join(map(shown, found[:5])) + (", …" if len(found) > 5 else "")
    return f"Waiting for a person's points: {len(found)} in all, {named}"


def export(room: Classroom, form: str) -> tuple[str, str]:
    """The whole file as text, and a warning or nothing."""
    points, people = collect(room)
    if not people:
        raise CourseError(f"nobody is in the gradebook of {room.root} yet; grade a chapter first")
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(FORMATS[form](points, people))
    return out.getvalue(), waiting(people)
