"""The same hidden tests under plain `nbgrader autograde`: called from the source notebook's hidden region.

Here the tests run in the kernel that holds the student's code, as nbgrader's own always do, so the score can be
trusted only as far as the student can. `course grade` runs them in a process of their own.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from autograder.student import LocalStudent
from autograder.testing import exercises_of, load, run_exercise


def grade(exercise_id: str, namespace: Mapping[str, Any]) -> float:
    """Run the hidden tests of `slug.exercise` on the functions of a notebook; print what failed.

    Returns the points, which nbgrader reads from the cell's output as partial credit.
    """
    slug, name = exercise_id.split(".")
    exercise = exercises_of(load(slug))[name]
    with _without_stderr():
        result = run_exercise(exercise, LocalStudent(namespace), seed=_seed_of_this_machine(slug))
    for test in result.tests:
        print(
            f"{'passed' if test.passed else 'failed'}  {test.name}"
            + ("" if test.passed else f": {test.message}")
        )
    return result.score


def _seed_of_this_machine(slug: str) -> bytes:
    """The same for a whole class, today and tomorrow: equal work earns equal points. Not to be read in a repository."""
    return hashlib.sha256(f"{uuid.getnode()} {slug}".encode()).digest()


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Nothing reaches the cell's stderr: nbgrader gives a cell no points when there is a word on it, even a warning.

    A student's code may write through `sys.stderr`, through the kernel's stream that a logger keeps hold of, or, as
    torch's own warnings do, through the file descriptor.
    """
    stream = sys.stderr
    muted = io.StringIO()
    with contextlib.redirect_stderr(muted), _muted(stream), _descriptor_muted():
        yield


@contextlib.contextmanager
def _muted(stream: Any) -> Iterator[None]:
    """The kernel's own stream takes what is written, and drops it. (A stream of C takes no such attribute.)"""
    try:
        stream.write = len
    except AttributeError:
        yield
        return
    try:
        yield
    finally:
        del stream.write


@contextlib.contextmanager
def _descriptor_muted() -> Iterator[None]:
    with open(os.devnull, "wb") as nothing:
        kept = os.dup(2)
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
