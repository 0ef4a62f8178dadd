"""`course bench grading`: the judge against stock `nbgrader autograde`, and where the time of a large class goes.

Two measures in one run. The first grades the same submissions both ways, in turns, so that what else the machine does
meets both. The second grades a class of right, wrong and hostile submissions with the judge alone.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from coursebuild.benchmarks.processes import Cost, Memory, machine
from coursebuild.benchmarks.processes import run as run_command

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
MIXED = (*HONEST, "hugo.martin", "ines.silva", "jonas.weber", "kaito.mori")
ROUNDS = 2
# nbgrader gives up a cell that is slow to answer, which on a busy machine is the machine's fault
PATIENT = ("--ExecutePreprocessor.timeout=600", "--ExecutePreprocessor.iopub_timeout=120")


@dataclass
class Measure:
    """One way of grading: what each run over all submissions cost, its start-up included."""

    name: str
    submissions: int
    costs: list[Cost]

    @property
    def per_minute(self) -> float:
        """Submissions a minute, by the median run."""
        return 60 * self.submissions / statistics.median(cost.seconds for cost in self.costs)

    @property
    def cpu(self) -> float:
        """Seconds of the processor for a submission, by the median run."""
        return statistics.median(cost.cpu for cost in self.costs) / self.submissions

    def line(self) -> str:
        """One line of the report."""
        seconds = [cost.seconds for cost in self.costs]
        low, high = 60 * self.submissions / max(seconds), 60 * self.submissions / min(seconds)
        return (
            f"{self.name:<20}{self.submissions:4d} submissions {self.per_minute:8.1f} a minute "
            f"({low:.1f} to {high:.1f} in {len(seconds)} runs), {self.cpu:.2f} CPU seconds each"
        )

    def data(self) -> dict[str, Any]:
        """The same for programs."""
        return asdict(self) | {"per_minute": self.per_minute, "cpu_each": self.cpu}


def bench(count: int, many: int, rounds: int = ROUNDS, chapter: str = CHAPTER) -> dict[str, Any]:
    """Measure both; returns plain data for `--json`."""
    workers = min(2, len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory(prefix="course-bench-") as directory:
        compared = _compare(Path(directory) / "compared", chapter, count, workers, rounds)
        large = _large(Path(directory) / "large", chapter, many, workers, rounds) if many else None
    return {"chapter": chapter, "workers": workers, "machine": machine(), **compared, "large_class": large}


def _compare(base: Path, chapter: str, count: int, workers: int, rounds: int) -> dict[str, Any]:
    """Both ways on the same submissions, in turns: ours, stock, ours, and again."""
    _make_classes(base, chapter, count)
    ours, stock = Measure("course grade", count, []), Measure("nbgrader autograde", count, [])
    for _ in range(rounds):
        ours.costs.append(_grade(base, chapter, workers))
        shutil.rmtree(base / "stock" / "autograded", ignore_errors=True)
        command = [sys.executable, "-m", "nbgrader", "autograde", chapter, *PATIENT]
        stock.costs.append(run_command(command, base / "stock"))
        ours.costs.append(_grade(base, chapter, workers))
    return {
        "ours": ours.data(),
        "stock": stock.data(),
        "times_faster": ours.per_minute / stock.per_minute,
        "times_less_cpu": stock.cpu / ours.cpu,
        "same_scores": _scores(base / "class", chapter) == _scores(base / "stock", chapter),
        "nothing_new": asdict(run_command(_command(chapter, workers), base)),
    }


def _large(base: Path, chapter: str, count: int, workers: int, rounds: int) -> dict[str, Any]:
    """A large class: some runs for the clock, and one that is watched for its memory."""
    _make_class(base, chapter, count, MIXED)
    measure = Measure("course grade, mixed", count, [_grade(base, chapter, workers) for _ in range(rounds)])
    means = _means(base / "class", chapter)
    memory = Memory()
    _forget(base)
    run_command(_command(chapter, workers), base, memory)
    floor = count * means.get("student_cpu", 0.0) / workers
    return {
        **measure.data(),
        "seconds_of_a_submission": means,
        "floor_seconds": floor,
        "times_the_floor": statistics.median(cost.seconds for cost in measure.costs) / floor,
        "memory_mib": asdict(memory),
    }


def _command(chapter: str, workers: int) -> list[str]:
    return [sys.executable, "-m", "coursebuild.cli", "grade", "class", chapter, f"--workers={workers}"]


def _grade(base: Path, chapter: str, workers: int) -> Cost:
    _forget(base)
    return run_command(_command(chapter, workers), base)


def _forget(base: Path) -> None:
    """Let everything be graded anew."""
    for name in ("autograded", "feedback", ".course/journal"):
        shutil.rmtree(base / "class" / name, ignore_errors=True)


def _make_class(base: Path, chapter: str, count: int, kinds: Sequence[str]) -> Path:
    from autograder.class_setup import init_class, release_chapter
    from autograder.sample import submissions

    room, _ = init_class(base / "class")
    release_chapter(room, chapter)
    for student, text in submissions(room, chapter, count, kinds).items():
        path = room.submitted / student / chapter / f"{chapter}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(text, "utf-8")
    return room.root


def _make_classes(base: Path, chapter: str, count: int) -> None:
    """A class directory of ours and a stock nbgrader one with the same submissions."""
    base.mkdir(parents=True, exist_ok=True)
    root = _make_class(base, chapter, count, HONEST)
    for name in ("source", "submitted"):
        shutil.copytree(root / name, base / "stock" / name)
    shutil.copy(root / "gradebook.db", base / "stock" / "gradebook.db")


def _means(room: Path, chapter: str) -> dict[str, float]:
    """The mean seconds of each part of a submission, as the journal has them."""
    lines = (room / ".course" / "journal" / f"{chapter}.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    reports = [record["report"]["seconds"] for record in records if record["kind"] == "judged"]
    names = dict.fromkeys(name for report in reports for name in report)
    means = {name: statistics.fmean(report.get(name, 0.0) for report in reports) for name in names}
    writes = [record["seconds"] for record in records if record["kind"] == "written"]
    return means | {"write": statistics.fmean(writes)}


def _scores(root: Path, chapter: str) -> dict[tuple[str, str], float | None]:
    """The automatic score of every graded cell."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as book:
        return {
            (submission.student.id, grade.name): grade.auto_score
            for submission in book.assignment_submissions(chapter)
            for notebook in submission.notebooks
            for grade in notebook.grades
        }


