"""`course bench grading`: the judge against stock `nbgrader autograde`, on the same submissions in the same run."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

CHAPTER = "03_multi_head"
HONEST = (
    "amara.okafor",
    "ben.adler",
    "chiara.rossi",
    "daniel.kim",
    "elif.yilmaz",
    "farid.haddad",
    "greta.lindqvist",
)


@dataclass
class Measure:
    """One way of grading: seconds of each run over all submissions, its start-up included."""

    name: str
    submissions: int
    seconds: list[float]

    @property
    def per_minute(self) -> float:
        """Submissions a minute, by the median run."""
        return 60 * self.submissions / statistics.median(self.seconds)

    def line(self) -> str:
        """One line of the report."""
        low, high = 60 * self.submissions / max(self.seconds), 60 * self.submissions / min(self.seconds)
        runs = f"{len(self.seconds)} run" + ("s" if len(self.seconds) > 1 else "")
        return f"{self.name:<24} {self.per_minute:8.1f} a minute   ({low:.1f} to {high:.1f} over {runs})"


def bench(
    count: int = 20, repeats: int = 3, stock_repeats: int = 2, chapter: str = CHAPTER
) -> dict[str, Any]:
    """Measure both ways; returns plain data for `--json`."""
    workers = min(2, len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory(prefix="course-bench-") as directory:
        base = Path(directory)
        _make_classes(base, chapter, count)
        grade = [sys.executable, "-m", "coursebuild.cli", "grade", "class", chapter, f"--workers={workers}"]
        ours = Measure("course grade", count, [_timed(base, grade, _forget) for _ in range(repeats)])
        again = _timed(base, grade)
        phases = _phases(base / "class", chapter)
        stock_command = [sys.executable, "-m", "nbgrader", "autograde", chapter]
        stock_runs = [_timed(base / "stock", stock_command, _forget_stock) for _ in range(stock_repeats)]
        stock = Measure("nbgrader autograde", count, stock_runs)
        agree = _same_scores(base, chapter)
    return {
        "chapter": chapter,
        "submissions": count,
        "workers": workers,
        "ours": asdict(ours) | {"per_minute": ours.per_minute},
        "stock": asdict(stock) | {"per_minute": stock.per_minute},
        "times_faster": ours.per_minute / stock.per_minute,
        "nothing_new_seconds": again,
        "seconds_of_a_submission": phases,
        "same_scores": agree,
        "machine": _machine(),
    }


def _make_classes(base: Path, chapter: str, count: int) -> None:
    """A class directory of ours and a stock nbgrader one with the same submissions."""
    from autograder.class_setup import init_class, release_chapter
    from autograder.sample import submissions

    room, _ = init_class(base / "class")
    release_chapter(room, chapter)
    for student, text in submissions(room, chapter, count, HONEST).items():
        path = room.submitted / student / chapter / f"{chapter}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(text, "utf-8")
    for name in ("source", "submitted"):
        shutil.copytree(room.root / name, base / "stock" / name)
    shutil.copy(room.root / "gradebook.db", base / "stock" / "gradebook.db")


def _timed(where: Path, command: list[str], before: Callable[[Path], None] = lambda where: None) -> float:
    before(where)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return seconds


def _forget(where: Path) -> None:
    """Let everything be graded anew."""
    for name in ("autograded", "feedback", ".course/journal"):
        shutil.rmtree(where / "class" / name, ignore_errors=True)


def _forget_stock(where: Path) -> None:
    shutil.rmtree(where / "autograded", ignore_errors=True)


def _phases(room: Path, chapter: str) -> dict[str, float]:
    """The mean seconds of each part of judging a submission, as the judge reports them."""
    lines = (room / ".course" / "journal" / f"{chapter}.jsonl").read_text("utf-8").splitlines()
    reports = [r["report"]["seconds"] for r in map(json.loads, lines) if r["kind"] == "judged"]
    names = dict.fromkeys(name for report in reports for name in report)
    return {name: statistics.fmean(report.get(name, 0.0) for report in reports) for name in names}


def _same_scores(base: Path, chapter: str) -> bool:
    """Whether both gradebooks hold the same automatic score for every graded cell."""
    return _scores(base / "class", chapter) == _scores(base / "stock", chapter)


def _scores(root: Path, chapter: str) -> dict[tuple[str, str], float | None]:
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as book:
        return {
            (submission.student.id, grade.name): grade.auto_score
            for submission in book.assignment_submissions(chapter)
            for notebook in submission.notebooks
            for grade in notebook.grades
        }


def _machine() -> dict[str, Any]:
    versions = {name: version(name) for name in ("torch", "numpy", "nbgrader")}
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "python": platform.python_version(),
        **versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def run(json_file: Path | None = None, count: int = 20) -> int:
    """The command: measure, print, and write the JSON where asked."""
    print(f"Grading {count} submissions of {CHAPTER} both ways; this takes some minutes …", flush=True)
    result = bench(count)
    for key in ("ours", "stock"):
        data = result[key]
        print(Measure(data["name"], data["submissions"], data["seconds"]).line())
    same = "the same scores" if result["same_scores"] else "NOT the same scores"
    print(f"{result['times_faster']:.1f} times faster with {result['workers']} workers; {same}")
    parts = ", ".join(f"{name} {seconds:.3f}" for name, seconds in result["seconds_of_a_submission"].items())
    print(
        f"Seconds of one submission: {parts}; a run with nothing new to grade: {result['nothing_new_seconds']:.1f} s"
    )
    print(f"Machine: {result['machine']}")
    if json_file:
        json_file.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    return 0
