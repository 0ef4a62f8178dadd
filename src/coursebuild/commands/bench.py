"""`course bench`: how fast it is; each kind is a module of `coursebuild.benchmarks` with a `run(json_file, …)`."""

from __future__ import annotations

import argparse
import importlib
import inspect
from pathlib import Path
from typing import Any

KINDS = {
    "attention": "time and memory of the course's attention against its peers",
    "grading": "the judge against stock nbgrader on the same submissions",
    "build": "cold, warm and one-chapter-changed times of the book",
    "methods": "ways to fine-tune MiniLM: parameters, memory, processor time, macro-F1",
    "inference": "a fine-tuned classifier in 32 and in 8 bits: size, latency, macro-F1",
    "audit": "a fine-tuned classifier looked into: attributions, heads, typos, names, forgetting",
}


def register(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "bench", help="measure the attention, the grading or the build of the course"
    )
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    for kind, help_text in KINDS.items():
        added = kinds.add_parser(kind, help=help_text)
        added.add_argument(
            "--json", type=Path, metavar="FILE", help="write the figures to a file, for programs"
        )
        if kind == "attention":
            added.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where to run (cpu)")
        if kind == "grading":
            added.add_argument("--count", type=int, default=20, metavar="N", help="graded both ways (20)")
            added.add_argument(
                "--rounds", type=int, default=2, metavar="N", help="how often each is measured (2)"
            )
            added.add_argument(
                "--many", type=int, default=200, metavar="N", help="the large class; 0 leaves it out (200)"
            )
        if kind == "methods":
            for name, default, what in (
                ("reviews", 400, "to train on"),
                ("epochs", 2, "of training"),
                ("seeds", 3, "of every method"),
            ):
                added.add_argument(
                    f"--{name}", type=int, default=default, metavar="N", help=f"{what} ({default})"
                )
        if kind == "audit":
            added.add_argument("--seeds", type=int, default=3, metavar="N", help="of the training (3)")
        if kind == "inference":
            added.add_argument(
                "--run",
                type=Path,
                metavar="DIR",
                dest="run_folder",
                help="of course finetune (a small run of its own)",
            )
        added.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Call the benchmark with what it takes."""
    from coursebuild.errors import CourseError

    name = f"coursebuild.benchmarks.{arguments.kind}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise CourseError(f"the {arguments.kind} benchmark is not written yet; choose another kind") from None
    given = {"json_file": arguments.json} | {
        name: getattr(arguments, name)
        for name in ("device", "count", "many", "rounds", "reviews", "epochs", "seeds", "run_folder")
        if hasattr(arguments, name)
    }
    takes = inspect.signature(module.run).parameters
    return int(module.run(**{key: value for key, value in given.items() if key in takes}))
