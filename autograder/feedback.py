"""The page that a student gets back: what was asked, what works, what does not yet, and a sentence of help for each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from autograder.gradebook import ByHand
from autograder.graded_notebook import StudentCells
from autograder.pages import prose, render
from autograder.report import ExerciseResult, SubmissionReport
from coursebuild.chapter import Chapter, Exercise

MAX_OUTPUT = 4000
_DIRECTIVE = re.compile(r"^(:{3,})\{exercise\}[^\n]*\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class ByHandOf:
    """What a person added to a student's grade: by exercise or question, and the points taken off for being late."""

    cells: Mapping[str, ByHand] = field(default_factory=dict)
    penalty: float = 0.0

    def of(self, name: str) -> ByHand:
        """What stands beside one exercise or question."""
        return self.cells.get(name, ByHand())


@dataclass(frozen=True)
class Shown:
    """One exercise as the page shows it."""

    title: str
    number: str
    name: str
    asked: Markup
    result: ExerciseResult
    state: str
    summary: str
    output: str
    error: str
    person: ByHand


def feedback_page(
    chapter: Chapter, student: str, report: SubmissionReport, cells: StudentCells, person: ByHandOf
) -> str:
    """The page, whole and safe to open: no script, nothing of the hidden tests' code, everything escaped."""
    exercises = [
        _exercise(chapter, exercise, report, cells, person.of(exercise.name))
        for exercise in chapter.exercises
    ]
    return render(
        "feedback.html",
        chapter=chapter,
        student=student,
        report=report,
        headline=_headline(report),
        exercises=exercises,
        questions=_questions(chapter, report, person),
        penalty=person.penalty,
        total=_total(chapter, report, person),
        reason=_reason(report),
        outputs=[
            (o.grade_id, _cut(o.text), _cut(o.error))
            for o in report.outputs
            if not _belongs(o.grade_id, chapter)
        ],
    )


def _headline(report: SubmissionReport) -> str:
    share = report.score / report.max_score if report.max_score else 0.0
    if report.status == "invalid":
        return "We could not read your notebook"
    if share >= 1:
        return "Everything works. Well done!"
    if share >= 0.7:
        return "Most of it works; a little is left"
    if share > 0:
        return "Part of it works; here is what to look at next"
    return "Nothing passes yet; start with the first sentence below"


def _reason(report: SubmissionReport) -> str:
    return "; ".join(flag.message for flag in report.flags) if report.status == "invalid" else ""


def _exercise(
    chapter: Chapter, exercise: Exercise, report: SubmissionReport, cells: StudentCells, person: ByHand
) -> Shown:
    found = next((one for one in report.exercises if one.exercise == exercise.name), None)
    result = found or ExerciseResult(exercise.name, exercise.points)
    output = next((one for one in report.outputs if one.grade_id == exercise.name), None)
    state = "full" if result.score >= result.max_score else "part" if result.score else "none"
    return Shown(
        exercise.title, exercise.number, exercise.name, asked(chapter, exercise), result, state,
        _summary(result, exercise.name in cells.sources or report.status == "invalid"),
        _cut(output.text) if output else "", _cut(output.error) if output else "", person,
    )  # fmt: skip


def _summary(result: ExerciseResult, there: bool) -> str:
    if result.forbidden:
        return "This exercise asks you to build the thing yourself, and your code calls the ready-made one."
    if not there:
        return "The cell of this exercise is not in the notebook that you handed in."
    passed, total = sum(test.passed for test in result.tests), len(result.tests)
    if not total:
        return "This exercise was not run."
    return f"All {total} checks pass." if passed == total else f"{passed} of {total} checks pass."


def asked(chapter: Chapter, exercise: Exercise) -> Markup:
    """What the exercise's directive in the chapter asks for."""
    for cell in chapter.cells:
        for found in _DIRECTIVE.finditer(cell.source) if cell.role == "markdown" else ():
            if re.search(rf"^:name:\s*{re.escape(exercise.name)}\s*$", found.group(2), re.MULTILINE):
                body = re.sub(r"^:[a-z-]+:.*\n", "", found.group(2), flags=re.MULTILINE)
                return prose(body)
    return Markup("")


def _questions(chapter: Chapter, report: SubmissionReport, person: ByHandOf) -> list[dict[str, Any]]:
    answers = {written.question: written.answer for written in report.written}
    return [
        {"title": question.title, "number": question.number, "points": question.points,
         "answer": _cut(answers.get(question.name, "")), "person": person.of(question.name)}
        for question in chapter.questions
    ]  # fmt: skip


def _total(chapter: Chapter, report: SubmissionReport, person: ByHandOf) -> float | None:
    """The points of the whole chapter as they stand; nothing while a person has added nothing."""
    if (
        all(one.score is None and not one.extra_credit for one in person.cells.values())
        and not person.penalty
    ):
        return None
    points = 0.0
    for exercise in report.exercises:
        given = person.of(exercise.exercise)
        points += (exercise.score if given.score is None else given.score) + given.extra_credit
    for question in chapter.questions:
        given = person.of(question.name)
        points += (given.score or 0.0) + given.extra_credit
    return max(points - person.penalty, 0.0)


def _belongs(grade_id: str, chapter: Chapter) -> bool:
    return any(exercise.name == grade_id for exercise in chapter.exercises)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_OUTPUT else text[:MAX_OUTPUT] + "\n… (the rest is cut)"
