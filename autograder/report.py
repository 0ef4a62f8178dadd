"""What the judge says of a submission: plain data that the gradebook, the feedback and `--json` are made from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["graded", "invalid", "retry"]


@dataclass
class Isolation:
    """How well student code was fenced off: the level, and what each probe of it found."""

    level: Literal["full", "landlock", "none"]
    probes: dict[str, bool] = field(default_factory=dict)


@dataclass
class Flag:
    """Something a person should look at; it names a rule, and says where and what was seen."""

    name: str
    message: str


@dataclass
class TestResult:
    """One hidden test: `message` is the sentence for the student, `detail` is for the instructor only."""

    name: str
    points: float
    passed: bool
    message: str = ""
    detail: str = ""


@dataclass
class ExerciseResult:
    """The hidden tests of one exercise, and the points they add up to."""

    exercise: str
    max_score: float
    tests: list[TestResult] = field(default_factory=list)
    flags: list[Flag] = field(default_factory=list)
    forbidden: bool = False

    @property
    def score(self) -> float:
        """Points earned: those of the tests that passed; none where a forbidden call was used."""
        if self.forbidden:
            return 0.0
        return float(sum(test.points for test in self.tests if test.passed))


@dataclass
class Written:
    """A written answer as handed in, to be graded by a person."""

    question: str
    max_score: float
    answer: str


@dataclass
class CellOutput:
    """What a student's own cell printed or raised when it was run for grading."""

    grade_id: str
    text: str
    error: str = ""


@dataclass
class SubmissionReport:
    """The whole result of one submission. A bad submission is a result too: `invalid`, with the reason in a flag."""

    chapter: str
    status: Status = "graded"
    exercises: list[ExerciseResult] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    flags: list[Flag] = field(default_factory=list)
    outputs: list[CellOutput] = field(default_factory=list)
    isolation: Isolation | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """Points earned in what is graded automatically."""
        return float(sum(exercise.score for exercise in self.exercises))

    @property
    def max_score(self) -> float:
        """Points that can be earned in what is graded automatically."""
        return float(sum(exercise.max_score for exercise in self.exercises))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for the journal."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SubmissionReport:
        """The inverse of `to_dict`."""
        data = dict(data)
        data["exercises"] = [
            ExerciseResult(
                **{
                    **exercise,
                    "tests": [TestResult(**test) for test in exercise["tests"]],
                    "flags": [Flag(**flag) for flag in exercise["flags"]],
                }
            )
            for exercise in data["exercises"]
        ]
        data["written"] = [Written(**written) for written in data["written"]]
        data["flags"] = [Flag(**flag) for flag in data["flags"]]
        data["outputs"] = [CellOutput(**output) for output in data["outputs"]]
        data["isolation"] = Isolation(**data["isolation"]) if data["isolation"] else None
        return cls(**data)
