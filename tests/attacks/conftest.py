"""A judge for each level of isolation that this machine has, and submissions to attack it with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attack_tools import TARGET, cell, solved

from autograder.judge import Judge, Limits
from coursebuild.errors import CourseError

LIMITS = Limits(cells=3, call=1, total=12, cpu=12, memory=1 << 30)


@pytest.fixture(scope="session", params=["full", "landlock"])
def judge(request: pytest.FixtureRequest) -> Iterator[Judge]:
    """The judge of one level, with limits short enough for tests."""
    try:
        entered = Judge(isolation=request.param, limits=LIMITS).__enter__()
    except CourseError as error:
        pytest.skip(f"not on this machine: {error}")
    yield entered
    entered.__exit__(None, None, None)


@pytest.fixture(scope="session")
def right() -> str:
    """The right solution of the attacked exercise."""
    source: str = cell(solved(), TARGET)["source"]
    return source
