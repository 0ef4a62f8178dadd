"""The page for the instructor: the class at a glance, the hardest tests, and what needs a person's eye."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autograder.pages import asset, render
from autograder.submitted import shown
from coursebuild.chapter import Chapter

if TYPE_CHECKING:
    from autograder.grade import ClassResult, Result

BINS = 10


@dataclass(frozen=True)
class Hard:
    """One hidden test and how many failed it."""

    exercise: str
    test: str
    failed: int
    total: int
    message: str

    @property
    def share(self) -> float:
        """The share that failed it."""
        return self.failed / self.total if self.total else 0.0


def overview_page(result: ClassResult, chapter: Chapter) -> str:
    """The page; its one script sorts the table."""
    rows = [_row(one) for one in result.results]
    names = [exercise.name for exercise in chapter.exercises]
    return render(
        "overview.html",
        script=asset("overview.js"),
        chapter=chapter,
        isolation=result.isolation,
        rows=rows,
        names=names,
        bins=_distribution(result.results),
        hardest=_hardest(result.results),
        counts={s: sum(r["status"] == s for r in rows) for s in ("graded", "invalid", "retry")},
    )


def _row(one: Result) -> dict[str, Any]:
    report = one.report
    flags = [(flag.name, flag.message) for flag in report.flags]
    flags += [(flag.name, f"{e.exercise}: {flag.message}") for e in report.exercises for flag in e.flags]
    return {
        "student": shown(one.student),
        "status": report.status,
        "score": report.score,
        "max_score": report.max_score,
        "exercises": {exercise.exercise: exercise for exercise in report.exercises},
        "manual": one.manual,
        "penalty": one.penalty,
        "flags": list(dict.fromkeys(flags)),
        "seconds": report.seconds.get("total", 0.0),
    }


def _distribution(results: list[Result]) -> list[dict[str, Any]]:
    counts = [0] * BINS
    for one in results:
        if one.report.status == "graded" and one.report.max_score:
            counts[min(int(BINS * one.report.score / one.report.max_score), BINS - 1)] += 1
    top = max(counts) or 1
    return [
        {
            "low": 100 * n // BINS,
            "high": 100 * (n + 1) // BINS,
            "count": count,
            "height": round(100 * count / top),
        }
        for n, count in enumerate(counts)
    ]


def _hardest(results: list[Result], most: int = 12) -> list[Hard]:
    seen: dict[tuple[str, str], list[Any]] = {}
    for one in results:
        for exercise in one.report.exercises:
            for test in exercise.tests:
                entry = seen.setdefault((exercise.exercise, test.name), [0, 0, ""])
                entry[0] += not test.passed
                entry[1] += 1
                entry[2] = entry[2] or test.message.split(" (your ")[0]
    tests = [Hard(exercise, name, *counts) for (exercise, name), counts in seen.items() if counts[0]]
    return sorted(tests, key=lambda hard: (-hard.share, hard.exercise, hard.test))[:most]
