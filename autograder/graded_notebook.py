"""The notebook with the verdicts that formgrader shows: our release, the student's cells, our outputs.

Everything but the sources of the student's cells is ours: ids, points, tags, order. A student's Markdown cannot carry
markup into the grader's browser, and no output that a student stored is kept.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from nbformat.notebooknode import NotebookNode

from autograder.report import ExerciseResult, SubmissionReport

MAX_SOURCE = 100_000
MAX_OUTPUT = 20_000
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass
class StudentCells:
    """The sources that a student wrote: by grade id, and the cells that the student added after each of them."""

    sources: dict[str, str] = field(default_factory=dict)
    added: list[tuple[str, str]] = field(default_factory=list)  # (the grade id that it follows, source)


def student_cells(content: bytes | None, known: set[str]) -> StudentCells:
    """Read a submission for showing it; whatever cannot be read is left out. The first cell of an id counts."""
    found = StudentCells()
    try:
        cells = json.loads(content or b"{}").get("cells", [])
    except (ValueError, RecursionError, AttributeError):
        return found
    after = ""
    for cell in cells if isinstance(cells, list) else []:
        grade_id, source, kind = _grade_id(cell), _source(cell), _kind(cell)
        if grade_id in known:
            found.sources.setdefault(grade_id, source)
            after = grade_id
        elif not grade_id and kind == "code" and source.strip():
            found.added.append((after, source))
    return found


def _grade_id(cell: Any) -> str:
    try:
        grade_id = cell["metadata"]["nbgrader"]["grade_id"]
    except (KeyError, TypeError):
        return ""
    return grade_id if isinstance(grade_id, str) else ""


def _kind(cell: Any) -> str:
    return str(cell.get("cell_type")) if isinstance(cell, dict) else ""


def _source(cell: Any) -> str:
    source = cell.get("source", "") if isinstance(cell, dict) else ""
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    return _clean(source[:MAX_SOURCE]) if isinstance(source, str) else ""


def _clean(text: str) -> str:
    return _CONTROL.sub("�", text).encode("utf-8", "replace").decode("utf-8")


def harmless_markdown(text: str) -> str:
    """A student's Markdown without markup of HTML and without links that run code."""
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"(?i)\b(javascript|vbscript|data|file)\s*:", r"\1&#58;", text)


def unchanged_cells(release: NotebookNode, cells: StudentCells) -> set[str]:
    """The ids of the solution cells that are as they were released, or were not handed in at all."""
    return {
        cell.metadata.nbgrader.grade_id
        for cell in release.cells
        if cell.metadata.get("nbgrader", {}).get("solution")
        and cells.sources.get(cell.metadata.nbgrader.grade_id, cell.source).strip() == cell.source.strip()
    }


def graded_notebook(release: NotebookNode, cells: StudentCells, report: SubmissionReport) -> str:
    """The text of the graded notebook."""
    notebook = _copy(release)
    verdicts = {f"{exercise.exercise}-hidden": exercise for exercise in report.exercises}
    released = {cell.source.strip() for cell in release.cells}
    shown: list[NotebookNode] = []
    added: dict[str, list[str]] = {}
    for after, source in cells.added:
        if source.strip() not in released:
            added.setdefault(after, []).append(source)
    shown += [_added(source, f"added-start-{n}") for n, source in enumerate(added.get("", []))]
    for cell in notebook.cells:
        meta = cell.metadata.get("nbgrader", {})
        grade_id = meta.get("grade_id", "")
        if meta.get("solution") and grade_id in cells.sources:
            source = cells.sources[grade_id]
            cell.source = harmless_markdown(source) if cell.cell_type == "markdown" else source
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = _outputs(grade_id, report, verdicts), None
        shown.append(cell)
        shown += [
            _added(source, f"added-{len(shown)}-{n}")
            for n, source in enumerate(added.get(grade_id, []))
            if grade_id
        ]
    notebook.cells = shown
    notebook.metadata["course"] = {
        "status": report.status,
        "isolation": report.isolation.level if report.isolation else None,
        "flags": [f"{flag.name}: {flag.message}" for flag in report.flags],
    }
    if report.flags:
        notebook.cells.insert(0, _notice(report))
    return _text(notebook)


def _copy(release: NotebookNode) -> NotebookNode:
    """A copy whose cells can be changed; what is inside their metadata is shared, and left alone."""
    cells = [NotebookNode(cell) for cell in release.cells]
    return NotebookNode(release | {"cells": cells, "metadata": NotebookNode(release.metadata)})


def _text(notebook: NotebookNode) -> str:
    """The file as nbformat reads it, a cell a line. (nbformat's own writer costs more than the rest of the writing.)"""
    cells = [{**cell, "source": _lines(cell.source)} for cell in notebook.cells]
    rest = json.dumps({name: notebook[name] for name in notebook if name != "cells"}, ensure_ascii=False)
    lines = ",\n".join(json.dumps(cell, ensure_ascii=False, sort_keys=True) for cell in cells)
    return f'{{"cells": [\n{lines}\n],\n{rest[1:]}\n'


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _added(source: str, name: str) -> NotebookNode:
    return _code_cell(name, source, {"tags": ["added-by-student"]}, [])


def _code_cell(name: str, source: str, metadata: dict[str, Any], outputs: list[NotebookNode]) -> NotebookNode:
    return NotebookNode(
        cell_type="code",
        id=name[:64],
        source=source,
        metadata=metadata,
        outputs=outputs,
        execution_count=None,
    )


def _notice(report: SubmissionReport) -> NotebookNode:
    lines = "\n".join(f"{flag.name}: {flag.message}" for flag in report.flags)
    said = "# For the grader: what the judge saw in this submission"
    return _code_cell("judge-flags", said, {}, [_stream(lines)])


def _outputs(
    grade_id: str, report: SubmissionReport, verdicts: dict[str, ExerciseResult]
) -> list[NotebookNode]:
    if grade_id in verdicts:
        return [_stream(verdict_text(verdicts[grade_id]))]
    outputs = []
    for output in report.outputs:
        if output.grade_id == grade_id and grade_id:
            outputs += [_stream(text) for text in (output.text, output.error) if text]
    return outputs


def _stream(text: str) -> NotebookNode:
    text = _clean(text)
    if len(text) > MAX_OUTPUT:
        text = text[:MAX_OUTPUT] + "\n… (cut)"
    return NotebookNode(output_type="stream", name="stdout", text=_lines(text + "\n"))


def verdict_text(exercise: ExerciseResult) -> str:
    """The verdict on an exercise as text, for the grader: what passed, what failed, and why."""
    lines = [f"{exercise.exercise}: {exercise.score:g} of {exercise.max_score:g} points"]
    if exercise.forbidden:
        lines.append("  a forbidden call was used, so no points are given")
    for test in exercise.tests:
        lines.append(f"  {'passed' if test.passed else 'FAILED'}  {test.name} ({test.points:g})")
        lines += [f"          {text}" for text in (test.message, test.detail) if text and not test.passed]
    lines += [f"  flag  {flag.name}: {flag.message}" for flag in exercise.flags]
    return "\n".join(lines)
