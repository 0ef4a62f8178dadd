"""formgrader opens a class directory, shows the judge's verdicts, and its Autograde button asks the same judge."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest
from nbgrader.api import Gradebook
from playwright.sync_api import Browser, Page, Route, expect

from autograder.class_setup import init_class, release_chapter
from autograder.classroom import Classroom
from autograder.sample import submissions
from coursebuild.chapter import load

CHAPTER = "03_multi_head"
TOKEN = "formgrader-test"
KINDS = ("amara.okafor", "daniel.kim")


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Classroom:
    """A class with a right and a wrong submission, graded from the command line."""
    room, _ = init_class(tmp_path_factory.mktemp("formgrader") / "class")
    release_chapter(room, CHAPTER)
    for student, text in submissions(room, CHAPTER, 2, KINDS).items():
        path = room.submitted / student / CHAPTER / f"{CHAPTER}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(text, "utf-8")
    _course("grade", str(room.root), CHAPTER, "--json", str(room.root / "first.json"))
    return room


def _course(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "coursebuild.cli", *arguments], check=True, timeout=300)


@pytest.fixture(scope="module")
def server(room: Classroom) -> Iterator[str]:
    """A Jupyter server in the class directory, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyter", "server", "--no-browser", f"--port={port}", "--allow-root",
               f"--IdentityProvider.token={TOKEN}"]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=room.root, env={**os.environ, "JUPYTER_CONFIG_DIR": str(room.root)}
    )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(f"{address}/api?token={TOKEN}")
        yield address
    finally:
        process.kill()  # its notebooks are copies in a temporary folder: nothing is lost
        process.wait(20)


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


@pytest.fixture
def page(browser: Browser, server: str) -> Iterator[Page]:
    """A page that is logged in and asks no other host.

    nbgrader's grading page loads MathJax from a host of its own and starts its script at the `load` event: where the
    network swallows that request instead of refusing it, the page stays dead for minutes.
    """

    def only_ours(route: Route) -> None:
        if route.request.url.startswith(server):
            route.continue_()
        else:
            route.abort()

    page = browser.new_page()
    page.route("**/*", only_ours)
    page.goto(f"{server}/formgrader?token={TOKEN}")
    yield page
    page.close()


def scores(room: Classroom) -> dict[str, float]:
    """Everybody's score in the gradebook."""
    with Gradebook(room.database) as book:
        return {one.student.id: one.score for one in book.assignment_submissions(CHAPTER)}


def open_submission(page: Page, server: str, student: str) -> None:
    """The grading page of one student's notebook, with the scores that its script fills in."""
    listed = page.request.get(f"{server}/formgrader/api/submitted_notebooks/{CHAPTER}/{CHAPTER}").json()
    found = next(entry["id"] for entry in listed if entry["student"] == student)
    page.goto(f"{server}/formgrader/submissions/{found}/")
    expect(page.locator("input.score[placeholder]").first).to_be_visible(timeout=20_000)


def test_the_chapter_and_its_grades_are_listed(page: Page, server: str, room: Classroom) -> None:
    expect(page.get_by_text(CHAPTER).first).to_be_visible(timeout=20_000)
    page.goto(f"{server}/formgrader/manage_submissions/{CHAPTER}")
    chapter = load(CHAPTER)
    first = json.loads((room.root / "first.json").read_text("utf-8"))["submissions"][0]
    everything = sum(one.points for one in (*chapter.exercises, *chapter.questions))
    waits = "needs manual grading" if chapter.questions else "graded"
    row = page.locator("tr", has_text="student000")
    expect(row.locator("td.status")).to_have_text(waits, timeout=20_000)
    expect(row.locator("td.score")).to_have_text(f"{first['score']:g} / {everything:g}")


def test_the_verdict_stands_in_the_notebook(page: Page, server: str, room: Classroom) -> None:
    entry = json.loads((room.root / "first.json").read_text("utf-8"))["submissions"][1]
    exercise = next(one for one in entry["exercises"] if one["score"] < one["max_score"])
    failed = next(test["name"] for test in exercise["tests"] if not test["passed"])
    open_submission(page, server, "student001")
    expect(page.locator(f"input[id='{exercise['exercise']}-hidden']")).to_have_attribute(
        "placeholder", f"{exercise['score']:g}"
    )
    verdict = page.locator(".output_stdout", has_text=f"{exercise['exercise']}: {exercise['score']:g} of")
    expect(verdict).to_contain_text(f"FAILED  {failed}")


def test_what_a_person_grades_by_hand_stays(page: Page, server: str, room: Classroom) -> None:
    question = load(CHAPTER).questions[0]
    before = scores(room)["student000"]
    open_submission(page, server, "student000")
    saved = "**/formgrader/api/"
    with page.expect_response(f"{saved}grade/*"):
        page.locator(f"input.score[id='{question.name}']").fill("2.5")
        page.keyboard.press("Tab")  # the field is saved when it is left
    with page.expect_response(f"{saved}comment/*"):
        page.locator(f"textarea[id='{question.name}-comment']").fill("Say why, not only that.")
        page.keyboard.press("Tab")
    _course("grade", str(room.root), CHAPTER, "--regrade")
    with Gradebook(room.database) as book:
        grade = book.find_grade(question.name, CHAPTER, CHAPTER, "student000")
        assert (grade.manual_score, grade.needs_manual_grade) == (2.5, False)
        comment = book.find_comment(question.name, CHAPTER, CHAPTER, "student000")
        assert comment.manual_comment == "Say why, not only that."
    assert scores(room)["student000"] == before + 2.5
    assert "Say why, not only that." in room.feedback("student000", CHAPTER).read_text("utf-8")
    page.goto(f"{server}/formgrader/manage_submissions/{CHAPTER}")
    expect(page.locator("tr", has_text="student000").locator("td.status")).to_have_text("graded")


def test_the_autograde_button_gives_the_same_grades(page: Page, server: str, room: Classroom) -> None:
    before = scores(room)
    (room.autograded("student001", CHAPTER)).unlink()
    page.goto(f"{server}/formgrader/manage_submissions/{CHAPTER}")
    row = page.locator("tr", has_text="student001")
    row.locator("td.autograde a").click()
    expect(page.locator(".modal-title", has_text="Success")).to_be_visible(timeout=120_000)
    assert room.autograded("student001", CHAPTER).is_file()
    assert scores(room) == before
    assert room.feedback("student001", CHAPTER).is_file()
