"""A student's way through an exercise in JupyterLab: write, run, press Validate, read what it says."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Page, expect

from coursebuild.chapter import load
from coursebuild.compose import dumps, release_notebook, solution_notebook

CHAPTER = "01_soft_lookup"
TOKEN = "a-token-for-this-test"


@dataclass
class Lab:
    """A running JupyterLab and the folder that it shows."""

    address: str
    folder: Path


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("notebooks")
    home = tmp_path_factory.mktemp("home")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (home / "lab.log").open("w")
    server = subprocess.Popen(
        [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
            f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={TOKEN}",
            "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=''",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ],
        cwd=folder, stdout=log, stderr=log,
        env={**os.environ, "HOME": str(home), "JUPYTER_CONFIG_DIR": str(home / ".jupyter"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            assert server.poll() is None, (home / "lab.log").read_text()
            try:
                urllib.request.urlopen(f"{address}/api/status?token={TOKEN}", timeout=2).close()
                break
            except OSError:
                time.sleep(0.5)
        else:
            pytest.fail("JupyterLab did not start:\n" + (home / "lab.log").read_text())
        yield Lab(address, folder)
    finally:
        server.kill()  # its notebooks are copies in a temporary folder: nothing is lost
        server.wait(20)
        log.close()


def first_exercise() -> str:
    return load(CHAPTER).exercises[0].name


def notebook_with_one_exercise_left() -> str:
    """The student's notebook with every exercise solved but the first."""
    chapter = load(CHAPTER)
    solved, stubs = solution_notebook(chapter), release_notebook(chapter)
    for cell, stub in zip(solved.cells, stubs.cells, strict=True):
        if cell.metadata.get("nbgrader", {}).get("grade_id") == first_exercise():
            cell.source = stub.source
    return dumps(solved)


def open_notebook(browser: Browser, lab: Lab, name: str, text: str) -> Page:
    (lab.folder / name).write_text(text, encoding="utf-8")
    page = browser.new_page(viewport={"width": 1300, "height": 950})
    # a workspace of its own, or the notebooks of earlier tests are open beside it
    page.goto(f"{lab.address}/lab/workspaces/{Path(name).stem}/tree/{name}?token={TOKEN}")
    page.locator(".jp-NotebookPanel .jp-Notebook").wait_for(timeout=90_000)
    page.wait_for_function(
        "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
        timeout=90_000,
    )
    return page


def write_into_exercise(page: Page, grade_id: str, code: str) -> None:
    page.evaluate(
        """(id) => {
          const notebook = window.jupyterapp.shell.currentWidget.content;
          const at = notebook.widgets.findIndex((cell) => cell.model.getMetadata("nbgrader")?.grade_id === id);
          notebook.activeCellIndex = at;
          return notebook.scrollToItem(at, "center");
        }""",
        grade_id,
    )
    editor = page.locator(".jp-Notebook .jp-Cell.jp-mod-active .cm-content")
    editor.click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(code)


def run_all(page: Page) -> None:
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_timeout(500)
    page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'",
        timeout=120_000,
    )


def outputs_of(page: Page, grade_id: str) -> str:
    return json.dumps(
        page.evaluate(
            """(id) => window.jupyterapp.shell.currentWidget.content.widgets
              .find((cell) => cell.model.getMetadata("nbgrader")?.grade_id === id).model.toJSON().outputs""",
            grade_id,
        )
    )


def validate(page: Page) -> str:
    page.locator(".validate-button jp-button, .validate-button button").first.click()
    dialog = page.locator(".jp-Dialog #validation-message")
    dialog.wait_for(timeout=240_000)
    return dialog.inner_text()


def solution() -> str:
    cells = solution_notebook(load(CHAPTER)).cells
    return next(c.source for c in cells if c.metadata.get("nbgrader", {}).get("grade_id") == first_exercise())


def test_a_right_solution_validates(browser: Browser, lab: Lab) -> None:
    page = open_notebook(browser, lab, "right.ipynb", notebook_with_one_exercise_left())
    write_into_exercise(page, first_exercise(), solution())
    run_all(page)
    assert "error" not in outputs_of(page, f"{first_exercise()}-visible")
    said = validate(page)
    assert "Success! Your notebook passes all the tests." in said, said
    page.close()
    saved = nbformat.read(lab.folder / "right.ipynb", as_version=4)
    assert solution() in [cell.source for cell in saved.cells]


def test_a_wrong_solution_is_told_what_is_wrong(browser: Browser, lab: Lab) -> None:
    page = open_notebook(browser, lab, "wrong.ipynb", notebook_with_one_exercise_left())
    name = first_exercise()
    write_into_exercise(page, name, f"def {name}(x):\n    return [0.5 for _ in x]")
    run_all(page)
    said = validate(page)
    assert "The following cell failed" in said, said
    assert "AssertionError" in said, said
    page.close()


def test_the_student_notebook_opens_without_complaint(browser: Browser, lab: Lab) -> None:
    page = open_notebook(browser, lab, "fresh.ipynb", dumps(release_notebook(load(CHAPTER))))
    expect(page.locator(".jp-Dialog")).to_have_count(0)
    shown = page.evaluate(
        """() => window.jupyterapp.shell.currentWidget.content.widgets
          .filter((cell) => cell.model.type === "markdown")
          .map((cell) => cell.model.sharedModel.getSource()).join("\\n")"""
    )
    for raw in (":::", "{cite}", "{term}", "{ref}", "\\q{", "\\k{"):
        assert raw not in shown, f"the notebook shows {raw!r} to the student"
    page.close()
