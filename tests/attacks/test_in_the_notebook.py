"""Rows of the attack table whose attack is in the notebook's file: metadata, cells, broken bytes."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from attack_tools import (
    FULL,
    TARGET,
    WITHOUT,
    Notebook,
    cell,
    code_cell,
    edited,
    expect,
    points,
    solved,
    with_code,
)
from rows import row

from autograder.judge import Judge

pytestmark = pytest.mark.attack


@row("skip_tag")
def test_skip_tag(judge: Judge) -> None:
    def edit(notebook: Notebook) -> None:
        for one in notebook["cells"]:
            one["metadata"]["tags"] = ["skip-execution"]

    expect(judge, edited(edit), WITHOUT, "special_tag")


@row("duplicate_cell")
def test_duplicate_cell(judge: Judge) -> None:
    def edit(notebook: Notebook) -> None:
        twin = json.loads(json.dumps(cell(notebook, f"{TARGET}-hidden")))
        notebook["cells"].append({**twin, "id": "twin", "source": "pass"})

    expect(judge, edited(edit), WITHOUT, "duplicate_cell")


@row("future_schema")
@pytest.mark.parametrize("version", [99, "x", None, [1], float("nan")])
def test_future_schema(judge: Judge, version: Any) -> None:
    def edit(notebook: Notebook) -> None:
        cell(notebook, TARGET)["metadata"]["nbgrader"]["schema_version"] = version

    expect(judge, edited(edit), WITHOUT, "odd_schema")


@row("delete_tests")
def test_delete_tests(judge: Judge) -> None:
    def edit(notebook: Notebook) -> None:
        notebook["cells"] = [
            c for c in notebook["cells"] if not c["metadata"].get("nbgrader", {}).get("grade_id", "").endswith("-hidden")
        ]  # fmt: skip

    expect(judge, edited(edit), WITHOUT, "deleted_cells")


@row("delete_tests")
def test_strip_metadata(judge: Judge) -> None:
    def edit(notebook: Notebook) -> None:
        for one in notebook["cells"]:
            one["metadata"] = {}

    expect(judge, edited(edit), WITHOUT, "deleted_cells")


@row("flip_flags")
def test_flip_flags(judge: Judge) -> None:
    def edit(notebook: Notebook) -> None:
        for one in notebook["cells"]:
            facts = one["metadata"].get("nbgrader")
            if facts:
                facts["solution"], facts["grade"] = not facts["solution"], not facts["grade"]

    expect(judge, edited(edit), WITHOUT, "changed_flags")


@row("change_points")
def test_change_points(judge: Judge) -> None:
    def edit(notebook: Notebook) -> None:
        cell(notebook, f"{TARGET}-hidden")["metadata"]["nbgrader"]["points"] = 1000

    report = expect(judge, edited(edit), WITHOUT, "changed_points")
    assert report.max_score == FULL


@row("reorder")
def test_reorder(judge: Judge) -> None:
    def edit(notebook: Notebook) -> None:
        notebook["cells"].reverse()

    expect(judge, edited(edit, code=None), FULL)


@row("change_kernel")
def test_change_kernel(judge: Judge) -> None:
    def edit(notebook: Notebook) -> None:
        notebook["metadata"]["kernelspec"] = {"name": "bash", "display_name": "x", "language": "sh"}

    expect(judge, edited(edit), WITHOUT, "changed_kernel")


@row("stale_output")
def test_stale_output(judge: Judge) -> None:
    def edit(notebook: Notebook) -> None:
        for one in notebook["cells"]:
            if one["cell_type"] == "code":
                one["outputs"] = [
                    {"output_type": "stream", "name": "stdout", "text": "all tests passed 12/12"}
                ]

    expect(judge, edited(edit), WITHOUT)


@row("extra_cells")
def test_extra_cells(judge: Judge, right: str) -> None:
    def edit(notebook: Notebook) -> None:
        at = notebook["cells"].index(cell(notebook, TARGET))
        notebook["cells"].insert(at, code_cell("def my_helper(x):\n    return x"))

    source = right + "\n\n_mine = attend\n\n\ndef attend(*a):\n    return my_helper(_mine(*a))\n"
    expect(judge, edited(edit, code=source), FULL)


@row("change_points")
def test_fake_gradebook_cell(judge: Judge) -> None:
    def edit(notebook: Notebook) -> None:
        facts = {"grade_id": "bonus", "grade": True, "points": 100, "solution": False, "schema_version": 3}
        notebook["cells"].append(code_cell("100", nbgrader=facts))

    report = expect(judge, edited(edit), WITHOUT, "unknown_cell")
    assert report.max_score == FULL


MALFORMED: dict[str, bytes] = {
    "not_json": b"this is no notebook",
    "truncated": with_code("pass")[:2000],
    "wrong_nbformat": json.dumps({"nbformat": 3, "cells": []}).encode(),
    "no_cells": b'{"nbformat": 4}',
    "a_list": b"[]",
    "cells_are_numbers": b'{"nbformat": 4, "cells": [1, 2]}',
    "source_is_a_number": b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": 7}]}',
    "null_bytes": bytes(1000),
    "not_utf8": b"\xff\xfe\xfa" * 10,
    "empty": b"",
    "blank": b" \n ",
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep_cells": b'{"nbformat": 4, "cells": ' + b"[" * 500 + b"]" * 500 + b"}",
    "huge": b'{"nbformat": 4, "cells": [], "x": "' + b"x" * (17 << 20) + b'"}',
    "many_cells": json.dumps({"nbformat": 4, "cells": [{"cell_type": "code", "source": ""}] * 3000}).encode(),
    "long_number": b'{"nbformat": 4, "cells": [], "x": ' + b"9" * 100_000 + b"}",
}


@row("huge_source")
def test_huge_source(judge: Judge) -> None:
    cells = [code_cell("x\n" * (50 << 10)) for _ in range(10)]
    began = time.process_time()
    expect(judge, edited(lambda notebook: notebook["cells"].extend(cells), code=None), FULL, "too_much_code")
    assert time.process_time() - began < 20, "seconds of the judge's own work"


HUGE = ("deep", "deep_cells", "huge", "many_cells")


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=row("huge_notebook" if case in HUGE else "malformed")) for case in MALFORMED],
)
def test_malformed(judge: Judge, case: str) -> None:
    report = expect(judge, MALFORMED[case], 0, "invalid", status="invalid")
    assert report.max_score == FULL


@pytest.mark.parametrize(
    "source", ["\x00", "\ud800 = 1", "def f(:", "x = (" * 1000, "%matplotlib inline\n!ls\n1"]
)
def test_source_that_python_refuses(judge: Judge, source: str) -> None:
    expect(judge, with_code(source), WITHOUT)


def test_shell_lines_do_no_harm(judge: Judge, right: str) -> None:
    expect(judge, with_code("%matplotlib inline\n!pip install everything\n" + right), FULL)


@row("delete_tests")
def test_nothing_is_there(judge: Judge) -> None:
    expect(judge, b'{"nbformat": 4, "cells": [], "metadata": {}}', 0, "deleted_cells")


def test_written_answers_come_along(judge: Judge) -> None:
    report = expect(judge, json.dumps(solved()).encode(), FULL)
    assert all(written.answer for written in report.written)
    assert sum(points().values()) == report.max_score
