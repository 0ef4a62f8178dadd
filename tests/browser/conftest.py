"""A Chromium for the browser tests, and the built book; both once a session."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from coursebuild import book

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REQUIRED = bool(os.environ.get("REQUIRE_BROWSER"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here is a browser test."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With REQUIRE_BROWSER set, as `.ci/run` does, a browser test that was skipped has failed."""
    report = yield
    here = item.path.is_relative_to(Path(__file__).parent)
    if REQUIRED and here and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"REQUIRE_BROWSER is set, and this browser test did not run. {reason}"
    return report


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A running Chromium; where none is installed the tests are skipped, and say so."""
    named = os.environ.get("CHROMIUM")
    path = named or next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium was found: install one, or name it in the environment variable CHROMIUM")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="session")
def site() -> Path:
    """The built book, as `course build` makes it or the folder named in COURSE_SITE."""
    built = os.environ.get("COURSE_SITE")
    return Path(built) if built else book.build().parent
