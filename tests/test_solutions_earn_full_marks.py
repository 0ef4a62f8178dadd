"""What `solutions/` holds, handed in as it is, earns every point of every chapter, from the judge in its sandbox."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autograder.judge import Judge
from coursebuild.chapter import all_chapters, load
from coursebuild.errors import CourseError
from coursebuild.paths import ROOT


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """The judge at the best level that this machine has."""
    try:
        entered = Judge().__enter__()
    except CourseError as error:
        pytest.skip(f"not on this machine: {error}")
    yield entered
    entered.__exit__(None, None, None)


@pytest.mark.parametrize("chapter", all_chapters())
def test_every_point(judge: Judge, chapter: str) -> None:
    content = (ROOT / "solutions" / f"{chapter}.ipynb").read_bytes()
    report = judge.grade(content, chapter, seed=b"full marks")
    failed = [
        f"{exercise.exercise}.{test.name}: {test.message}"
        for exercise in report.exercises
        for test in exercise.tests
        if not test.passed
    ]
    assert not failed
    assert report.status == "graded"
    assert not report.flags, report.flags
    assert report.score == sum(exercise.points for exercise in load(chapter).exercises)
