"""The result of a run for machines (`--json`) and for a person at a terminal (the table)."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autograder.grade import ClassResult, Result
from autograder.report import ExerciseResult, Flag
from autograder.submitted import shown

LEVELS = {
    "full": "full (own namespaces, no network, no files of the class)",
    "landlock": "landlock (no network, no files of the class, shared process table)",
    "none": "NONE (a separate process with time limits only): not for official grades",
}


def as_json(result: ClassResult) -> str:
    """The contract of `course grade --json`."""
    data = {
        "chapter": result.chapter,
        "isolation": result.isolation.level,
        "submissions": [_submission(one) for one in result.results],
    }
    return json.dumps(data, indent=1, ensure_ascii=True) + "\n"


def _submission(result: Result) -> dict[str, Any]:
    report, manual = result.report, result.manual
    return {
        "student": result.student,
        "status": report.status,
        "score": report.score,
        "max_score": report.max_score,
        "exercises": [_exercise(exercise) for exercise in report.exercises],
        "flags": _flags(report.flags),
        "manual": {"score": manual.score, "max_score": manual.max_score, "pending": manual.pending},
    }


def _exercise(exercise: ExerciseResult) -> dict[str, Any]:
    return {
        "exercise": exercise.exercise,
        "score": exercise.score,
        "max_score": exercise.max_score,
        "tests": [{"name": t.name, "passed": t.passed, "message": t.message} for t in exercise.tests],
        "flags": _flags(exercise.flags),
    }


def _flags(flags: list[Flag]) -> list[dict[str, str]]:
    return [{"name": flag.name, "message": flag.message} for flag in flags]


def print_table(result: ClassResult, console: Console) -> None:
    """The class's score table, the isolation level, and what needs a person."""
    table = Table(title=f"{result.chapter}", title_justify="left", header_style="bold", show_lines=False)
    table.add_column("student")
    table.add_column("status")
    table.add_column("score", justify="right")
    names = [exercise.exercise for exercise in result.results[0].report.exercises] if result.results else []
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("by hand", justify="right")
    table.add_column("late", justify="right")
    table.add_column("flags", overflow="fold")
    for one in result.results:
        table.add_row(*_row(one, names))
    console.print(table)
    for one in result.results:
        if one.report.status != "graded":
            reasons = "; ".join(flag.message for flag in one.report.flags)
            console.print(f"{escape(shown(one.student))}: {escape(reasons)}", highlight=False)
    console.print(f"Isolation: {LEVELS[result.isolation.level]}")
    failed = [name for name, held in result.isolation.probes.items() if not held]
    if failed:
        console.print(f"Not held on this machine: {', '.join(failed)}")


def _row(one: Result, names: list[str]) -> list[str]:
    report, manual = one.report, one.manual
    colour = {"graded": "green", "invalid": "red", "retry": "yellow"}[report.status]
    by_name = {exercise.exercise: exercise for exercise in report.exercises}
    scores = [f"{by_name[n].score:g}/{by_name[n].max_score:g}" if n in by_name else "" for n in names]
    hand = f"{manual.score:g}/{manual.max_score:g}" if manual.max_score else ""
    hand += f" ({manual.pending} to do)" if manual.pending else ""
    flags = [*report.flags, *(flag for exercise in report.exercises for flag in exercise.flags)]
    total = "—" if report.status == "retry" else f"{report.score:g}/{report.max_score:g}"
    return [
        escape(shown(one.student)),
        f"[{colour}]{report.status}[/]",
        total,
        *scores,
        hand,
        f"−{one.penalty:g}" if one.penalty else "",
        escape(", ".join(dict.fromkeys(flag.name for flag in flags))),
    ]
