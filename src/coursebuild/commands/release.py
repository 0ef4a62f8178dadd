"""`course release`: regenerate the notebooks, or check that they are in step with their sources."""

from __future__ import annotations

import argparse
import sys
from typing import Any


def register(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("release", help="regenerate notebooks/ and solutions/ from the chapters")
    parser.add_argument("chapter", nargs="*", help="NN_slug or slug; all chapters by default")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 and name what is out of step"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Release or check."""
    from coursebuild.errors import refuse, shown
    from coursebuild.release import out_of_step, release

    outcome = release(names=arguments.chapter, check=arguments.check)
    if arguments.check:
        for line in out_of_step(outcome):
            print(line)
        refuse(outcome.faults)
        if outcome.written or outcome.removed:
            print("Run `course release` and commit what it writes.", file=sys.stderr)
            return 1
        print(f"{len(outcome.unchanged)} notebooks are in step with their sources.")
        return 0
    for path in outcome.written:
        print(f"wrote {shown(path)}")
    for path in outcome.removed:
        print(f"removed {shown(path)}, which has no chapter")
    for path, kept in outcome.kept:
        print(f"{shown(path)} had changes by hand; they are kept in {shown(kept)}")
    refuse(outcome.faults)
    print(f"{len(outcome.written)} notebooks written, {len(outcome.unchanged)} unchanged.")
    return 0
