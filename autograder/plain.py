"""The same hidden tests under plain `nbgrader autograde`: called from the source notebook's hidden region.

Here the tests run in the kernel that holds the student's code, as nbgrader's own always do, so the score can be
trusted only as far as the student can. `course grade` runs them in a process of their own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from autograder.student import LocalStudent
from autograder.testing import exercises_of, load, run_exercise


def grade(exercise_id: str, namespace: Mapping[str, Any]) -> float:
    """Run the hidden tests of `slug.exercise` on the functions of a notebook; print what failed.

    Returns the points, which nbgrader reads from the cell's output as partial credit.
    """
    slug, name = exercise_id.split(".")
    exercise = exercises_of(load(slug))[name]
    result = run_exercise(exercise, LocalStudent(namespace), seed=os.urandom(32))
    for test in result.tests:
        print(
            f"{'passed' if test.passed else 'failed'}  {test.name}"
            + ("" if test.passed else f": {test.message}")
        )
    return result.score
