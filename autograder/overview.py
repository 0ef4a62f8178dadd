"""The page for the instructor: the class at a glance, the hardest tests, and what needs a person's eye."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autograder.class_result import ClassResult, Result
from autograder.pages import asset, render
from autograder.similar import Pair
from autograder.submitted import shown
from coursebuild.chapter import Chapter

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


def overview_page(result: ClassResult, chapter: Chapter, pairs: Sequence[Pair]) -> str:
    """The page; its one script sorts the tables. `pairs` are those whose code is alike."""
    rows = [_row(one) for one in result.results]
    names = [exercise.name for exercise in chapter.exercises]
    return render(
        "overview.html",
        script=asset("overview.js"),
        chapter=chapter,
        isolation=result.isolation,
        rows=rows,
        names=names,
        bins=_distribution([_share(one) for one in result.results if one.report.status == "graded"]),
        exercises=[_of_exercise(result.results, exercise.name) for exercise in chapter.exercises],
        levels=Counter(row["level"] for row in rows if row["level"]).most_common(),
        flags=Counter(name for row in rows for name in dict(row["flags"])).most_common(),
        pairs=[{"first": shown(pair.first), "second": shown(pair.second), "pair": pair} for pair in pairs],
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
        "level": report.isolation.level if report.isolation else "",
        "score": report.score,
        "max_score": report.max_score,
        "exercises": {exercise.exercise: exercise for exercise in report.exercises},
        "manual": one.manual,
        "penalty": one.penalty,
        "flags": list(dict.fromkeys(flags)),
        "seconds": report.seconds.get("total", 0.0),
    }


def _share(one: Result) -> float:
    """The share of the points that tests give."""
    return one.report.score / one.report.max_score if one.report.max_score else 0.0


def _distribution(shares: Sequence[float]) -> list[dict[str, Any]]:
    """How many have which share of the points, in tenths."""
    counts = [0] * BINS
    for share in shares:
        counts[min(int(BINS * share), BINS - 1)] += 1
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


def _of_exercise(results: list[Result], name: str) -> dict[str, Any]:
    """One exercise over the class."""
    found = [
        exercise
        for one in results
        if one.report.status == "graded"
        for exercise in one.report.exercises
        if exercise.exercise == name
    ]
    shares = [exercise.score / exercise.max_score for exercise in found if exercise.max_score]
    return {
        "name": name,
        "mean": statistics.fmean(shares) if shares else 0.0,
        "full": sum(share >= 1 for share in shares),
        "none": sum(share == 0 for share in shares),
        "total": len(shares),
        "bins": _distribution(shares),
    }


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
