"""`course validate NOTEBOOK`: a student's own check, visible tests only, outside JupyterLab."""

from __future__ import annotations

import argparse
from typing import Any


def register(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("validate", help="check your solutions with the visible tests")
    parser.add_argument("notebook", help="the notebook that you worked in, NN_slug.ipynb")
    parser.add_argument("--timeout", type=int, default=120, help="seconds that one cell may run (120)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the notebook's tests and print one line an exercise."""
    from pathlib import Path

    from coursebuild.validate import validate

    results = validate(Path(arguments.notebook), timeout=arguments.timeout)
    marks = {"passed": "✓ passed    ", "failed": "✗ failed    ", "not written": "· not yet   "}
    for result in results:
        print(f"{marks[result.state]}{result.exercise}")
        for line in result.message.splitlines():
            print(f"              {line}")
    passed = sum(result.state == "passed" for result in results)
    if passed < len(results):
        print(f"{passed} of {len(results)} are done.")
        return 1
    print(f"All {passed} exercises pass their visible tests.")
    print(
        "Hidden tests ask more when the notebook is graded: think of sizes of one, other shapes and other values."
    )
    return 0
