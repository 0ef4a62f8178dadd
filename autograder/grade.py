"""Grade a class: find, read, judge what is new, write one submission at a time, and lose nothing on the way."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode
from sqlalchemy.exc import SQLAlchemyError

from attention_from_scratch.whole_files import write_whole
from autograder import submitted
from autograder.class_result import ClassResult, Options, Result
from autograder.classroom import Classroom
from autograder.feedback import ByHandOf, feedback_page
from autograder.gradebook import GradeWriter, Handed, Manual, Stored, first_line, valid_time
from autograder.graded_notebook import StudentCells, graded_notebook, student_cells, unchanged_cells
from autograder.journal import Journal, code_digest, content_digest, judging_key, submission_key
from autograder.overview import overview_page
from autograder.report import ExerciseResult, Flag, Isolation, SubmissionReport
from autograder.similar import Pair, similar_pairs
from autograder.workers import Judges, LocalJudges, Task, retry_report
from coursebuild.chapter import Chapter, all_chapters, load
from coursebuild.errors import CourseError

__all__ = ["ClassResult", "Options", "Result", "grade_class"]

BEST = "full"
WRITING = 2  # raise it to have every page and notebook written anew


def grade_class(room: Classroom, chapter: str, options: Options) -> ClassResult:
    """Grade a chapter's submissions; returns when every one has been tried."""
    if chapter not in all_chapters():
        raise CourseError(f"there is no chapter {chapter}; the chapters are {', '.join(all_chapters())}")
    with room.lock():
        for leftover in room.root.glob(f"*/*/{chapter}/.writing-*"):  # of a grader that was killed
            leftover.unlink(missing_ok=True)
        students = submitted.find(room, chapter, options.students)
        run = _Run(room, load(chapter), options, students)
        try:
            judged = run.everything_is_judged()
            if judged is not None:
                return run.grade(students, judged, None)
            judges = _judges(room, chapter, options)
            try:
                return run.grade(students, judges.isolation, judges)
            finally:
                judges.close()
        finally:
            run.close()


def _judges(room: Classroom, chapter: str, options: Options) -> Judges:
    private = room.private_tests(chapter)
    if options.dask:
        from autograder.dask_judges import DaskJudges

        return DaskJudges(options.dask, options.isolation, private, code_digest())
    return LocalJudges(options.isolation, options.workers, private, options.make_judge)


