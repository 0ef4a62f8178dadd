"""The instructor's page in a browser: its tables sort, and its script is the only one that may run."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from autograder.class_setup import init_class, release_chapter
from coursebuild.chapter import load

sys.path.insert(0, str(Path(__file__).parents[1]))

from class_helpers import CHAPTER, grade, hand_in


@pytest.fixture(scope="module")
def overview(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page on a class of three."""
    room, _ = init_class(tmp_path_factory.mktemp("overview") / "class")
    release_chapter(room, CHAPTER)
    names = tuple(exercise.name for exercise in load(CHAPTER).exercises)
    hand_in(room, "ada", wrong=names[:1])
    hand_in(room, "bo")
    hand_in(room, "cy<img src=x onerror=document.title=1>", wrong=names)
    grade(room)
    return room.overview(CHAPTER)


@pytest.fixture
def page(browser: Browser, overview: Path) -> Iterator[Page]:
    page = browser.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text))
    page.goto(overview.as_uri())
    yield page
    page.close()
    assert faults == []


def order(page: Page) -> list[str]:
    rows = page.locator("table", has_text="status").locator("tbody tr td:first-child")
    return [text[:3] for text in rows.all_inner_texts()]


def test_the_table_of_everybody_sorts_both_ways(page: Page) -> None:
    everybody = page.locator("table", has_text="status")
    head = everybody.locator("thead button", has_text=re.compile("^score$"))
    head.click()
    assert order(page) == ["cy<", "ada", "bo"]
    head.click()
    assert order(page) == ["bo", "ada", "cy<"]
    everybody.locator("thead button", has_text=re.compile("^student$")).click()
    assert order(page) == ["ada", "bo", "cy<"]
    assert page.title() != "1"
