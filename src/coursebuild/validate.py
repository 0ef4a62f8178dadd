"""Runs a student's notebook with its visible tests, and says for each exercise what came of them.

Needs nbclient and a kernel, nothing of the instructors' package.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from coursebuild.errors import CourseError, shown

VISIBLE = re.compile(r"^(?P<exercise>\w+)-visible(-\d+)?$")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class ValidationResult:
    """What there is to say of one exercise or written question: passed, failed, or not written."""

    exercise: str
    state: str
    message: str = ""


def validate(path: Path, *, timeout: int = 120) -> list[ValidationResult]:
    """Run the notebook and judge its exercises by their visible tests; the file is not changed."""
    notebook = read_notebook(path)
    tests = {cell.metadata.nbgrader.grade_id: cell for cell in notebook.cells if _is_visible(cell)}
    if not tests:
        raise CourseError(f"{shown(path)} has no visible tests; give a notebook of the course, NN_slug.ipynb")
    _refuse_changed(path, list(tests.values()))
    run(notebook, path, timeout)
    names = list(dict.fromkeys(VISIBLE.match(name)["exercise"] for name in tests))  # type: ignore[index]
    return [*(_judge(name, notebook) for name in names), *_unanswered(notebook)]


def read_notebook(path: Path) -> NotebookNode:
    """A notebook, or one sentence about why it is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CourseError(f"there is no file {shown(path)}; give the path of the notebook") from None
    except (IsADirectoryError, UnicodeDecodeError):
        raise CourseError(f"{shown(path)} is not a notebook; give the path of an .ipynb file") from None
    try:
        notebook = nbformat.reads(text, as_version=4)
        nbformat.validate(notebook)
    except Exception:
        raise CourseError(
            f"{shown(path)} is a broken notebook; open it in JupyterLab and save it again, or fetch it anew"
        ) from None
    return notebook


def run(notebook: NotebookNode, path: Path, timeout: int) -> None:
    """Run all cells as JupyterLab would; a failing cell does not stop those below it."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    client = NotebookClient(
        notebook, timeout=timeout, kernel_name="python3", allow_errors=True, record_timing=False,
        interrupt_on_timeout=False, extra_arguments=["--HistoryManager.enabled=False", "--Application.log_level=40"],
    )  # fmt: skip
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    try:
        with tempfile.TemporaryDirectory(prefix="course-validate-") as folder:
            client.resources = {"metadata": {"path": folder}}
            client.execute(stderr=subprocess.DEVNULL)  # a dying kernel's last words
    except CellTimeoutError:
        raise CourseError(
            f"a cell of {shown(path)} ran longer than {timeout} s; is there an endless loop?"
        ) from None
    except DeadKernelError:
        raise CourseError(
            f"the kernel died while running {shown(path)}, perhaps for want of memory"
        ) from None


def _is_visible(cell: NotebookNode) -> bool:
    facts = cell.metadata.get("nbgrader", {})
    return bool(facts.get("grade") and VISIBLE.match(str(facts.get("grade_id", ""))))


def _refuse_changed(path: Path, tests: list[NotebookNode]) -> None:
    """A test that somebody changed proves nothing."""
    from nbgrader.utils import compute_checksum

    for cell in tests:
        facts = cell.metadata.nbgrader
        if facts.get("checksum") and facts.checksum != compute_checksum(cell):
            raise CourseError(
                f"the test cell {facts.grade_id} of {shown(path)} was changed; "
                "copy it from a fresh notebook of the chapter"
            )


def _judge(name: str, notebook: NotebookNode) -> ValidationResult:
    for cell in notebook.cells:
        grade_id = str(cell.metadata.get("nbgrader", {}).get("grade_id", ""))
        match = VISIBLE.match(grade_id)
        if grade_id != name and not (match and match["exercise"] == name):
            continue
        error = next((output for output in cell.get("outputs", []) if output.output_type == "error"), None)
        if error is not None and error.ename == "NotImplementedError":
            return ValidationResult(name, "not written")
        if error is not None:
            return ValidationResult(name, "failed", _message(error))
        if match and (warned := _warnings(cell)):
            return ValidationResult(name, "failed", f"the test passes but a warning was printed: {warned}")
    return ValidationResult(name, "passed")


def _unanswered(notebook: NotebookNode) -> list[ValidationResult]:
    """The written questions that still hold what the notebook came with; a person judges the others."""
    from nbgrader.utils import compute_checksum, is_grade, is_solution

    return [
        ValidationResult(cell.metadata.nbgrader.grade_id, "not written", "the written answer is missing")
        for cell in notebook.cells
        if is_grade(cell)
        and is_solution(cell)
        and cell.metadata.nbgrader.get("checksum") == compute_checksum(cell)
    ]


def _warnings(cell: NotebookNode) -> str:
    """What a cell wrote to stderr, in a line; nbgrader's Validate counts it as a failure, so this does too."""
    written = "".join(
        o.text for o in cell.get("outputs", []) if o.output_type == "stream" and o.name == "stderr"
    )
    return next((line.strip() for line in written.splitlines() if "Warning" in line), written.strip()[:200])


def _message(error: Any) -> str:
    """The assertion's own words; for other errors also the kind."""
    said = COLOURS.sub("", error.evalue).strip()
    if error.ename == "AssertionError":
        return said or "an assertion of the visible test failed: " + _failed_line(error)
    return f"{error.ename}: {said}"


def _failed_line(error: Any) -> str:
    lines = [COLOURS.sub("", line) for line in "\n".join(error.traceback).split("\n")]
    marked = [re.sub(r"^-+> *\d+ *", "", line) for line in lines if re.match(r"-+> ", line)]
    return marked[-1].strip() if marked else ""
