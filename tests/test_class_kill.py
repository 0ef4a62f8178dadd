"""kill -9 at random points loses nothing: every run ends with the same grades, files and gradebook.

Five kills here; `COURSE_KILLS=200 pytest tests/test_class_kill.py` does two hundred.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from class_helpers import CHAPTER, grade, hand_in
from nbgrader.api import Gradebook

from autograder.class_setup import init_class, release_chapter
from coursebuild.chapter import load

KILLS = int(os.environ.get("COURSE_KILLS", "5"))
SEED = int(os.environ.get("COURSE_KILLS_SEED", "1"))


def make_class(root: Path) -> None:
    """A class in which one student has points and a comment by hand, and has handed in again."""
    room, _ = init_class(root)
    release_chapter(room, CHAPTER)
    names = [exercise.name for exercise in load(CHAPTER).exercises]
    hand_in(room, "ada", wrong=(names[0],))
    grade(room)
    with Gradebook(room.database) as book:
        one = book.find_grade(f"{names[0]}-hidden", CHAPTER, CHAPTER, "ada")
        one.manual_score, one.extra_credit, one.needs_manual_grade = 2.5, 0.5, False
        book.find_comment(names[0], CHAPTER, CHAPTER, "ada").manual_comment = "nearly"
        book.db.commit()
    hand_in(room, "ada", extra="a second attempt")
    for number in range(5):
        hand_in(room, f"student{number}", wrong=tuple(names[:number]))
    hand_in(room, "broken").write_bytes(b"{")


def test_kills_at_random_points_change_nothing(tmp_path: Path) -> None:
    make_class(tmp_path / "class")
    script = Path(__file__).parent / "kill_helpers.py"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "class"), str(KILLS), str(SEED)],
        capture_output=True, text=True, timeout=120 + 60 * KILLS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["faults"] == []
    assert outcome["kills"] == KILLS
    assert outcome["in_the_middle"] > KILLS / 2, "most kills must come while the grader works"
    if KILLS > 50:
        print(outcome)
