"""What a chapter's hidden tests are made of: exercises, their tests and points, and written questions.

A hidden module holds one `Exercise` for each exercise of its chapter and registers tests on it:

    split_heads = Exercise("split_heads", forbids=["torch.nn.MultiheadAttention"])

    @split_heads.test(points=2, says="what is wrong and what must hold")
    def heads_are_slices_of_the_width(student: Student, draw: Draw) -> None: ...
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import ModuleType

from autograder.compare import TOLERANCE, Mismatch, Premature, check, close, presupposes, raises
from autograder.draw import Draw
from autograder.report import ExerciseResult, Flag, TestResult
from autograder.student import Student, StudentFault

__all__ = [
    "TOLERANCE", "Draw", "Exercise", "HiddenTest", "Mismatch", "Question", "Student", "check", "close",
    "exercises_of", "load", "presupposes", "questions_of", "raises", "run_exercise",
]  # fmt: skip

MAX_DETAIL = 2000  # characters of what an instructor reads of a failure: values come from the student's code
Body = Callable[[Student, Draw], None]


@dataclass(frozen=True)
class HiddenTest:
    """One hidden test: its name, what it is worth, the sentence a student reads when it fails, and its body."""

    name: str
    points: float
    says: str
    body: Body


@dataclass
class Exercise:
    """The grading of one exercise. `forbids` names what its solution must not call, by full dotted name."""

    name: str
    forbids: Iterable[str] = ()
    tests: list[HiddenTest] = field(default_factory=list)

    @property
    def points(self) -> float:
        """What all the tests are worth together."""
        return float(sum(test.points for test in self.tests))

    def test(self, *, points: float, says: str) -> Callable[[Body], Body]:
        """Register a function as a hidden test under its own name."""
        if points <= 0:
            raise ValueError(f"{self.name}: a hidden test is worth more than {points} points")

        def register(body: Body) -> Body:
            name = body.__name__
            if any(test.name == name for test in self.tests):
                raise ValueError(f"{self.name}: two hidden tests are called {name}; rename one")
            self.tests.append(HiddenTest(name, points, says, body))
            return body

        return register


@dataclass(frozen=True)
class Question:
    """A written question: what it is worth, a model answer, and what earns the points."""

    name: str
    points: float
    answer: str
    rubric: str


def load(slug: str) -> ModuleType:
    """The module with the hidden tests of a chapter."""
    return importlib.import_module(f"autograder.hidden.{slug}")


def exercises_of(module: ModuleType) -> dict[str, Exercise]:
    """The exercises of a hidden module, by name, in the order in which they are written."""
    found = [value for value in vars(module).values() if isinstance(value, Exercise)]
    names = [exercise.name for exercise in found]
    if len(set(names)) < len(names):
        raise ValueError(f"{module.__name__}: two exercises have the same name: {sorted(names)}")
    return dict(zip(names, found, strict=True))


def questions_of(module: ModuleType) -> dict[str, Question]:
    """The written questions of a hidden module, by name."""
    return {question.name: question for question in getattr(module, "QUESTIONS", [])}


def run_exercise(exercise: Exercise, student: Student, seed: bytes) -> ExerciseResult:
    """Run every hidden test of an exercise against a student's code. A test that breaks is a test that fails.

    Only what is not the student's doing (`autograder.judge.Retry`, a BaseException) comes out as an exception.
    """
    result = ExerciseResult(exercise.name, exercise.points)
    for test in exercise.tests:
        outcome, flag = run_test(exercise, test, student, seed)
        result.tests.append(outcome)
        if flag:
            result.flags.append(flag)
    return result


def run_test(
    exercise: Exercise, test: HiddenTest, student: Student, seed: bytes
) -> tuple[TestResult, Flag | None]:
    """Run one hidden test; a flag is raised where the test itself broke on what the student returned."""
    draw = Draw(seed, f"{exercise.name}.{test.name}")
    try:
        test.body(student, draw)
    except StudentFault as fault:
        message = f"{test.says} ({fault.for_student})"
        return TestResult(test.name, test.points, False, message, fault.for_instructor), None
    except Premature as wait:
        return TestResult(test.name, test.points, False, wait.for_student, _short(wait)), None
    except AssertionError as mismatch:
        return TestResult(test.name, test.points, False, test.says, _short(mismatch)), None
    except Exception as error:
        if getattr(error, "not_the_students_fault", False):
            raise
        where = _short(traceback.format_exception_only(error)[-1].strip())
        flag = Flag("test_broke", f"{exercise.name}.{test.name} broke on what the student returned: {where}")
        return TestResult(test.name, test.points, False, test.says, where), flag
    return TestResult(test.name, test.points, True), None


def _short(what: object) -> str:
    text = str(what)
    return text if len(text) <= MAX_DETAIL else text[:MAX_DETAIL] + "…"
