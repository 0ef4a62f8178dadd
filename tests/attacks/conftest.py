"""A judge for each level of isolation that this machine has, and a note of which row was held at which level."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attack_tools import LIMITS, TARGET, cell, solved
from rows import NOT_HELD, ROWS

from autograder.judge import Judge
from coursebuild.errors import CourseError

LEVELS = ("full", "landlock", "none")
_outcomes: dict[str, dict[str, dict[str, str]]] = {}  # row, level, case


@pytest.fixture(scope="session", params=LEVELS)
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


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--levels-json", default=None, help="write which row was held at which level to this file"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "row(name): a case of a row of the attack table")


def _level(item: pytest.Item) -> str:
    call = getattr(item, "callspec", None)
    return str(call.params["judge"]) if call and "judge" in call.params else "any"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a level cannot hold must fail there, as it is said to."""
    for item in items:
        mark = item.get_closest_marker("row")
        reason = NOT_HELD.get(_level(item), {}).get(mark.args[0]) if mark else None
        if reason:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    mark = item.get_closest_marker("row")
    if mark and (report.when == "call" or report.skipped):
        kept = _outcomes.setdefault(mark.args[0], {}).setdefault(_level(item), {})
        kept[item.name] = "not held" if hasattr(report, "wasxfail") else report.outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = session.config.getoption("--levels-json")
    if path:
        rows = [{**one._asdict(), "outcomes": _outcomes.get(one.name, {})} for one in ROWS]
        Path(path).write_text(json.dumps({"rows": rows, "levels": LEVELS, "not_held": NOT_HELD}))
