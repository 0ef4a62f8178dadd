"""The judge: a score is a function of bytes that the sandbox returned, computed by a process that runs no student code.

with Judge() as judge:
    report = judge.grade(notebook_bytes, "03_multi_head", seed=secret)
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from autograder import bundle, forbidden
from autograder.ingest import Ingested, Invalid, Reference, ingest, reference_of
from autograder.private_tests import merged, read_private
from autograder.probes import Unavailable, choose
from autograder.report import ExerciseResult, Flag, Isolation, SubmissionReport, TestResult, Written
from autograder.session import Call, Session, lines_of
from autograder.student import Student
from autograder.testing import Exercise, exercises_of, load, run_exercise
from autograder.warm import Keeper, Limits, Retry, Warm
from coursebuild import chapter as chapters
from coursebuild.chapter import Chapter
from coursebuild.errors import CourseError

__all__ = ["Judge", "Limits", "Retry"]


@dataclass
class Course:
    """What the judge knows of one chapter."""

    chapter: Chapter
    exercises: dict[str, Exercise]
    reference: Reference
    keeper: Keeper
    private: dict[str, dict[str, Exercise]] = field(default_factory=dict)

    @property
    def setup(self) -> list[tuple[str, str]]:
        """The cells that run before the student's."""
        return [(f"setup-{n}", source) for n, source in enumerate(self.chapter.setup_sources, 1)]


