"""What is asked of a run of the grader, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from autograder.gradebook_view import Manual
from autograder.report import Isolation, SubmissionReport


@dataclass
class Result:
    """One student's line: the report, what stands in the gradebook beside it, and whether it was judged just now."""

    student: str
    report: SubmissionReport
    manual: Manual
    penalty: float = 0.0
    fresh: bool = True


@dataclass
class ClassResult:
    """The whole run."""

    chapter: str
    isolation: Isolation
    results: list[Result] = field(default_factory=list)

    @property
    def retries(self) -> int:
        """How many have no final result."""
        return sum(result.report.status == "retry" for result in self.results)


@dataclass
class Options:
    """What the command line asked for. `make_judge` replaces the judge, for tests."""

    students: Sequence[str] = ()
    workers: int = 1
    dask: str | None = None
    isolation: str | None = None
    regrade: bool = False
    make_judge: Callable[..., Any] | None = None
    progress: Callable[[int, int, str], None] = lambda done, total, student: None
