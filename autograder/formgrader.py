"""nbgrader's Autograde and Generate Feedback, through the judge: formgrader's buttons and the `nbgrader` commands.

nbgrader has no setting for the whole of autograding, only for steps that run after it has parsed the submission and
copied its files. So the classes `Autograde` and `GenerateFeedback` themselves are replaced, for class directories
only, by ones whose `start` is `course grade` in a process of its own: the one judge, the one gradebook writer, and the
one feedback page (nbgrader's would show what is meant for instructors).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbgrader.apps.api
import nbgrader.apps.autogradeapp
import nbgrader.apps.generatefeedbackapp
from nbgrader.converters import Autograde, GenerateFeedback
from nbgrader.converters.base import NbGraderException

_classes: set[Path] = set()


def install(root: str | Path) -> None:
    """Let grading in the class directory `root` go through the judge; elsewhere nbgrader is as it was."""
    _classes.add(Path(root).resolve())
    nbgrader.apps.api.Autograde = nbgrader.apps.autogradeapp.Autograde = JudgedAutograde
    nbgrader.apps.api.GenerateFeedback = JudgedFeedback
    nbgrader.apps.generatefeedbackapp.GenerateFeedback = JudgedFeedback


class JudgedAutograde(Autograde):
    """nbgrader's converter in name and options; in a class directory, `course grade` does the work."""

    def start(self) -> None:
        """Grade the assignment for the student or students that nbgrader was asked for."""
        if not _grade(self, regrade=self.force):
            super().start()


class JudgedFeedback(GenerateFeedback):
    """The course's feedback page, with what was graded by hand in the meantime."""

    def start(self) -> None:
        """Write the pages anew where something has changed."""
        if not _grade(self, regrade=False):
            super().start()


def _grade(converter: Any, regrade: bool) -> bool:
    """Run `course grade` for what a converter was asked for; False where the directory is not a class of ours."""
    root = Path(converter.coursedir.root).resolve()
    if root not in _classes:
        return False
    chapter, student = converter.coursedir.assignment_id, converter.coursedir.student_id
    command = [sys.executable, "-m", "coursebuild.cli", "grade", str(root), chapter]
    if student not in ("", "*"):
        command += [f"--student={student}", *(["--regrade"] if regrade else [])]
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        done = subprocess.run([*command, "--json", report.name], capture_output=True, text=True, check=False)
        converter.log.info("%s", done.stdout.strip())
        if done.returncode:
            message = done.stderr.strip() or _retries(report.name) or "course grade failed"
            converter.log.error("%s", message)
            raise NbGraderException(message)
    return True


def _retries(path: str) -> str:
    """Which submissions need another try, in a sentence."""
    try:
        submissions = json.loads(Path(path).read_text("utf-8"))["submissions"]
    except (OSError, ValueError, KeyError):
        return ""
    again = [entry["student"] for entry in submissions if entry["status"] == "retry"]
    return f"not graded yet, press Autograde again: {', '.join(again)}" if again else ""