class Judge:
    """Owns the warm process; `grade` may be called from several threads."""

    def __init__(self, isolation: str | None = None, workers: int = 1, limits: Limits | None = None) -> None:
        self.asked, self.workers, self.limits = isolation, workers, limits or Limits()
        self.courses: dict[str, Course] = {}
        self.lock = threading.Lock()

    def __enter__(self) -> Judge:
        self.warm = Warm()
        try:
            self.isolation: Isolation = choose(self.warm, self.asked)
        except Unavailable as error:
            self.warm.close()
            raise CourseError(str(error)) from None
        except BaseException:
            self.warm.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.warm.close()

    def grade(
        self, notebook: bytes, chapter: str, *, seed: bytes, private_tests: Path | None = None
    ) -> SubmissionReport:
        """The verdict on one submission. A bad submission is a verdict too; Retry is our own failure."""
        began = time.monotonic()
        course = self.course(chapter)
        exercises = self.with_private(course, private_tests)
        report = SubmissionReport(course.chapter.name, isolation=self.isolation)
        try:
            found = ingest(notebook, course.reference)
        except Invalid as error:
            return self.invalid(report, course, exercises, str(error))
        rules = sorted({rule for exercise in exercises.values() for rule in exercise.forbids})
        session = Session(course.keeper, [*course.setup, *found.cells], rules, self.limits)
        read = time.monotonic()
        try:
            session.start_quietly()
            started = time.monotonic()
            self.run(report, exercises, session, found, seed)
        finally:
            session.stop()
        self.finish(report, course, session, found)
        now = time.monotonic()
        report.seconds = {
            "read": read - began, "start": session.seconds["start"], "cells": session.seconds["cells"],
            "tests": now - started, "student_cpu": session.cpu, "total": now - began,
        }  # fmt: skip
        return report

    def run(
        self,
        report: SubmissionReport,
        exercises: dict[str, Exercise],
        session: Session,
        found: Ingested,
        seed: bytes,
    ) -> None:
        """The hidden tests of every exercise, and the checks for what it forbids."""
        known = forbidden.aliases([source for _, source in session.cells])
        student = Student(session, lines_of(session.cells))
        for exercise in exercises.values():
            session.calls.clear()
            result = run_exercise(exercise, student, seed)
            source = found.solutions.get(exercise.name, "")
            findings = forbidden.inspect(source, exercise.forbids, known)
            breaches = [*findings.breaches, *_called(exercise, session.calls)]
            if breaches:
                result.forbidden = True
                result.flags.append(
                    Flag("forbidden_call", f"{exercise.name} uses {'; '.join(breaches)[:500]}")
                )
            result.flags += findings.flags + forbidden.suspicious(exercise.name, source, known)
            report.exercises.append(result)
        for label, source in found.added.items():
            report.flags += forbidden.suspicious(label, source, known)

    def finish(self, report: SubmissionReport, course: Course, session: Session, found: Ingested) -> None:
        """What goes into a report beside the exercises."""
        report.flags = [*found.flags, *session.flags, *report.flags]
        report.written = _written(course.chapter, found.answers)
        report.outputs = [
            output for name, output in session.outputs.items()
            if not name.startswith("setup-") and (output.text or output.error)
        ]  # fmt: skip

    def invalid(
        self, report: SubmissionReport, course: Course, exercises: dict[str, Exercise], reason: str
    ) -> SubmissionReport:
        """The report on bytes that are no notebook: every test has failed, and the reason is named."""
        report.status = "invalid"
        report.flags = [Flag("invalid", reason)]
        report.written = _written(course.chapter, {})
        for exercise in exercises.values():
            tests = [
                TestResult(t.name, t.points, False, "the notebook could not be read") for t in exercise.tests
            ]
            report.exercises.append(ExerciseResult(exercise.name, exercise.points, tests))
        return report

    # -- chapters

    def course(self, name: str) -> Course:
        """What belongs to a chapter; read and made ready once."""
        with self.lock:
            if name not in self.courses:
                self.courses[name] = self._course(name)
            return self.courses[name]

    def _course(self, name: str) -> Course:
        chapter = chapters.load(name)
        exercises = exercises_of(load(chapter.slug))
        ordered = {e.name: exercises[e.name] for e in chapter.exercises if e.name in exercises}
        release = _release(chapter)
        reference = reference_of(release, list(ordered), [q.name for q in chapter.questions])
        files = {
            f"{bundle.PACKAGE}/{path}": (bundle.LIBRARY / path).read_bytes()
            for path in bundle.bundled_files(chapter.name)
        }
        return Course(chapter, ordered, reference, self.keeper(files))

    def keeper(self, files: dict[str, bytes]) -> Keeper:
        """The warm process for a chapter's package."""
        modules = [
            path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            for path in files
            if path.endswith(".py")
        ]
        return self.warm.keeper(self.isolation.level, files, modules, self.limits)

    def with_private(self, course: Course, path: Path | None) -> dict[str, Exercise]:
        """The exercises with an instructor's private hidden tests added."""
        if path is None:
            return course.exercises
        content = path.read_bytes()
        key = hashlib.sha256(content).hexdigest()
        with self.lock:
            if key not in course.private:
                course.private[key] = merged(course.exercises, read_private(path, key))
            return course.private[key]


def _release(chapter: Chapter) -> dict[str, object]:
    """The released notebook: the generated file, or composed now."""
    path = chapter.paths.notebooks / f"{chapter.name}.ipynb"
    if path.is_file():
        found: dict[str, object] = json.loads(path.read_text("utf-8"))
        return found
    from coursebuild.compose import release_notebook

    made: dict[str, object] = json.loads(json.dumps(release_notebook(chapter)))
    return made


def _written(chapter: Chapter, answers: dict[str, str]) -> list[Written]:
    return [Written(q.name, q.points, answers.get(q.name, "")) for q in chapter.questions]


def _called(exercise: Exercise, calls: set[Call]) -> list[str]:
    """Forbidden calls seen while the exercise's tests ran.

    Another exercise's function may use what this one forbids (it is judged by its own rules); a helper that stands in
    that exercise's cell may not.
    """
    last = {rule.rsplit(".", 1)[-1] for rule in exercise.forbids}
    return sorted(
        f"{name} (seen at call time)"
        for name, cell, owner in calls
        if name.rsplit(".", 1)[-1] in last
        and (cell == exercise.name or (owner != cell and not cell.startswith("setup-")))
    )
