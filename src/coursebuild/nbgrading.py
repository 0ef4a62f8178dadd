"""What nbgrader does to a notebook on release, through its own preprocessors, in this process."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

from nbformat import NotebookNode

# bits of nbgrader's metadata format
SCHEMA_VERSION = 3


def grading(
    identifier: str,
    *,
    grade: bool = False,
    solution: bool = False,
    locked: bool = False,
    points: float | None = None,
) -> dict[str, Any]:
    """The nbgrader metadata of a cell."""
    facts: dict[str, Any] = {
        "grade_id": identifier,
        "grade": grade,
        "solution": solution,
        "locked": locked,
        "task": False,
        "schema_version": SCHEMA_VERSION,
    }
    if points is not None:
        facts["points"] = int(points) if float(points).is_integer() else float(points)
    return facts


def release_of(source: NotebookNode) -> NotebookNode:
    """The student's version of a source notebook: what `nbgrader generate_assignment` writes."""
    from nbgrader.preprocessors import (
        CheckCellMetadata,
        ClearHiddenTests,
        ClearOutput,
        ClearSolutions,
        ComputeChecksums,
        LockCells,
    )

    notebook = copy.deepcopy(source)
    resources: dict[str, Any] = {}
    steps = (LockCells, ClearSolutions, ClearOutput, CheckCellMetadata, ClearHiddenTests, ComputeChecksums)
    for step in steps:
        notebook, resources = step().preprocess(notebook, resources)
    for cell in notebook.cells:
        cell.source = cell.source.rstrip("\n")
    return notebook


def digest(notebook: NotebookNode) -> str:
    """A short name for what a notebook says: its cells without outputs and metadata."""
    cells = [(cell.cell_type, cell.source) for cell in notebook.cells]
    return hashlib.blake2b(json.dumps(cells).encode(), digest_size=8).hexdigest()
