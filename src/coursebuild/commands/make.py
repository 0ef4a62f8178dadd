"""`course make`: release, build the book, grade the bundled sample class, and say where things lie."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("make", help="build the book and grade the sample class (make course)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Every step is skipped or short where nothing changed."""
    from autograder.sample import make_sample
    from coursebuild import cli
    from coursebuild.chapter import all_chapters
    from coursebuild.paths import ROOT
    from coursebuild.steps import SAMPLE, Steps

    sample = ROOT / SAMPLE
    chapters = all_chapters()

    def hand_in() -> int:
        make_sample(sample, chapters)
        return 0

    parts: dict[str, Callable[[], int]] = {
        "release": partial(cli.main, ["release"]),
        "build": partial(cli.main, ["build"]),
        "class sample": hand_in,
    }
    steps = Steps()
    for name, part in parts.items():
        status = steps.run(name, part)
        if status:
            return status
    worst = 0
    for chapter in chapters:
        worst = max(worst, cli.main(["grade", str(sample), chapter]))
    print(
        f"\nThe book:          {(ROOT / '_build' / 'html' / 'index.html').relative_to(ROOT)}   (make serve shows it)"
        f"\nThe sample class:  {sample.relative_to(ROOT)}   (course grade, course export; nbgrader formgrader opens it)"
        "\nThe notebooks:     notebooks/   (make lab opens them)"
    )
    return worst
