"""The table is complete: every row has a case, and the table of levels says what was run."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from rows import NOT_HELD, ROWS

from autograder.levels import merged, table

HERE = Path(__file__).parent


def _named_rows() -> set[str]:
    """The rows that some case is marked with: `@row("x")`, or the first text of an entry of CASES."""
    named = set()
    for path in HERE.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="row"), args=[ast.Constant(value=str(name))]):
                    named.add(name)
                case ast.Call(
                    func=ast.Name(id="row"),
                    args=[ast.IfExp(body=ast.Constant(value=str(one)), orelse=ast.Constant(value=str(two)))],
                ):
                    named |= {one, two}
                case ast.AnnAssign(target=ast.Name(id="CASES"), value=ast.Dict(values=values)):
                    named |= {entry.elts[0].value for entry in values if isinstance(entry, ast.Tuple)
                              and isinstance(entry.elts[0], ast.Constant)}  # fmt: skip
    return named


def test_every_row_has_a_case() -> None:
    assert [one.number for one in ROWS] == list(range(1, len(ROWS) + 1))
    assert not {one.name for one in ROWS} - _named_rows()


def test_what_is_said_not_to_hold_is_a_row() -> None:
    names = {one.name for one in ROWS}
    assert not [name for level in NOT_HELD.values() for name in level if name not in names]


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ({"full": {"a": "passed", "b": "passed"}}, "held (2)"),
        ({"full": {"a": "passed"}, "any": {"b": "passed"}}, "held (2)"),
        ({"full": {"a": "passed", "b": "failed"}}, "**1 of 2 failed**"),
        ({"full": {"a": "not held"}}, "not held"),
        ({"full": {"a": "skipped"}}, "not run"),
        ({}, "not run"),
    ],
)
def test_table_of_levels(outcomes: dict[str, dict[str, str]], expected: str) -> None:
    row: dict[str, Any] = {"number": 1, "name": "skip_tag", "does": "tags", "outcomes": outcomes}
    text = table({"rows": [row], "levels": ["full"], "not_held": {"full": {"skip_tag": "why"}}}, "a machine")
    assert f"| 1 | `skip_tag` | tags | {expected} |" in text
    assert "- `skip_tag`: why" in text
    assert "a machine" in text


def test_a_later_run_counts() -> None:
    one: dict[str, Any] = {"name": "skip_tag", "outcomes": {"full": {"a": "failed", "b": "passed"}}}
    two: dict[str, Any] = {
        "name": "skip_tag",
        "outcomes": {"full": {"a": "passed"}, "none": {"a": "not held"}},
    }
    together = merged([{"rows": [one]}, {"rows": [two]}])
    assert together["rows"][0]["outcomes"] == {
        "full": {"a": "passed", "b": "passed"},
        "none": {"a": "not held"},
    }
