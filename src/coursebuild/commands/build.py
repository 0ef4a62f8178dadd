"""`course build`: run the chapters and make the HTML book."""

from __future__ import annotations

import argparse
from pathlib import Path


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("build", help="run the chapters and make the HTML book")
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help="just these chapters (all by default)")
    parser.add_argument(
        "--solutions", action="store_true", help="the instructors' edition, with the solutions"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR",
        help="where the book goes (_build/html, or _build/html-instructor with --solutions)",
    )  # fmt: skip
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from coursebuild.book import build

    build(arguments.chapters or None, solutions=arguments.solutions, output=arguments.output)
    return 0
