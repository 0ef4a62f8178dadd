"""nbgrader's Autograde, through the judge: formgrader's button and `nbgrader autograde` in a class directory.

nbgrader has no setting for the whole of autograding, only for steps that run after it has parsed the submission and
copied its files. So the class `Autograde` itself is replaced, for class directories only, by one whose `start` is
`course grade` in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import nbgrader.apps.api
import nbgrader.apps.autogradeapp
from nbgrader.converters import Autograde
from nbgrader.converters.base import NbGraderException

_classes: set[Path] = set()


def install(root: str | Path) -> None:
    """Let autograding in the class directory `root` go through the judge; elsewhere nbgrader is as it was."""
    _classes.add(Path(root).resolve())
    for module in (nbgrader.apps.api, nbgrader.apps.autogradeapp):
        module.Autograde = JudgedAutograde


class JudgedAutograde(Autograde):
    """nbgrader's converter in name and options; in a class directory, `course grade` does the work."""

    def start(self) -> None:
        """Grade the assignment for the student or students that nbgrader was asked for."""
        root = Path(self.coursedir.root).resolve()
        if root not in _classes:
            super().start()
            return
        chapter, student = self.coursedir.assignment_id, self.coursedir.student_id
        command = [sys.executable, "-m", "coursebuild.cli", "grade", str(root), chapter]
        if student not in ("", "*"):
            command += [f"--student={student}"]
        if self.force and student not in ("", "*"):
            command += ["--regrade"]
        with tempfile.NamedTemporaryFile(suffix=".json") as report:
            done = subprocess.run(
                [*command, "--json", report.name], capture_output=True, text=True, check=False
            )
            self.log.info("%s", done.stdout.strip())
            if done.returncode:
                message = done.stderr.strip() or _retries(report.name) or "course grade failed"
                self.log.error("%s", message)
                raise NbGraderException(message)


def _retries(path: str) -> str:
    """Which submissions need another try, in a sentence."""
    try:
        submissions = json.loads(Path(path).read_text("utf-8"))["submissions"]
    except (OSError, ValueError, KeyError):
        return ""
    again = [entry["student"] for entry in submissions if entry["status"] == "retry"]
    return f"not graded yet, press Autograde again: {', '.join(again)}" if again else ""
