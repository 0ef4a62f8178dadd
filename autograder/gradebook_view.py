"""What nbgrader's gradebook holds of one submission, read at once and as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nbgrader.api import Comment, Grade, SubmittedAssignment, SubmittedNotebook
from sqlalchemy import select


@dataclass(frozen=True)
class Cell:
    """One graded or commented cell of a released notebook."""

    name: str
    kind: str
    max_score: float

    @property
    def exercise(self) -> str:
        """The exercise or question that it belongs to."""
        return self.name.removesuffix("-hidden")


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


@dataclass(frozen=True)
class Stored:
    """One student's submission as it stands in the gradebook.

    `by_hand` holds an exercise or question only where a person wrote something, or where something waits for one.
    """

    known: bool
    extension: Any
    penalty: float
    manual: Manual
    by_hand: Mapping[str, ByHand] = field(default_factory=dict)


def stored(session: Any, assignment: str, notebook: str, cells: Mapping[str, Cell], student: str) -> Stored:
    """Read a submission. `cells` are those of the released notebook by their id in the gradebook."""
    handed = session.execute(
        select(
            SubmittedAssignment.extension,
            SubmittedNotebook.id,
            SubmittedNotebook.notebook_id,
            SubmittedNotebook.late_submission_penalty,
        )
        .outerjoin(SubmittedNotebook, SubmittedNotebook.assignment_id == SubmittedAssignment.id)
        .where(SubmittedAssignment.assignment_id == assignment, SubmittedAssignment.student_id == student)
    ).all()
    ours = [row.id for row in handed if row.notebook_id == notebook]
    grades = session.execute(
        select(Grade.cell_id, Grade.manual_score, Grade.extra_credit, Grade.needs_manual_grade)
        .where(Grade.notebook_id.in_(ours))
    ).all()  # fmt: skip
    comments = session.execute(
        select(Comment.cell_id, Comment.manual_comment)
        .where(Comment.notebook_id.in_(ours), Comment.manual_comment.is_not(None))
    ).all()  # fmt: skip
    return Stored(
        known=bool(handed),
        extension=handed[0].extension if handed else None,
        penalty=float(sum(row.late_submission_penalty or 0.0 for row in handed)),
        manual=_manual(grades, cells),
        by_hand=_by_hand(grades, comments, cells),
    )


def _manual(grades: list[Any], cells: Mapping[str, Cell]) -> Manual:
    """The written part of a student's grade."""
    top = sum(cell.max_score for cell in cells.values() if cell.kind == "markdown")
    written = [row for row in grades if cells[row.cell_id].kind == "markdown"]
    score = sum((row.manual_score or 0.0) + (row.extra_credit or 0.0) for row in written)
    return Manual(float(score), float(top), sum(bool(row.needs_manual_grade) for row in written))


def _by_hand(grades: list[Any], comments: list[Any], cells: Mapping[str, Cell]) -> dict[str, ByHand]:
    said = {cells[row.cell_id].name: row.manual_comment for row in comments if row.manual_comment}
    found: dict[str, ByHand] = {}
    for row in grades:
        name = cells[row.cell_id].exercise
        waits = bool(row.needs_manual_grade)
        one = ByHand(row.manual_score, row.extra_credit or 0.0, said.pop(name, ""), waits)
        if one != ByHand():
            found[name] = one
    return found | {name: ByHand(comment=comment) for name, comment in said.items()}