class _Run:
    """One run of the grader: the journal, the gradebook and the released notebook, open."""

    def __init__(self, room: Classroom, chapter: Chapter, options: Options, students: list[str]) -> None:
        self.room, self.chapter, self.name, self.options = room, chapter, chapter.name, options
        self.release = _released(room, self.name)
        self.known = {
            cell.metadata.nbgrader.grade_id for cell in self.release.cells if "nbgrader" in cell.metadata
        }
        self.writer = GradeWriter(room, self.name)
        self.journal = Journal(room.journal(self.name))
        self.keys: dict[str, str] = {}
        self._check_release()
        self.found = {student: submitted.read(room, student, self.name) for student in students}

    def close(self) -> None:
        """Close the gradebook and the journal."""
        self.writer.close()
        self.journal.close()

    def _check_release(self) -> None:
        """The release must have a cell for every exercise of the chapter as it is now."""
        wanted = {f"{exercise.name}-hidden" for exercise in self.chapter.exercises}
        wanted |= {question.name for question in self.chapter.questions}
        missing = sorted(wanted - set(self.writer.max_scores()))
        if missing:
            raise CourseError(
                f"{self.name} in {self.room.root} was released from an older version of the chapter (it has no "
                f"{', '.join(missing)}); run `course class release {self.room.root} {self.name}`"
            )

    def everything_is_judged(self) -> Isolation | None:
        """The level at which all is judged already, where none better can be had: then no judge need start."""
        level = self.options.isolation or BEST
        base = judging_key(self.room, self.name, level)
        found = [
            self.journal.report(submission_key(base, student, one.content))
            for student, one in self.found.items()
            if one.content is not None
        ]
        if self.options.regrade or not found or any(report is None for report in found):
            return None
        return next((report.isolation for report in found if report and report.isolation), None)

    def grade(self, students: list[str], isolation: Isolation, judges: Judges | None) -> ClassResult:
        """Everything that is final is written before the next report is waited for."""
        self.result = ClassResult(self.name, isolation)
        self.base = judging_key(self.room, self.name, isolation.level)
        total = len(students)
        for student, report, fresh in self._reports(students, judges):
            self._finish(student, report, fresh)
            self.options.progress(len(self.result.results), total, submitted.shown(student))
        self.result.results.sort(key=lambda result: result.student)
        self._write_overview()
        return self.result

    def _write_overview(self) -> None:
        """The page on the whole class, also where only some students were asked for."""
        everybody = ClassResult(self.name, self.result.isolation, [*self.result.results, *self._others()])
        everybody.results.sort(key=lambda result: result.student)
        page = overview_page(everybody, self.chapter, self._similar(everybody))
        try:
            write_whole(self.room.overview(self.name), page)
        except OSError as error:
            raise CourseError(
                f"the grades are safe, but the overview could not be written ({error})"
            ) from error

    def _others(self) -> Iterator[Result]:
        """The results of earlier runs, of students that were not asked for."""
        if not self.options.students:
            return
        for student in submitted.find(self.room, self.name):
            if student in self.found:
                continue
            submission = self.found[student] = submitted.read(self.room, student, self.name)
            if submission.content is None:
                report = self._invalid(submission.reason)
            else:
                known = self.journal.report(submission_key(self.base, student, submission.content))
                if known is None:
                    continue
                report = known
            self._complete(report)
            stored = self.writer.stored(student)
            yield Result(student, report, stored.manual, stored.penalty, False)

    def _similar(self, everybody: ClassResult) -> list[Pair]:
        graded = [one.student for one in everybody.results if one.report.status == "graded"]
        cells = {
            student: student_cells(self.found[student].content, self.known).sources for student in graded
        }
        course = {exercise.name: self.chapter.solution(exercise.name) for exercise in self.chapter.exercises}
        released = {
            cell.metadata.nbgrader.grade_id: cell.source
            for cell in self.release.cells
            if "nbgrader" in cell.metadata
        }
        return similar_pairs(cells, course, released)

    def _reports(
        self, students: list[str], judges: Judges | None
    ) -> Iterator[tuple[str, SubmissionReport, bool]]:
        """First what needs no judging, then the judged, as they come."""
        to_judge = []
        for student in students:
            submission = self.found[student]
            if submission.content is None:
                self.keys[student] = hashlib.sha256(submission.reason.encode()).hexdigest()
                yield student, self._invalid(submission.reason), False
                continue
            key = self.keys[student] = submission_key(self.base, student, submission.content)
            known = None if self.options.regrade else self.journal.report(key)
            if known is not None:
                yield student, known, False
            else:
                to_judge.append(student)
        if judges is None:
            return
        for task, report in judges.run(self._task(student) for student in to_judge):
            report.isolation = report.isolation or judges.isolation
            if report.status != "retry":
                try:
                    self.journal.judged(self.keys[task.student], task.student, task.content, report)
                except OSError as error:
                    report = retry_report(self.name, f"the journal could not be written ({error.strerror})")
            yield task.student, report, True

    def _task(self, student: str) -> Task:
        content = self.found[student].content or b""
        seed = self.room.seed(self.name, self.journal.attempt(student, content))
        return Task(student, self.name, content, seed)

    def _invalid(self, reason: str) -> SubmissionReport:
        report = SubmissionReport(self.name, "invalid", flags=[Flag("unreadable", reason)])
        report.isolation = self.result.isolation
        return report

    def _complete(self, report: SubmissionReport) -> None:
        """An exercise that the report does not speak of has no points, but stands in the table."""
        present = {exercise.exercise for exercise in report.exercises}
        top = self.writer.max_scores()
        for exercise in self.chapter.exercises:
            if exercise.name not in present:
                report.exercises.append(ExerciseResult(exercise.name, top[f"{exercise.name}-hidden"]))

    def _finish(self, student: str, report: SubmissionReport, fresh: bool) -> None:
        """Write a final result; where the disk or the gradebook refuses, it is tried again in the next run."""
        if submitted.name_fault(student):
            self._complete(report)
            self.result.results.append(Result(student, report, Manual(0.0, 0.0, 0), 0.0, fresh))
            return
        found = None
        if report.status != "retry":
            try:
                found = self._write(student, report, fresh)
            except (OSError, SQLAlchemyError) as error:
                reason = (
                    first_line(error) if isinstance(error, SQLAlchemyError) else error.strerror or str(error)
                )
                report = retry_report(self.name, f"the result could not be written ({reason})")
        self._complete(report)
        found = found or self.writer.stored(student)
        self.result.results.append(Result(student, report, found.manual, found.penalty, fresh))

    def _write(self, student: str, report: SubmissionReport, fresh: bool) -> Stored:
        """Write the notebook, the grade, the page and the note in the journal, where one of them is out of step."""
        submission = self.found[student]
        if not valid_time(submission.timestamp):
            report.flags.append(
                Flag("timestamp", "timestamp.txt holds no time; the submission counts as on time")
            )
        self._complete(report)
        found = self.writer.stored(student)
        state = self._state(submission, found)
        before = self.journal.written(student)
        if (
            not fresh
            and before.get("key") == self.keys[student]
            and before.get("state") == state
            and self._there(student)
        ):
            return found
        began = time.monotonic()
        top = self.writer.max_scores()
        if any(e.max_score != top.get(f"{e.exercise}-hidden", e.max_score) for e in report.exercises):
            self.writer.set_max_scores({e.exercise: e.max_score for e in report.exercises})
        cells = student_cells(submission.content if report.status == "graded" else None, self.known)
        content = content_digest(submission.content or b"")
        self._write_notebook(student, report, cells)
        new = before.get("content") != content
        handed = Handed(student, submission.timestamp, unchanged_cells(self.release, cells), new)
        self.writer.write(handed, report)
        found = self.writer.stored(student)
        person = ByHandOf(found.by_hand, found.penalty)
        page = feedback_page(self.chapter, student, report, cells, person)
        place = self.room.feedback(student, self.name)
        for name, text in submission.for_the_exchange().items():
            write_whole(place.parent / name, text)
        write_whole(place, page)
        state = self._state(submission, found)
        self.journal.mark_written(student, self.keys[student], content, state, time.monotonic() - began)
        return found

    def _write_notebook(self, student: str, report: SubmissionReport, cells: StudentCells) -> None:
        notebook = self.room.autograded(student, self.name)
        write_whole(notebook, graded_notebook(self.release, cells, report))
        timestamp = self.found[student].timestamp
        if timestamp is not None:
            write_whole(notebook.parent / "timestamp.txt", timestamp + "\n")

    def _state(self, submission: submitted.Submission, found: Stored) -> str:
        parts = f"{WRITING}|{submission.timestamp}|{self.writer.depends_on(found)}"
        return hashlib.sha256(parts.encode()).hexdigest()

    def _there(self, student: str) -> bool:
        paths: tuple[Path, ...] = (
            self.room.autograded(student, self.name),
            self.room.feedback(student, self.name),
        )
        return all(path.is_file() for path in paths)


def _released(room: Classroom, chapter: str) -> NotebookNode:
    path = room.release(chapter)
    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise CourseError(
            f"{chapter} is not released in {room.root}; run `course class release {room.root} {chapter}` first"
        ) from None
    except Exception as error:
        raise CourseError(f"{path} cannot be read ({error}); run `course class release` again") from error
