"""Grade a class again and again, killed with SIGKILL at random points, and compare where every run ends.

`python tests/kill_helpers.py CLASS KILLS SEED [real]` prints one line of JSON: how many kills came in the middle, and
the faults that were found. A process of its own, because it forks the grader. `real` grades with the real judge.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from class_helpers import CHAPTER, StubJudge, gradebook_rows

from autograder.classroom import Classroom, open_class
from autograder.grade import Options, grade_class
from autograder.results import as_json


@dataclass
class Outcome:
    """What the kills came to."""

    kills: int = 0
    in_the_middle: int = 0
    faults: list[str] = field(default_factory=list)


def grade(room: Classroom, judge: Any) -> str:
    """The JSON of a whole run."""
    return as_json(grade_class(room, CHAPTER, Options(make_judge=judge)))


def state(room: Classroom) -> dict[str, Any]:
    """Everything that a run must leave behind, whatever happened on the way."""
    files = {
        str(path.relative_to(room.root)): path.read_bytes()
        for name in ("autograded", "feedback")
        for path in sorted((room.root / name).rglob("*"))
        if path.is_file()
    }
    return {"gradebook": gradebook_rows(room), "files": files}


def started(room: Classroom, judge: Any) -> int:
    """The grader in a process of its own."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            grade(room, judge)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def killed(room: Classroom, judge: Any, share: float, whole: int, later: float) -> bool:
    """Kill the grader once its journal has come to a share of the whole, and a moment later.

    The journal is written between all other steps, so this reaches every one of them however busy the machine is.
    Returns False when the grader had ended already.
    """
    pid = started(room, judge)
    journal = room.journal(CHAPTER)
    while not (journal.is_file() and journal.stat().st_size >= share * whole):
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
        time.sleep(0.001)
    time.sleep(later)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def sound(room: Classroom) -> bool:
    """Whether the database is whole after a kill."""
    with sqlite3.connect(room.root / "gradebook.db") as database:
        return bool(database.execute("PRAGMA integrity_check").fetchone()[0] == "ok")


def run(start: Path, kills: int, seed: int, judge: Any) -> Outcome:
    """Kill that many times, up to three times in a row before a run may end."""
    draw, outcome = random.Random(seed), Outcome()
    work = start.parent / "killed"
    plain = open_class(Path(shutil.copytree(start, start.parent / "plain")))
    expected_json = grade(plain, judge)
    whole, expected = plain.journal(CHAPTER).stat().st_size, state(plain)
    while outcome.kills < kills:
        shutil.rmtree(work, ignore_errors=True)
        room = open_class(Path(shutil.copytree(start, work)))
        for _ in range(min(draw.randint(1, 3), kills - outcome.kills)):
            outcome.kills += 1
            point = draw.random(), whole, draw.uniform(0, 0.03)
            outcome.in_the_middle += killed(room, judge, *point)
            if not sound(room):
                outcome.faults.append(f"kill {outcome.kills}: the gradebook is broken")
        if grade(room, judge) != expected_json:
            outcome.faults.append(f"kill {outcome.kills}: other grades")
        found = state(room)
        outcome.faults += [f"kill {outcome.kills}: {key}" for key in expected if found[key] != expected[key]]
    return outcome


if __name__ == "__main__":
    StubJudge.slow = 0.02
    real = sys.argv[4:] == ["real"]
    result = run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), None if real else StubJudge)
    print(json.dumps(result.__dict__))