def run(json_file: Path | None = None, count: int = 20, many: int = 200, rounds: int = ROUNDS) -> int:
    """The command: measure, print, and write the JSON where asked."""
    print(
        f"Grading {count} submissions of {CHAPTER} both ways, then {many}; this takes a while …", flush=True
    )
    result = bench(count, many, rounds)
    if json_file:
        json_file.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    for key in ("ours", "stock", "large_class"):
        if result[key]:
            data = result[key]
            print(Measure(data["name"], data["submissions"], [Cost(**c) for c in data["costs"]]).line())
    same = "the same scores" if result["same_scores"] else "NOT the same scores"
    print(
        f"{result['times_faster']:.1f} times faster with {result['workers']} workers, "
        f"{result['times_less_cpu']:.1f} times less processor time; {same}"
    )
    if result["large_class"]:
        _say_large(result["large_class"])
    print(f"A run with nothing new to grade: {result['nothing_new']['seconds']:.1f} s")
    print(f"Machine: {result['machine']}")
    return 0


def _say_large(large: dict[str, Any]) -> None:
    parts = ", ".join(f"{name} {seconds:.3f}" for name, seconds in large["seconds_of_a_submission"].items())
    print(f"Seconds of one submission: {parts}")
    print(
        f"The students' own code needs at least {large['floor_seconds']:.1f} s; the run took "
        f"{large['times_the_floor']:.1f} times that"
    )
    own = ", ".join(f"{role} {mib:.0f}" for role, mib in large["memory_mib"]["own"].items())
    print(f"Memory in MiB: {large['memory_mib']['together']:.0f} together; its own: {own}")
